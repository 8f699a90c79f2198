"""Orders of convergence of swapped chains to the flow of u' = g(u), by scipy; what splitting and projection leave."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import nn

from odenets import swap_scheme


class Step(nn.Module):
    """u + h g(u), and then again for another g, as attention and MLP are; with relu after it where it is projected."""

    def __init__(self, h, width, *fields, after=None):
        super().__init__()
        self.fields, self.after = fields, after
        self.scales = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in fields)
        for scale in self.scales:
            scale.weight = nn.Parameter(h * torch.eye(width, dtype=torch.float64))

    def forward(self, u):
        for scale, g in zip(self.scales, self.fields, strict=True):
            u = u + scale(g(u))
        return u if self.after is None else self.after(u)


def last(name, steps, time, begin, *fields, after=None, **options):
    model = nn.Sequential(*[Step(time / steps, len(begin), *fields, after=after) for _ in range(steps)])
    u = torch.tensor([begin], dtype=torch.float64)
    with torch.no_grad():
        return swap_scheme(model, name, example=u, **options)(u)[0].numpy()


def order(errors, numbers):
    return np.polyfit(np.log(numbers), np.log(errors), 1)[0] * -1


def smooth(u):
    return torch.stack((torch.sin(u[..., 1]), -u[..., 0] * torch.cos(u[..., 0])), -1)


def other(u):
    return torch.stack((torch.cos(u[..., 0]), torch.sin(u[..., 0] + u[..., 1])), -1)


def flow(*fields, time, start):
    def slope(_, u):
        return sum(g(torch.from_numpy(u)).numpy() for g in fields)

    return solve_ivp(slope, (0.0, time), start, method="DOP853", rtol=1e-12, atol=1e-13).y[:, -1]


@pytest.mark.parametrize(
    ("name", "start", "expected"),
    [
        ("heun", None, 2),
        ("rk4", None, 4),
        ("ab2", None, 2),
        ("leapfrog", None, 2),
        ("ab3", None, 2),
        ("ab4", None, 2),
        ("pece3", None, 2),
        ("ab3", "rk4", 3),
        ("ab4", "rk4", 4),
        ("pece3", "rk4", 4),
        ("reversible_heun", None, 2),
    ],
)
def test_a_chain_of_small_steps_of_one_function_has_the_schemes_order(name, start, expected):
    begin, numbers = [1.0, 0.5], np.array([16, 48])
    exact = flow(smooth, time=2.0, start=begin)
    found = [last(name, n, 2.0, begin, smooth, start=start) for n in numbers]
    assert order([np.abs(u - exact).max() for u in found], numbers) == pytest.approx(expected, abs=0.3)


@pytest.mark.parametrize(
    ("name", "expected"), [("euler", 1), ("heun", 1), ("rk4", 1), ("ab2", 1), ("reversible_heun", 1), ("leapfrog", 0)]
)
def test_two_sums_in_turn_are_a_splitting(name, expected):
    begin, numbers = [1.0, 0.5], np.array([16, 48])
    exact = flow(smooth, other, time=1.0, start=begin)
    found = [last(name, n, 1.0, begin, smooth, other) for n in numbers]
    assert order([np.abs(u - exact).max() for u in found], numbers) == pytest.approx(expected, abs=0.15)


# ------------------------------------------------------------------------------------------------- a projection


def pushed(u):
    """x' = cos 3t - 0.3 + sin(x) / 2, t' = 1, z' = exp(x): x is pushed against 0, held there, and let go."""
    x, t, _ = u.unbind(-1)
    return torch.stack((torch.cos(3 * t) - 0.3 + torch.sin(x) / 2, torch.ones_like(t), torch.exp(x)), -1)


def held(time, start):
    """(x, z) of the solution that is kept at x >= 0: x stays 0 until its slope cos 3t - 0.3 is positive again."""

    def slope(t, u):
        return np.array([np.cos(3 * t) - 0.3 + np.sin(u[0]) / 2, np.exp(u[0])])

    def hits(t, u):
        return u[0]

    hits.terminal, hits.direction = True, -1
    exactly = {"method": "DOP853", "rtol": 1e-12, "atol": 1e-13}
    first = solve_ivp(slope, (0.0, time), [start, 0.0], events=hits, **exactly)
    let_go = (2 * math.pi - math.acos(0.3)) / 3  # cos 3t = 0.3, upwards
    assert first.t_events[0].size
    assert first.t[-1] < let_go < time
    z = first.y[1, -1] + let_go - first.t[-1]
    return solve_ivp(slope, (let_go, time), [0.0, z], **exactly).y[:, -1]


@pytest.mark.parametrize(("name", "expected"), [("euler", 1), ("heun", 1), ("midpoint", 1), ("rk4", 1), ("ab2", 2)])
def test_where_a_projection_acts(name, expected):
    numbers = np.array([25, 50, 100])
    exact = held(2.5, 0.1)
    found = [last(name, n, 2.5, [0.1, 0.0, 0.0], pushed, after=torch.relu) for n in numbers]
    assert order([np.abs(u[[0, 2]] - exact).max() for u in found], numbers) == pytest.approx(expected, abs=0.3)
