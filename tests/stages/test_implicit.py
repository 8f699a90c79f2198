"""Implicit schemes as networks: order on stiff problems, gradients, size, failure. Every implicit scheme of the zoo."""

import math

import numpy as np
import pytest
import torch
from helpers import blocks_for
from scipy.fft import dstn, idstn
from scipy.integrate import quad
from torch import nn

from odenets import (
    Anderson,
    Checkpoint,
    ConvergenceError,
    ConvergenceWarning,
    NewtonKrylov,
    ODENet,
    SolverError,
    TimeField,
    schemes,
)

IMPLICIT = [name for name, scheme in schemes.items() if not scheme.explicit and scheme.Gamma is None]
ONE_STEP = [name for name in IMPLICIT if schemes[name].carried == 1]
STIFF = ["backward_euler", "trapezoid", "gauss2", "radau_iia2"]
EXACT = NewtonKrylov(rtol=1e-14, atol=1e-14)


def observed(error, steps):
    return math.log2(error(steps) / error(2 * steps))


# ------------------------------------------------------------------------------------------ order


U0 = torch.linspace(0.05, 0.95, 5, dtype=torch.float64)[:, None]
PHASE = torch.linspace(0, 6, 9, dtype=torch.float64)[:, None]
INTEGRAL = quad(lambda s: math.exp(math.sin(s)), 0, 2, epsrel=1e-13)[0]
TIMED = {
    # f(t, u), u(0) and u(2); the second, by 1/u, is nonlinear
    "u' = cos(t + phase) u": (
        lambda t, u: torch.cos(t + PHASE) * u,
        torch.ones_like(PHASE),
        torch.exp(torch.sin(2.0 + PHASE) - torch.sin(PHASE)),
    ),
    "u' = cos(t) u - u^2": (
        lambda t, u: torch.cos(t) * u - u**2,
        U0,
        math.exp(math.sin(2.0)) / (1 / U0 + INTEGRAL),
    ),
}
# Fine enough for the leading term to dominate, coarse enough to stay above rounding and not to take a minute. On the
# nonlinear problem the multistep schemes of order 5 are there only where rounding is, too.
STEPS = {1: 20, 2: 16, 3: 16, 4: 20, 5: 8, 6: 6}
MULTISTEP = {2: 20, 3: 40, 4: 40, 5: 20, 6: 60}


@pytest.mark.parametrize("name", IMPLICIT)
def test_observed_order_is_the_derived_order(name):
    order, several = schemes[name].order, schemes[name].starting_values > 0
    f, u0, exact = TIMED["u' = cos(t + phase) u" if several and order == 5 else "u' = cos(t) u - u^2"]
    # The starting steps must leave no error of their own.
    start = "gauss3" if several else None

    fine = (MULTISTEP if several else STEPS)[order]
    if len(schemes[name].functions) > 1:
        f, fine = ((lambda t, u: torch.cos(t) * u), (lambda t, u: -(u**2))), 2 * fine

    def error(steps):
        net = ODENet(TimeField(f, 0.0, 2.0, steps), name, solver=EXACT, start=start)
        return (net(u0) - exact).norm().item()

    assert observed(error, fine) == pytest.approx(order, abs=0.15)


MU = 1e6


def kaps(t, u):
    """Kaps (1981): stiff and nonlinear, u = (exp(-2t), exp(-t)) for every mu."""
    return torch.stack([-(MU + 2) * u[:, 0] + MU * u[:, 1] ** 2, u[:, 0] - u[:, 1] - u[:, 1] ** 2], 1)


