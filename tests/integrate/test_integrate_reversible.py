"""Adaptive steps of reversible schemes: the coupling of McCallum and Foster over pairs, undone in the backward pass."""

import math
from contextlib import nullcontext
from itertools import pairwise

import pytest
import torch
from scipy.integrate import solve_ivp
from torch import nn
from torch.autograd import gradcheck, gradgradcheck

from odenets import (
    AdaptiveODENet,
    Event,
    FieldError,
    IntegrationError,
    Reversible,
    SchemeError,
    StepControl,
    TimeField,
    mccallum_foster,
    schemes,
    solve,
)
from odenets.integrate import undone

F64 = torch.float64
PAIRS = ["bosh3", "dopri5", "tsit5"]
COUPLED = mccallum_foster(schemes["dopri5"])


class Field(nn.Module):
    """tanh(W u) cos 3 t - u / 10."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(2, 2, dtype=F64, generator=generator))

    def forward(self, t, u):
        return torch.tanh(u @ self.weight) * torch.cos(3 * t) - 0.1 * u


def start():
    return torch.tensor([[1.0, 0.5], [-0.3, 2.0], [0.1, 0.2]], dtype=F64, requires_grad=True)


@pytest.mark.parametrize("name", PAIRS)
def test_a_step_is_the_formula(name):
    # y+ = l y + (1 - l) z + Psi_h(z), z+ = z - Psi_-h(y+), Psi the increment of one step of the pair
    pair, lam, f = schemes[name], 0.999, Field()

    def psi(t, u, h):
        return solve(f, u, (t, t + h), pair, steps=1).y[-1] - u

    y = z = start().detach()
    grid = [0.0, 0.1, 0.25, 0.3]
    for t, stop in pairwise(grid):
        y = lam * y + (1 - lam) * z + psi(t, z, stop - t)
        z = z - psi(stop, y, t - stop)
    with torch.no_grad():
        found = solve(f, start(), (0.0, 0.3), mccallum_foster(pair), steps=grid).y[-1]
    torch.testing.assert_close(found, y, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("name", PAIRS)
def test_the_estimate_is_that_of_the_pair(name):
    coupled, pair = mccallum_foster(schemes[name]), schemes[name]
    assert (coupled.order, coupled.embedded_order) == (pair.order, pair.embedded_order)
    f, errors = Field(), []
    exact = solve_ivp(
        lambda t, u: f(torch.tensor(t), torch.from_numpy(u).reshape(3, 2)).detach().numpy().ravel(),
        (0, 3),
        start().detach().numpy().ravel(),
        method="DOP853",
        rtol=1e-13,
        atol=1e-13,
    ).y[:, -1]
    tolerances = (1e-4, 1e-7)
    with torch.no_grad():
        for tolerance in tolerances:
            found = solve(f, start(), (0, 3), coupled, rtol=tolerance, atol=tolerance)
            errors.append((found.y[-1].ravel() - torch.from_numpy(exact)).abs().max().item())
    for error, tolerance in zip(errors, tolerances, strict=True):
        assert tolerance / 30 < error < 30 * tolerance


@pytest.mark.parametrize(
    ("scheme", "options"),
    [(COUPLED, "reversible"), (COUPLED, Reversible()), (schemes["reversible_heun"], "reversible")],
)
def test_gradients_are_those_of_the_accepted_steps(scheme, options):
    f, times = Field(), (0.0, 0.3, 0.8)
    found = []
    for gradient, control in ((options, None), ("direct", StepControl(step_t=[0.3]))):
        u, t1 = start(), torch.tensor(0.8, dtype=F64, requires_grad=True)
        tol = 1e-6 if scheme is COUPLED else 1e-3
        y = solve(f, u, (*times[:2], t1), scheme, gradient=gradient, control=control, rtol=tol, atol=tol).y
        found.append((y.detach(), torch.autograd.grad(y.cos().sum(), [u, f.weight, t1])))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-9, atol=1e-11)


def test_gradcheck():
    f, scheme = Field(), mccallum_foster(schemes["dopri5"])

    def solution(u):
        return solve(f, u, (0, 0.4, 1), scheme, gradient="reversible", rtol=1e-7, atol=1e-7).y

    assert gradcheck(solution, [start()[:1].detach().requires_grad_()], atol=1e-5)

    def moved(u, weight, t):  # weight is that of f
        return solve(f, u, t, scheme, gradient="reversible", control=StepControl(first_step=0.1, max_step=0.1)).y

    given = [start()[:1].detach().requires_grad_(), f.weight, torch.tensor([0.0, 0.1, 0.2], dtype=F64).requires_grad_()]
    assert gradcheck(moved, given, atol=1e-5, fast_mode=True)
    assert gradgradcheck(moved, given, atol=1e-4, fast_mode=True)
    z = (start().detach() + 1j).requires_grad_()
    y = solve(lambda t, z: 1j * z, z, (0, 1), scheme, gradient="reversible", rtol=1e-9, atol=1e-9).y[-1]
    (found,) = torch.autograd.grad(y.real.sum(), z)
    # d Re(exp(i) z): conj(exp(i))
    torch.testing.assert_close(found, torch.exp(torch.tensor(-1j, dtype=z.dtype)).expand_as(z), rtol=1e-7, atol=1e-7)


def kept(steps):
    """Numbers that the forward pass keeps for the backward pass."""
    sizes = []
    control = StepControl(max_step=1 / steps)
    with torch.autograd.graph.saved_tensors_hooks(lambda x: sizes.append(x.numel()) or x, lambda x: x):
        scheme = mccallum_foster(schemes["bosh3"])
        found = solve(Field(), start(), (0, 1), scheme, gradient="reversible", control=control, rtol=1e-2, atol=1e-2)
    assert found.stats.accepted >= steps
    found.y[-1].sum().backward()
    return sum(sizes)


def test_memory_does_not_grow_with_the_steps(monkeypatch):
    monkeypatch.setattr(undone, "SHORTEST", 5)
    monkeypatch.setattr(undone, "PIECES", 4)
    found = [kept(steps) for steps in (20, 60, 180)]
    assert found[0] > 3 * 2 * 6  # two states of 6 numbers at each cut are among them
    assert found[0] == found[1] == found[2]


def test_steps_that_cannot_be_undone_are_run_again():
    # A coupling of 1/2 loses a digit of two in each step back: all of them in 60.
    f, u, scheme = Field(), start(), mccallum_foster(schemes["bosh3"], "1/2")
    options = {"control": StepControl(max_step=1 / 60)}
    found = []
    for gradient in ("reversible", "direct"):
        y = solve(f, u, (0, 1), scheme, gradient=gradient, **options).y[-1]
        found.append(torch.autograd.grad(y.cos().sum(), [u, f.weight]))
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-11)


def test_carried_values_that_drift_apart_are_told():
    # u' = -10 (u - cos t): the embedded estimate is small while the difference grows like exp(10 t)
    u = torch.ones(1, dtype=F64)
    with pytest.raises(IntegrationError, match=r"10 tolerances apart.*gradient='checkpoint'") as error:
        solve(lambda t, u: -10 * (u - torch.cos(t)), u, (0, 2), mccallum_foster(schemes["dopri5"]))
    assert error.value.failure.reason == "carried values apart"
    assert 0 < error.value.failure.t < 2


class Follows(nn.Module):
    """u' = -r (u - cos t), with u = (r^2 (cos t - exp(-r t)) + r sin t) / (1 + r^2) from u(0) = 0."""

    def __init__(self, rate):
        super().__init__()
        self.rate = nn.Parameter(torch.tensor(rate, dtype=F64))

    def forward(self, t, u):
        return -self.rate * (u - torch.cos(t))

    def right(self, end):
        r = self.rate
        return (r**2 * (math.cos(end) - torch.exp(-r * end)) + r * math.sin(end)) / (1 + r**2)


