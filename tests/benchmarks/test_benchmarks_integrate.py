"""The benchmark of adaptive steps: its rows, and how it tells a failed claim."""

import json
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from odenets import solve
from odenets.benchmarks.common.errors import BenchmarkError
from odenets.benchmarks.common.pairs import Row
from odenets.benchmarks.integrate import (
    __main__ as command,
    beside_diffrax,
    beside_scipy,
    equal_error,
    own_steps,
    problems,
)


# Of one sample of the heat equation gradients are those of steps at the limit of stability: their time counts alone.
@pytest.mark.filterwarnings("ignore:.*longer than its stability allows for:odenets.IntegrationWarning")
@pytest.mark.parametrize("problem", ["mlp", "heat"])
def test_rows_of_one_case(capsys, monkeypatch, problem):
    monkeypatch.setattr(equal_error, "CURVE", (1e-2, 1e-4, 1e-7))
    monkeypatch.setattr(equal_error, "STOP", 2.0)
    what = {"problem": problem, "batch": 1, "rounds": 2}
    assert command.main(["--here", json.dumps(what)]) == 0
    rows = json.loads(capsys.readouterr().out)
    rows = [row for row in rows if row["pair"] != "diffrax, compiled"]  # where it is installed
    forward, backward = (
        [row["pair"] for row in rows if row["part"].endswith(way)] for way in ("forward", "with gradients")
    )
    assert forward == ["torchdiffeq", "itself, A/A", "torchdiffeq, f alone"] * (len(forward) // 3) != []
    assert backward == ["torchdiffeq", "itself, A/A"] * (len(backward) // 2) != []
    parts = [row["part"] for row in rows]
    assert {part.split(", error ")[0] for part in parts} == {f"{problem}, batch 1"}
    assert {part.split(", ")[-1] for part in parts} == {"forward", "with gradients"}


def test_costs_at_an_error_are_on_the_front():
    """A hundred times the error for a tenth of the cost: a tenth of the error is sqrt(10) times as much. What is
    dearer than something more exact is not on the front, in whatever order they are given."""
    assert equal_error.at_error(1e-3, [1e-4, 1e-2], [100.0, 10.0]) == pytest.approx(10 * 10**0.5)
    assert equal_error.at_error(1e-2, [1e-2, 1e-4], [500.0, 100.0]) == pytest.approx(100)


def test_errors_that_both_reach():
    assert equal_error.common([3e-2, 4e-7], [5e-3, 2e-9]) == pytest.approx([1e-3, 1e-5, 1e-6])
    with pytest.raises(BenchmarkError, match="expected a power of ten that both reach"):
        equal_error.common([3e-2, 2e-2], [5e-2, 4e-3])


@pytest.mark.parametrize("problem", ["vdp", "heat", "mlp"])
def test_functions_for_jax_are_those_for_torch(problem):
    """By NumPy, which has the same names, for jax is no dependency of the tests."""
    f, u = problems.case(problem, 3)
    weights = [p.detach().numpy() for p in f.parameters()] if problem == "mlp" else []
    found = beside_diffrax.of_jax(f, np)(0.0, u.numpy(), weights)
    np.testing.assert_allclose(found, f(torch.tensor(0.0), u).detach().numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.skipif(find_spec("diffrax") is None, reason="diffrax is not installed")
def test_diffrax_solves_and_differentiates_the_same():
    f, start = problems.case("mlp", 2)
    run = beside_diffrax.diffrax_run(f, 1.0)
    exact = solve(f, start, (0.0, 1.0), rtol=1e-10, atol=1e-10).y[-1]
    for gradients in (False, True):
        torch.testing.assert_close(run(start, 1e-9, gradients), exact.detach(), rtol=1e-7, atol=1e-7)


def test_evaluations_are_put_beside_scipys(monkeypatch):
    monkeypatch.setattr(beside_scipy, "TOLERANCES", (1e-4,))
    rows = beside_scipy.evaluations()[1:]
    assert len(rows) == 6
    for row in rows:
        ours, theirs = int(row[3]), int(row[4])
        assert ours < 1.5 * theirs


def test_steps_of_each_sample(monkeypatch):
    for name, value in {"TOLERANCES": (1e-2, 1e-3), "LONG": 1.0, "SAMPLES": 8}.items():
        monkeypatch.setattr(own_steps, name, value)
    pairs = [row.pair for row in own_steps.own_times(2)]
    assert [pair for pair in pairs if pair != "torchode"] == ["shared steps", "itself, A/A"]
    shared, own = own_steps.own_steps()[1:]
    assert (shared[1], own[1]) == ("shared", "own")
    assert float(own[3]) < float(shared[3])


@pytest.mark.parametrize(("ratio", "verdict"), [(0.3, "holds"), (0.6, "FAILS")])
def test_claims(ratio, verdict):
    """The slowest row of a case counts, of forward passes alone."""
    parts = [
        (f"{problem}, batch {batch}, error {error}, {way}", "torchdiffeq", ratio if way == "forward" else 9.0)
        for problem, batch in command.CASES
        for error in ("1e-03", "1e-06")
        for way in ("forward", "with gradients")
    ]
    parts[0] = (*parts[0][:2], ratio - 0.2)
    rows = [Row(what, pair, (1.0, 1.0), found, (found, found)) for what, pair, found in parts]
    rows.append(Row("vdp, 1e-08", "shared steps", (1.0, 1.0), 2 * ratio, (2 * ratio, 2 * ratio)))
    told = command.claims(rows, [["header"], ["vdp", "dopri5", "1.0"]])
    for batch, bound in ((1, "0.35"), (256, "0.5")):
        assert told.count(f"at most {bound} claimed, {ratio:.3f}: {verdict}") == 3, batch
    assert f"1.0 claimed, {2 * ratio:.3f}: {verdict}" in told
