"""The benchmark of adaptive steps: its rows, and how it tells a failed claim."""

import json

import pytest

from odenets.benchmarks import integrate
from odenets.benchmarks.common.pairs import Row


@pytest.mark.parametrize("problem", ["mlp", "heat"])
def test_rows_of_one_case(capsys, monkeypatch, problem):
    monkeypatch.setattr(integrate, "TOLERANCES", (1e-2,))
    monkeypatch.setattr(integrate, "STOP", 0.5)
    what = {"problem": problem, "batch": 1, "rounds": 2}
    assert integrate.main(["--here", json.dumps(what)]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["pair"] for row in rows] == ["torchdiffeq", "itself, A/A"] * 2
    assert rows[0]["part"] == f"{problem}, batch 1, 1e-02, forward"


def test_evaluations_are_put_beside_scipys(monkeypatch):
    monkeypatch.setattr(integrate, "TOLERANCES", (1e-4,))
    rows = integrate.evaluations()[1:]
    assert len(rows) == 6
    for row in rows:
        ours, theirs = int(row[3]), int(row[4])
        assert ours < 1.5 * theirs


def test_steps_of_each_sample(monkeypatch):
    for name, value in {"TOLERANCES": (1e-2, 1e-3), "LONG": 1.0, "SAMPLES": 8}.items():
        monkeypatch.setattr(integrate, name, value)
    pairs = [row.pair for row in integrate.own_times(2)]
    assert [pair for pair in pairs if pair != "torchode"] == ["shared steps", "itself, A/A"]
    shared, own = integrate.own_steps()[1:]
    assert (shared[1], own[1]) == ("shared", "own")
    assert float(own[3]) < float(shared[3])


@pytest.mark.parametrize(("ratio", "verdict"), [(0.4, "holds"), (0.6, "FAILS")])
def test_claims(ratio, verdict):
    parts = ("vdp, batch 1, 1e-03, forward", "torchdiffeq", ratio), ("vdp, 1e-08", "shared steps", 2 * ratio)
    rows = [Row(what, pair, (1.0, 1.0), found, (found, found)) for what, pair, found in parts]
    told = integrate.claims(rows, [["header"], ["vdp", "dopri5", "1.0"]])
    assert f"0.5 claimed, {ratio:.3f}: {verdict}" in told
    assert f"1.0 claimed, {2 * ratio:.3f}: {verdict}" in told
