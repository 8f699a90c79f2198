"""solve(..., gradient="checkpoint"): the gradients of "direct", in the memory of sqrt(N) steps."""

import warnings

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.multiprocessing.reductions import StorageWeakRef

from odenets import (
    AdaptiveODENet,
    Event,
    FieldError,
    IntegrationError,
    IntegrationWarning,
    StepControl,
    TimeField,
    solve,
)

U0 = torch.tensor([[1.0, -0.2], [0.3, 0.6]], dtype=torch.float64)
W = torch.tensor([[0.3, -1.0], [0.8, 0.2]], dtype=torch.float64)
TIMES = torch.tensor([0.1, 0.13, 0.6, 1.1, 1.5], dtype=torch.float64)


def learned(*tensors):
    return [x.clone().requires_grad_() for x in tensors]


def f(weight):  # no module: what it holds gets its gradient all the same
    return lambda t, u: torch.tanh(u @ weight) * torch.cos(3 * t) + 0.1 * t


@pytest.mark.parametrize(
    ("scheme", "options"),
    [
        ("dopri5", {}),
        ("cash_karp", {"rtol": 1e-4, "atol": 1e-5}),
        ("dop853", {"control": StepControl(jump_t=[0.5], step_t=[1.2])}),
    ],
)
def test_the_gradient_is_the_direct_one(scheme, options):
    found = []
    for gradient in ("direct", "checkpoint"):
        u, t, w = learned(U0, TIMES, W)
        solution = solve(f(w), u, t, scheme, gradient=gradient, **options)
        found.append([solution.y.detach(), *torch.autograd.grad(solution.y.cos().sum(), [u, t, w])])
        assert solution.stats.accepted > 4
    for direct, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours, direct, rtol=1e-13, atol=1e-13)


def test_first_and_second_derivatives():
    def solution(u, t, weight):
        return solve(f(weight), u, t, rtol=1e-9, atol=1e-9, gradient="checkpoint").y

    assert gradcheck(solution, learned(U0[0], TIMES[:3], W), atol=1e-6)
    assert gradgradcheck(solution, learned(U0[0], TIMES[:3], W), atol=1e-5)


@pytest.mark.parametrize("gradient", ["direct", "checkpoint"])
def test_memory_is_that_of_the_root_of_the_number_of_steps(gradient):
    most = {}
    for steps in (16, 144):
        refs, alive = [], []

        def function(t, u, refs=refs, alive=alive):
            inner = u * 0.5
            refs[:] = [ref for ref in refs if not ref.expired()] + [StorageWeakRef(inner.untyped_storage())]
            alive.append(len(refs))
            return torch.sin(inner)  # saves inner

        control = StepControl(first_step=1 / steps, max_step=1 / steps)
        (u,) = learned(U0)
        solution = solve(function, u, (0, 1), control=control, gradient=gradient)
        assert steps <= solution.stats.accepted <= steps + 2
        solution.y[-1].sum().backward()
        assert torch.isfinite(u.grad).all()
        most[steps] = max(alive)
    # Six evaluations a step. Of 9 times as many steps the square root is 3.
    if gradient == "direct":
        assert most[144] > 8 * most[16] > 8 * 6 * 16
    else:
        assert most[144] < 3.5 * most[16] < 3.5 * 6 * 6


def test_states_of_several_tensors_and_modules():
    torch.manual_seed(0)
    inner = nn.Linear(2, 2).double()
    module = lambda t, y: {"x": inner(y["v"]), "v": -torch.tanh(y["x"]) * t}  # noqa: E731
    found = []
    for gradient in ("direct", "checkpoint"):
        x, v = learned(U0, 0.5 * U0)
        y = solve(module, {"x": x, "v": v}, (0, 0.4, 1.0), gradient=gradient).y
        found.append(torch.autograd.grad(y["x"].sum() + y["v"].cos().sum(), [x, v, *inner.parameters()]))
    for direct, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours, direct, rtol=1e-13, atol=1e-13)


def test_as_a_module():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(W.clone())

        def forward(self, t, u):
            return f(self.weight)(t, u)

    net, found = AdaptiveODENet(TimeField(Own(), 0, 1), rtol=1e-7, atol=1e-7), []
    for gradient in ("direct", "checkpoint"):
        net.gradient = gradient
        found.append(torch.autograd.grad(net(U0).sum(), list(net.parameters())))
    torch.testing.assert_close(*found, rtol=1e-13, atol=1e-13)
    assert "gradient=checkpoint" in repr(net)
    with torch.no_grad():
        net(U0)
    once = net.stats.evaluations
    net(U0)
    # With a record the accepted steps are taken twice.
    assert once < net.stats.evaluations <= 2 * once


def test_a_solve_that_gives_up():
    (u,) = learned(torch.ones(1, dtype=torch.float64))
    with pytest.raises(IntegrationError, match="below the rounding"):
        solve(lambda t, u: u**2, u, (0, 0.5, 3), gradient="checkpoint")
    with pytest.warns(IntegrationWarning):
        found = solve(lambda t, u: u**2, u, (0, 0.5, 3), gradient="checkpoint", on_failure="flag")
    # u0 / (1 - t u0), until t = 1
    assert found.t.tolist() == [0, 0.5]
    (slope,) = torch.autograd.grad(found.y[-1].sum(), u)
    assert slope.item() == pytest.approx(4, rel=1e-5)
    with warnings.catch_warnings(), pytest.raises(IntegrationError, match="not finite"):
        solve(lambda t, u: u * torch.nan, u, (0, 1), gradient="checkpoint")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 5}, r'gradient="checkpoint": got steps with it, expected none; ODENet has it'),
        ({"dense": True}, "got dense with it"),
        ({"per_sample": True}, "got per_sample with it"),
        ({"events": Event(lambda t, u: u[0])}, "got events with it"),
    ],
)
def test_what_is_refused(options, message):
    with pytest.raises(FieldError, match=message):
        solve(f(W), U0, (0, 1), gradient="checkpoint", **options)


def test_torch_func_around_it():
    """Refused by name: torch.utils.checkpoint does not go with it. Without gradients inside, nothing is run again."""

    def solution(u):
        return solve(f(W), u, (0, 1), gradient="checkpoint").y.sum()

    for transform in (torch.func.grad, torch.func.jacrev):
        with pytest.raises(FieldError, match=r'"checkpoint": got torch.func.grad, .* take gradient="direct"'):
            transform(solution)(U0)
    assert torch.equal(torch.func.grad(torch.no_grad()(solution))(U0), torch.zeros_like(U0))