# u' = A u with eigenvalues -1000 and -1, eigenvectors (1, 0) and (1, 1)
STIFF_MATRIX = torch.tensor([[-1000.0, 999.0], [0.0, -1.0]], dtype=torch.float64)
PROBLEMS = {
    "linear": (lambda t, u: u @ STIFF_MATRIX.T, [1.0, 1.0], [math.exp(-1), math.exp(-1)]),
    "Kaps": (kaps, [1.0, 1.0], [math.exp(-2), math.exp(-1)]),
}


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", STIFF)
def test_order_on_stiff_problems_at_steps_where_explicit_schemes_blow_up(name, problem):
    f, u0, exact = PROBLEMS[problem]
    start, end = torch.tensor([u0], dtype=torch.float64), torch.tensor(exact, dtype=torch.float64)

    def error(steps):
        # The slow component: the fast one of Gauss schemes is known to have order s only (Hairer & Wanner, VI.1).
        return (ODENet(TimeField(f, 0.0, 1.0, steps), name, solver=EXACT)(start)[0, 1] - end[1]).abs().item()

    steps = 5 if schemes[name].order == 4 else 10
    assert observed(error, steps) == pytest.approx(schemes[name].order, abs=0.1)
    for explicit in ("euler", "rk4"):
        far = ODENet(TimeField(f, 0.0, 1.0, 4 * steps), explicit)(start)
        assert not (far.abs() < 1e10).all()


def test_default_starters_of_implicit_schemes_are_implicit_and_survive_stiffness():
    for name in IMPLICIT:
        if schemes[name].starting_values:
            net = ODENet(TimeField(kaps, 0.0, 1.0, 40), name)
            assert not any(program.explicit for program in net.starting_programs)
    f, u0, exact = PROBLEMS["Kaps"]
    found = ODENet(TimeField(f, 0.0, 1.0, 40), "bdf2")(torch.tensor([u0], dtype=torch.float64))
    torch.testing.assert_close(found, torch.tensor([exact], dtype=torch.float64), rtol=1e-3, atol=1e-4)


# -------------------------------------------------------------------------------------- gradients


@pytest.mark.parametrize("name", IMPLICIT)
def test_gradcheck_through_the_implicit_function_theorem(name):
    layers = schemes[name].starting_values + 2
    net = ODENet(blocks_for(name, layers, 4), name, h=0.5)
    torch.manual_seed(1)
    x = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    inputs = (x, *net.parameters())
    assert torch.autograd.gradcheck(lambda x, *_: net(x), inputs, fast_mode=True)
    again = ODENet(blocks_for(name, layers, 4), name, h=0.5, gradient=Checkpoint(states=2))
    for a, b in zip(
        torch.autograd.grad(net(x).square().sum(), inputs),
        torch.autograd.grad(again(x).square().sum(), (x, *again.parameters())),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("solver", [NewtonKrylov(), Anderson()])
def test_backward_euler_equals_the_matrices(solver):
    torch.manual_seed(0)
    K = torch.randn(4, 4, dtype=torch.float64, requires_grad=True)
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    linear = nn.Linear(4, 4, bias=False, dtype=torch.float64)
    with torch.no_grad():
        linear.weight.copy_(K)
    net = ODENet([linear] * 2, "backward_euler", h=0.2, solver=solver)
    by_hand = x @ torch.linalg.inv((torch.eye(4, dtype=torch.float64) - 0.2 * K).T)
    by_hand = by_hand @ torch.linalg.inv((torch.eye(4, dtype=torch.float64) - 0.2 * K).T)
    torch.testing.assert_close(net(x), by_hand, rtol=1e-8, atol=1e-8)
    found = torch.autograd.grad(net(x).square().sum(), (x, linear.weight))
    expected = torch.autograd.grad(by_hand.square().sum(), (x, K))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-7)


def test_second_derivatives():
    net = ODENet(blocks_for("gauss2", 2, 4), "gauss2", h=0.5)
    x = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x, *_: net(x), (x, *net.parameters()), fast_mode=True)


def test_memory_does_not_depend_on_the_number_of_iterations():
    net = ODENet(blocks_for("radau_iia2", 3, 8), "radau_iia2", h=2.0)
    x = torch.randn(4, 8, dtype=torch.float64)
    stored, iterations = set(), set()
    for tolerance in (1e-2, 1e-12):
        net.solver = Anderson(rtol=tolerance, atol=tolerance)
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, s=sizes: s.append(t.numel()) or t, lambda t: t):
            net(x)
        stored.add(sum(sizes))
        iterations.add(int(net.reports[0][1].iterations.max()))
    assert len(iterations) == 2
    assert max(iterations) > 2 * min(iterations)
    assert len(stored) == 1


# -------------------------------------------------------------------------------- size and failure


