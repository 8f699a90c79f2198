"""Observed order, and independent solvers: torchdiffeq and scipy."""

import math

import numpy as np
import pytest
import torch
import torchdiffeq
from scipy.integrate import solve_ivp

from odenets import ODENet, TimeField, schemes

FIXED = [name for name, scheme in schemes.items() if not scheme.symbols]
# Fine enough for the leading term to dominate, coarse enough to stay above rounding.
STEPS = {1: 4000, 2: 500, 3: 600, 4: 60}

PROBLEMS = {
    # logistic, autonomous and nonlinear: u = 1 / (1 + 3 exp(-t)) for u(0) = 1/4
    "logistic": (lambda t, u: u * (1 - u), 0.25, 1 / (1 + 3 * math.exp(-2.0))),
    # non-autonomous: u = exp(sin t)
    "cos(t) u": (lambda t, u: torch.cos(t) * u, 1.0, math.exp(math.sin(2.0))),
}


def solve(f, u0, name, steps, t1=2.0):
    net = ODENet(TimeField(f, 0.0, t1, steps), name)
    return net(torch.as_tensor(u0, dtype=torch.float64))


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", FIXED)
def test_observed_order_is_the_derived_order(name, problem):
    f, u0, exact = PROBLEMS[problem]
    steps = STEPS[schemes[name].order]
    errors = [abs(solve(f, u0, name, n).item() - exact) for n in (steps, 2 * steps)]
    assert errors[1] > 1e-14, "rounding dominates: the test measures nothing"
    assert math.log2(errors[0] / errors[1]) == pytest.approx(schemes[name].order, abs=0.1)


@pytest.mark.parametrize("name", ["euler", "midpoint"])
def test_equal_to_torchdiffeq_on_the_same_grid(name):
    def f(t, u):
        return torch.stack([u[1], -torch.sin(u[0]) + 0.1 * torch.cos(3 * t)])

    u0 = torch.tensor([1.0, 0.5], dtype=torch.float64)
    t = torch.linspace(0, 2, 41, dtype=torch.float64)
    expected = torchdiffeq.odeint(f, u0, t, method=name)[-1]
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


def test_a_tensor_time_of_at_least_float32_reaches_f():
    seen = []

    def f(t, u):
        seen.append(t)
        return u

    ODENet(TimeField(f, 0.0, 1.0, 4), "rk4")(torch.ones(3, dtype=torch.bfloat16))
    assert [t.item() for t in seen[:5]] == [0.0, 0.125, 0.125, 0.25, 0.25]
    assert {t.dtype for t in seen} == {torch.float32}
    assert {t.dim() for t in seen} == {0}
