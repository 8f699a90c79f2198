"""Gradients through the accepted steps: to the state, the parameters, and the times."""

import math

import pytest
import torch
import torchdiffeq
from torch import nn
from torch.autograd import gradcheck, gradgradcheck

from odenets import StepControl, solve

torch.manual_seed(0)
U0 = torch.tensor([1.0, -0.2], dtype=torch.float64)
W = 0.5 * torch.randn(2, 2, dtype=torch.float64)
TIMES = torch.tensor([0.1, 0.6, 1.1, 1.5], dtype=torch.float64)
FEW = TIMES[[0, 1, 3]]


def learned(*tensors):
    return [x.clone().requires_grad_() for x in tensors]


def f(weight):
    return lambda t, u: torch.tanh(u @ weight) * torch.cos(t) + 0.1 * t


@pytest.mark.parametrize(
    "options",
    [
        {"scheme": "dopri5", "rtol": 1e-9, "atol": 1e-9},
        {"scheme": "cash_karp", "control": StepControl(first_step=0.1, max_step=0.1)},
        {"scheme": "rk4", "steps": 6},
        {"scheme": "dopri5", "steps": 6},
        {"scheme": "ab2", "steps": 6},
    ],
    ids=lambda options: f"{options['scheme']}-{'grid' if 'steps' in options else 'adaptive'}",
)
def test_first_and_second_derivatives(options):
    def solution(u, t, weight):
        return solve(f(weight), u, t, **options).y

    # Adaptive steps are chosen anew at each of the differences, which the tolerance allows for.
    assert gradcheck(solution, learned(U0, FEW, W), atol=1e-6)
    assert gradgradcheck(solution, learned(U0, FEW, W), atol=1e-5)


def test_ends_and_grids_that_are_learned():
    def ends(u, start, stop):
        return solve(f(W), u, (start, 0.7, stop), "rk4", steps=5).y

    def grid(u, t):
        return solve(f(W), u, t, "rk4", steps=t).y

    assert gradcheck(ends, learned(U0, *TIMES[[0, 3]]))
    assert gradcheck(grid, learned(U0, TIMES))
    assert gradgradcheck(grid, learned(U0, TIMES))


def test_states_of_other_kinds():
    def solution(z, t, weight):
        return solve(lambda t, z: 1j * z * weight.diagonal() * t, z, t, rtol=1e-9, atol=1e-9).y

    assert gradcheck(solution, learned(U0 + 0.5j, TIMES, W), atol=1e-6)

    def pair(x, v, t):
        return solve(lambda t, y: (y[1], -y[0] * t), (x, v), t, "rk4", steps=5).y

    assert gradcheck(pair, learned(U0, U0, TIMES))


def test_a_time_inside_a_dense_solution():
    found = solve(f(W), U0, (0.1, 1.5), rtol=1e-10, atol=1e-10, dense=True)
    (t,) = learned(torch.tensor(0.77, dtype=torch.float64))
    (slope,) = torch.autograd.grad(found(t)[0], t)
    torch.testing.assert_close(slope, f(W)(t, found(0.77))[0], rtol=1e-6, atol=1e-6)


def test_the_gradient_is_torchdiffeqs():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2)).double()
    function = lambda t, u: net(u) * torch.cos(t)  # noqa: E731
    y0, t = learned(torch.randn(5, 2, dtype=torch.float64), TIMES)
    found = []
    for y in (
        solve(function, y0, t, "dopri5", rtol=1e-10, atol=1e-10).y,
        torchdiffeq.odeint(function, y0, t, rtol=1e-10, atol=1e-10, method="dopri5"),
    ):
        found.append(torch.autograd.grad((y**2).sum(), [y0, t, *net.parameters()]))
    # Times inside a step: both differentiate an interpolation of order 4.
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_implicit_stages_of_a_module():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(W.clone())

        def forward(self, t, u):
            return f(self.weight)(t, u)

    own = Own()
    (u,) = learned(U0)
    grids = solve(own, u, (0, 1), "gauss2", steps=10).y[-1], solve(own, u, (0, 1), "dop853", rtol=1e-10).y[-1]
    ours, exact = (torch.autograd.grad(y.sum(), [u, own.weight]) for y in grids)
    torch.testing.assert_close(ours, exact, rtol=1e-4, atol=1e-5)


def test_the_solution_at_the_first_time_is_y0():
    u, t = learned(U0, TIMES)
    start, time = torch.autograd.grad(solve(f(W), u, t).y[0].sum(), [u, t], allow_unused=True)
    assert torch.equal(start, torch.ones(2, dtype=torch.float64))
    assert time is None or not time.any()


def test_a_solution_whose_times_require_gradients_is_printed_without_a_warning():
    stop = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    found = solve(lambda t, u: -u, torch.ones(2, dtype=torch.float64), (0, stop))
    assert str(found).startswith("Solution(success: t = 0 ... 2, 2 times;")


def test_numbers_beside_times_that_require_gradients_are_not_rounded():
    stop = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    found = solve(lambda t, u: -u, torch.ones(1, dtype=torch.float64), (0, 0.3, stop), "dop853", rtol=1e-13, atol=1e-13)
    assert found.y[1].item() == pytest.approx(math.exp(-0.3), rel=1e-11)
    assert found.t[1].item() == 0.3


@pytest.mark.parametrize("name", ["radau_iia3", "kvaerno5", "rodas4"])
def test_the_end_of_a_solve_by_which_nothing_else_moves(name):
    # d/dt exp(-t) of two numbers
    stop = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    y = solve(lambda t, u: -u, torch.ones(2, dtype=torch.float64), (0, stop), name, rtol=1e-7, atol=1e-7).y[-1]
    (slope,) = torch.autograd.grad(y.sum(), stop)
    assert slope.item() == pytest.approx(-2 * math.exp(-1), rel=1e-4)