def test_a_hundred_thousand_numbers_per_sample():
    # Backward Euler for the heat equation on a 316 x 316 grid; a sine transform solves it exactly.
    n, steps, time = 316, 2, 2e-3
    laplacian = nn.Conv2d(1, 1, 3, padding=1, bias=False, dtype=torch.float64)
    stencil = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]], dtype=torch.float64)
    with torch.no_grad():
        laplacian.weight.copy_((stencil * (n + 1) ** 2)[None, None])
    torch.manual_seed(0)
    u0 = torch.rand(1, 1, n, n, dtype=torch.float64)
    field = TimeField(lambda t, u: laplacian(u), 0.0, time, steps)
    with torch.no_grad():
        found = ODENet(field, "backward_euler", solver=NewtonKrylov(rtol=1e-8, atol=1e-8))(u0)
    j = np.arange(1, n + 1)
    mode = -4 * (n + 1) ** 2 * np.sin(j * np.pi / (2 * (n + 1))) ** 2
    assert time / steps * -2 * mode.min() > 500  # far beyond what an explicit step bears
    factor = 1 / (1 - time / steps * (mode[:, None] + mode[None, :])) ** steps
    expected = idstn(dstn(u0[0, 0].numpy(), type=1) * factor, type=1)
    torch.testing.assert_close(found[0, 0], torch.from_numpy(expected), rtol=1e-5, atol=1e-6)


def test_samples_that_do_not_converge_are_named_or_flagged():
    def f(t, u):  # u' = u^2 + 1: u = h (u^2 + 1) + u0 has a real solution for h = 1 where u0 <= -3/4 only
        return u**2 + 1

    x = torch.tensor([[-2.0], [5.0], [-3.0]], dtype=torch.float64)
    net = ODENet(TimeField(f, 0.0, 1.0, 1), "backward_euler")
    with pytest.raises(ConvergenceError, match=r"1 of 3 samples \(1\)"):
        net(x)
    net = ODENet(TimeField(f, 0.0, 1.0, 1), "backward_euler", solver=NewtonKrylov(on_failure="flag"))
    with pytest.warns(ConvergenceWarning, match="1 of 3 samples"):
        y = net(x)
    ((step, report),) = net.reports
    assert step == 0
    assert report.converged.tolist() == [True, False, True]
    # u = u0 + u^2 + 1: u = (1 - sqrt(1 - 4 (u0 + 1))) / 2
    expected = (1 - torch.sqrt(1 - 4 * (x[[0, 2]] + 1))) / 2
    torch.testing.assert_close(y[[0, 2]], expected, rtol=1e-9, atol=1e-9)


def test_a_state_of_one_dimension_is_one_sample():
    net = ODENet(TimeField(lambda t, u: STIFF_MATRIX @ u, 0.0, 1.0, 4), "backward_euler")
    found = net(torch.ones(2, dtype=torch.float64))
    expected = torch.linalg.inv(torch.eye(2, dtype=torch.float64) - 0.25 * STIFF_MATRIX)
    for _ in range(2):
        expected = expected @ expected
    torch.testing.assert_close(found, expected @ torch.ones(2, dtype=torch.float64), rtol=1e-7, atol=1e-8)
    assert all(len(report.converged) == 1 for _, report in net.reports)


def test_half_precision_is_refused():
    net = ODENet(blocks_for("backward_euler", 1, 4, torch.bfloat16), "backward_euler")
    with pytest.raises(SolverError, match="bfloat16"):
        net(torch.ones(2, 4, dtype=torch.bfloat16))


@pytest.mark.parametrize("mode", ["direct", "checkpoint"])
@pytest.mark.parametrize("name", ONE_STEP)
def test_running_statistics_are_updated_once_and_masks_are_drawn_once(name, mode):
    torch.manual_seed(0)
    blocks = [
        [nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 4), nn.Dropout(0.3), nn.Tanh()) for _ in schemes[name].functions]
        for _ in range(2)
    ]
    net = ODENet(blocks, name, h=0.3, gradient=mode).double()
    x = torch.randn(16, 4, dtype=torch.float64)
    net(x).sum().backward()
    counts = [int(value) for key, value in net.state_dict().items() if "num_batches_tracked" in key]
    assert len(counts) == net.evaluations
    assert set(counts) == {1}
    assert all(parameter.grad.isfinite().all() for parameter in net.parameters())
