import pytest
import torch
from scipy.integrate import solve_ivp
from torch import nn

from odenets.benchmarks.common.errors import BenchmarkError
from odenets.benchmarks.speed import implicit

TASK = implicit.Task(steps=2, batch=2, rounds=2)

pytestmark = pytest.mark.usefixtures("short_measurement")


def test_all_are_measured_beside_themselves_and_the_network():
    rows = implicit.measure(TASK)
    pair = ("by hand (A/A)", "odenets, evaluation", "odenets, recorded")
    assert [(row.part, row.pair) for row in rows] == [(scheme, who) for scheme in implicit.WEIGHTS for who in pair]
    assert all(row.ratio > 0 for row in rows)


@pytest.mark.parametrize(("scheme", "error"), [("backward_euler", 2e-2), ("radau_iia2", 1e-5)])
def test_the_loop_by_hand_integrates(scheme, error):
    """Of ten steps of 0.1 against scipy's Radau: errors of h / 2 and h^3 / 72 times a derivative."""
    torch.manual_seed(0)
    f = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    u = torch.randn(1, 3, dtype=torch.float64)

    def slope(t, y):
        return f(torch.from_numpy(y)[None]).detach()[0].numpy()

    right = solve_ivp(slope, (0, 1), u[0].numpy(), "Radau", rtol=1e-10, atol=1e-10).y[:, -1]
    found = implicit.by_hand([f] * 10, scheme)(u)[0]
    assert 0 < (found - torch.from_numpy(right)).norm() < error


def test_another_loop_is_not_measured(monkeypatch):
    monkeypatch.setitem(implicit.WEIGHTS, "radau_iia2", [[1 / 4, 0.0], [1 / 2, 1 / 4]])
    with pytest.raises(BenchmarkError, match="radau_iia2: the network and the loop differ"):
        implicit.rows_of("radau_iia2", TASK)
