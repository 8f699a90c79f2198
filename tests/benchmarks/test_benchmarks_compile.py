import pytest
import torch

from odenets.benchmarks.common import pairs
from odenets.benchmarks.common.errors import BenchmarkError
from odenets.benchmarks.speed import compile as measured

TASK = measured.Task(depth=2, batch=4, backend="aot_eager", rounds=2)


@pytest.fixture(autouse=True)
def settings(short_measurement, monkeypatch):
    """Of one scheme, in a short time."""
    monkeypatch.setattr(measured, "SCHEMES", ("lm",))
    monkeypatch.setattr(measured, "compare", once)
    yield
    torch._dynamo.reset()


def once(part, pair, runs, rounds):
    """Of what takes seconds a single pair of samples."""
    first, other = (run() for run in runs)
    return pairs.Row(part, pair, (first, other), other / first, (1.0, 1.0))


# Torch's own, of the state that a compiled block is called with.
@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")
def test_running_and_tracing_are_measured():
    rows = measured.measure(TASK)
    assert [row.part for row in rows] == [
        "blocks, tracing",
        *["lm, tracing"] * 2,
        *["lm, forward"] * 2,
        *["lm, with backward"] * 2,
    ]
    assert all(min(row.seconds) > 0 for row in rows)


def test_a_bound_for_each_kind_of_row():
    parts = (("blocks, tracing", 1.2), ("rk4, tracing", 1.05), ("rk4, forward", 1.06), ("rk4, with backward", 1.0))
    rows = [pairs.Row(part, "odenets", (1.0, ratio), ratio, (ratio, ratio)) for part, ratio in parts]
    again = pairs.Row("rk4, forward", "by hand (A/A)", (1.0, 9.0), 9.0, (9.0, 9.0))
    assert measured.claims([again, *rows]) == {
        "blocks, tracing: at most 1.1, got 1.200": False,
        "rk4, tracing: at most 1.1, got 1.050": True,
        "rk4, forward: at most 1.05, got 1.060": False,
        "rk4, with backward: at most 1.05, got 1.000": True,
    }


def test_another_function_is_not_measured(monkeypatch):
    monkeypatch.setitem(measured.HAND, "lm", lambda layers, ks: lambda x: x + 1)
    with pytest.raises(BenchmarkError, match="lm: the network and the loop differ"):
        measured.pair("lm", TASK)
