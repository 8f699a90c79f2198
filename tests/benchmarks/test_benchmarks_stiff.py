"""The benchmark of stiff problems: what it compares solves the same problem, and what it tells."""

import pytest

from odenets.benchmarks.common import pairs
from odenets.benchmarks.stiff import __main__ as stiff, gradients

TASK = stiff.Task(problems="robertson", rounds=2)


@pytest.fixture(autouse=True)
def settings(short_measurement, monkeypatch):
    """At one tolerance, in a short time."""
    monkeypatch.setattr(stiff, "TOLERANCES", (1e-2,))
    monkeypatch.setattr(gradients, "TOLERANCES", (1e-8,))
    monkeypatch.setattr(gradients, "OURS", ("radau_iia3",))


def test_rows_and_counts():
    rows = stiff.measure(TASK)
    assert [row.pair for row in rows] == ["scipy's Radau (A/A)", *stiff.OURS, "scipy's Radau, NumPy's f"]
    tables = stiff.tables(TASK)
    for head, *table in tables.values():
        assert all(len(line) == len(head) for line in table)
        assert all(float(line[-1]) < 10 for line in table)
    claims = stiff.tables_claimed(tables)
    assert len(claims) == 2 * len(stiff.OURS) + 1
    assert all(claims.values())


@pytest.mark.parametrize(("ratio", "held"), [(4.0, True), (6.0, False)])
def test_claims(ratio, held):
    rows = [pairs.Row("robertson, 1e-02", scheme, (1.0, 1.0), ratio, (ratio, ratio)) for scheme in stiff.OURS]
    assert list(stiff.claims(rows).values()) == [held] * len(stiff.OURS)


@pytest.mark.parametrize(
    ("calls", "far", "held"), [(290, 9, [True, True]), (310, 9, [False, True]), (290, 21, [True, False])]
)
def test_claims_of_counts(calls, far, held):
    """The largest of all problems: three times Radau's evaluations, ten tolerances or the error of BDF."""
    table = [["problem", "tolerance", "method", "steps", "evaluations", "Jacobians", "error over tolerance"]]
    for problem, own, error, other in (("hires", calls, far, "20"), ("robertson", 10, 1, "0.1")):
        table.append([problem, "1e-04", "scipy's Radau", "0", "100", "0", "1"])
        table.append([problem, "1e-04", "scipy's BDF", "0", "100", "0", other])
        table += [[problem, "1e-04", scheme, "0", str(own), "0", str(error)] for scheme in stiff.OURS]
    assert list(stiff.counts_claimed(table).values()) == held * len(stiff.OURS)


@pytest.mark.parametrize(("error", "held"), [("9.9e-06", True), ("2.0e-05", False)])
def test_the_claim_of_gradients(error, held):
    head = ["problem", "tolerance", "method", "relative error of the gradient"]
    table = [head, ["hires", "1e-08", "radau_iia3", error], ["hires", "1e-06", "radau_iia3", "1"]]
    assert list(gradients.gradients_claimed(table).values()) == [held]
    assert gradients.gradients_claimed([head]) == {}
