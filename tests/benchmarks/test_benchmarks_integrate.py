"""The benchmark of adaptive steps: its rows, and how it tells a failed claim."""

import json

import pytest

from odenets.benchmarks import integrate
from odenets.benchmarks.common.pairs import Row


def test_rows_of_one_case(capsys, monkeypatch):
    monkeypatch.setattr(integrate, "TOLERANCES", (1e-2,))
    monkeypatch.setattr(integrate, "STOP", 0.5)
    what = {"problem": "mlp", "batch": 1, "rounds": 2}
    assert integrate.main(["--here", json.dumps(what)]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["pair"] for row in rows] == ["torchdiffeq", "itself, A/A"] * 2
    assert rows[0]["part"] == "mlp, batch 1, 1e-02, forward"


def test_evaluations_are_put_beside_scipys(monkeypatch):
    monkeypatch.setattr(integrate, "TOLERANCES", (1e-4,))
    rows = integrate.evaluations()[1:]
    assert len(rows) == 6
    for row in rows:
        ours, theirs = int(row[3]), int(row[4])
        assert ours < 1.5 * theirs


@pytest.mark.parametrize(("ratio", "verdict"), [(0.4, "holds"), (0.6, "FAILS")])
def test_claims(ratio, verdict):
    rows = [Row("vdp, batch 1, 1e-03, forward", "torchdiffeq", (1.0, 1.0), ratio, (ratio, ratio))]
    assert f"0.5 claimed, {ratio:.3f}: {verdict}" in integrate.claims(rows, [["header"], ["vdp", "dopri5", "1.0"]])