@pytest.mark.parametrize("tolerance", [1e-4, 1e-6, 1e-8])
@pytest.mark.parametrize(
    ("rate", "coupling", "reached"), [(0.5, "999/1000", True), (2.0, "1/2", True), (2.0, "999/1000", False)]
)
def test_where_solutions_contract_a_gradient_is_near_or_none_is_given(rate, coupling, reached, tolerance):
    f, start = Follows(rate), torch.zeros(1, dtype=F64)
    options = {"rtol": tolerance, "atol": tolerance, "gradient": "reversible"}
    with nullcontext() if reached else pytest.raises(IntegrationError, match="10 tolerances apart"):
        y = solve(f, start, (0, 3), mccallum_foster(schemes["dopri5"], coupling), **options).y[-1]
    if reached:
        pairs = [(y.sum(), f.right(3.0))]
        pairs += [tuple(torch.autograd.grad(x, f.rate)[0] for x in pairs[0])]
        assert abs(pairs[0][0] - pairs[0][1]) < 5 * tolerance
        assert abs(pairs[1][0] - pairs[1][1]) < 20 * tolerance


def test_as_a_module_and_what_is_refused():
    scheme = mccallum_foster(schemes["dopri5"])
    net = AdaptiveODENet(TimeField(Field(), 0, 1), scheme, gradient="reversible")
    net(start()).sum().backward()
    assert net.field.f.weight.grad.abs().max() > 0
    net.gradient = "direct"
    with pytest.raises(SchemeError, match=r"got dopri5, .* take mccallum_foster\(schemes\['dopri5'\]\)"):
        AdaptiveODENet(TimeField(Field(), 0, 1), "dopri5", gradient="reversible")
    event = Event(lambda t, u: u[0, 0])
    with pytest.raises(FieldError, match=r'gradient="reversible.*got events with it'):
        solve(Field(), start(), (0, 1), scheme, gradient="reversible", events=event)
    with pytest.raises(FieldError, match="got a StepControl with jump_t"):
        solve(Field(), start(), (0, 1), scheme, gradient="reversible", control=StepControl(jump_t=[0.5]))
    with pytest.raises(SchemeError, match="carries 2 values with per_sample"):
        solve(Field(), start(), (0, 1), scheme, per_sample=True)
    w = torch.ones((), dtype=F64, requires_grad=True)
    with pytest.raises(FieldError, match="uses a tensor that requires a gradient"):
        solve(lambda t, u: -w * u, start(), (0, 1), scheme, gradient="reversible")
    blow_up = lambda t, u: u**2  # noqa: E731
    u = torch.ones(1, dtype=F64, requires_grad=True)
    with pytest.raises(IntegrationError) as error:
        solve(blow_up, u, (0, 0.5, 2), scheme, gradient="reversible")
    assert error.value.solution.y[1].item() == pytest.approx(2, rel=1e-5)
    (slope,) = torch.autograd.grad(error.value.solution.y[1], u)
    assert slope.item() == pytest.approx(4, rel=1e-4)  # of u / (1 - u / 2)
