"""Against independent solvers, torchdiffeq and scipy. The observed orders are in test_zoo_conformance.py."""

import math

import numpy as np
import pytest
import torch
import torchdiffeq
from scipy.integrate import solve_ivp

from odenets import ODENet, TimeField


def solve(f, u0, name, steps, t1=2.0):
    net = ODENet(TimeField(f, 0.0, t1, steps), name)
    return net(torch.as_tensor(u0, dtype=torch.float64))


# What torchdiffeq calls them: its rk4 is the 3/8 rule.
THEIR_NAMES = {"euler": "euler", "midpoint": "midpoint", "heun": "heun2", "heun3": "heun3", "rk38": "rk4"}


@pytest.mark.parametrize("name", THEIR_NAMES)
def test_equal_to_torchdiffeq_on_the_same_grid(name):
    def f(t, u):
        return torch.stack([u[1], -torch.sin(u[0]) + 0.1 * torch.cos(3 * t)])

    u0 = torch.tensor([1.0, 0.5], dtype=torch.float64)
    t = torch.linspace(0, 2, 41, dtype=torch.float64)
    expected = torchdiffeq.odeint(f, u0, t, method=THEIR_NAMES[name])[-1]
    torch.testing.assert_close(solve(f, u0, name, 40), expected, rtol=1e-13, atol=1e-13)


def test_rk4_equals_torchdiffeq_on_a_linear_problem():
    # torchdiffeq's "rk4" is the 3/8 rule; all four-stage schemes of order 4 share one stability
    # polynomial, so the two must agree to rounding where f is linear and autonomous.
    A = torch.tensor([[-0.3, 2.0], [-2.0, -0.1]], dtype=torch.float64)
    u0 = torch.tensor([1.0, -1.0], dtype=torch.float64)
    t = torch.linspace(0, 2, 21, dtype=torch.float64)
    expected = torchdiffeq.odeint(lambda t, u: A @ u, u0, t, method="rk4")[-1]
    torch.testing.assert_close(solve(lambda t, u: A @ u, u0, "rk4", 20), expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(("name", "order"), [("rk4", 4), ("leapfrog", 2)])
def test_converges_to_scipys_solution_of_the_pendulum(name, order):
    reference = solve_ivp(
        lambda t, u: [u[1], -np.sin(u[0])], (0, 3), [1.5, 0.0], method="DOP853", rtol=1e-13, atol=1e-13
    )
    exact = torch.tensor(reference.y[:, -1])
    u0 = torch.tensor([1.5, 0.0], dtype=torch.float64)

    def error(steps):
        found = solve(lambda t, u: torch.stack([u[1], -torch.sin(u[0])]), u0, name, steps, t1=3.0)
        return (found - exact).norm().item()

    steps = {4: 100, 2: 1000}[order]
    assert error(2 * steps) < 1e-5
    assert math.log2(error(steps) / error(2 * steps)) == pytest.approx(order, abs=0.1)


def test_backwards_in_time():
    net = ODENet(TimeField(lambda t, u: torch.cos(t) * u, 2.0, 0.0, 100), "rk4")
    found = net(torch.tensor(math.exp(math.sin(2.0)), dtype=torch.float64))
    assert found.item() == pytest.approx(1.0, abs=1e-8)


def test_a_tensor_time_in_float64_reaches_f():
    seen = []

    def f(t, u):
        seen.append(t)
        return u

    ODENet(TimeField(f, 0.0, 1.0, 4), "rk4")(torch.ones(3, dtype=torch.bfloat16))
    assert [t.item() for t in seen[:5]] == [0.0, 0.125, 0.125, 0.25, 0.25]
    assert {t.dtype for t in seen} == {torch.float64}
    assert {t.dim() for t in seen} == {0}
