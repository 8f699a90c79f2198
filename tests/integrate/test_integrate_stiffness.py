"""Gradients of explicit steps at the limit of stability: wrong, and told."""

import math
import warnings

import pytest
import torch

from odenets import IntegrationWarning, odeint, odeint_adjoint, schemes, solve
from odenets.integrate.stiffness import real_interval

F64 = torch.float64
START = torch.tensor([1.0, 0.0, 0.0], dtype=F64)
END = 30.0


def turning(t, u):
    """A rotation, and beside it a fast component that is 0."""
    return torch.stack([u[1], -u[0], -20 * u[2]])


def sum_at_end(way, **options):
    """The gradient of the sum of u at the end by u at the start."""
    u = START.clone().requires_grad_()
    y = way(turning, u, torch.tensor([0.0, END], dtype=F64), rtol=1e-6, atol=1e-6, **options)
    return torch.autograd.grad(getattr(y, "y", y)[-1].sum(), u)[0]


RIGHT = torch.tensor([math.cos(END) - math.sin(END), math.sin(END) + math.cos(END), math.exp(-20 * END)], dtype=F64)


@pytest.mark.parametrize(
    ("way", "options"),
    [
        *((solve, {"scheme": name}) for name in ("dopri5", "tsit5", "dop853")),
        (solve, {"gradient": "checkpoint"}),
        (odeint, {}),
    ],
)
def test_a_gradient_that_is_wrong_is_told(way, options):
    with pytest.warns(IntegrationWarning, match="longer than its stability allows for"):
        found = sum_at_end(way, **options)
    assert (found - RIGHT).abs()[-1] > 1e3


@pytest.mark.parametrize(
    ("way", "options"), [(solve, {"scheme": "kvaerno5"}), (odeint_adjoint, {"adjoint_params": ()})]
)
def test_what_it_advises_is_right(way, options):
    torch.testing.assert_close(sum_at_end(way, **options), RIGHT, rtol=1e-3, atol=1e-5)


def test_nothing_is_told_nor_evaluated_where_no_gradient_is_wanted():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plain = solve(turning, START, (0, END)).stats
        with torch.no_grad():
            assert solve(turning, START.clone().requires_grad_(), (0, END)).stats == plain


def test_steps_that_the_tolerance_holds_are_looked_at_now_and_then():
    turn = lambda t, u: torch.stack([u[1], -u[0]])  # noqa: E731
    u = torch.tensor([1.0, 0.0], dtype=F64, requires_grad=True)
    found = solve(turn, u, (0, 30))
    with torch.no_grad():
        plain = solve(turn, u, (0, 30)).stats
    assert found.stats.accepted == plain.accepted > 50
    # At the last step nothing follows that could be too long.
    assert found.stats.evaluations - plain.evaluations == (plain.accepted - 1) // 4


def test_an_f_that_refuses_states_beside_the_solution():
    def decay(t, u):
        if bool((u < 0).any()):
            raise ValueError("a concentration below 0")
        return -u

    u = torch.tensor([1.0, 0.0], dtype=F64, requires_grad=True)
    (found,) = torch.autograd.grad(solve(decay, u, (0, 5)).y[-1].sum(), u)
    torch.testing.assert_close(found, torch.full((2,), math.exp(-5), dtype=F64), rtol=1e-4, atol=0)


@pytest.mark.parametrize(
    ("name", "interval"), [("euler", 2), ("heun", 2), ("kutta3", 2.5127), ("rk4", 2.7853), ("dopri5", 3.3066)]
)
def test_real_intervals_are_those_of_the_books(name, interval):
    # Hairer & Wanner (1996), IV.2: of all schemes of order p = s; of dopri5 its figure 2.2
    assert real_interval(schemes[name]) == pytest.approx(interval, abs=1e-4 * 2 * schemes[name].stages ** 2)


def test_schemes_without_an_interval():
    assert real_interval(schemes["backward_euler"]) is None
    assert real_interval(schemes["leapfrog"]) is None
    assert math.isfinite(real_interval(schemes["rkc2_6"]))
