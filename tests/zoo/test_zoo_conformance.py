"""What a scheme passes by being in the zoo: it converges as derived and behaves as a module.

Schemes are asked for by what they can do, never by name.
"""

import math

import by_hand
import mpmath
import numpy as np
import pytest
import torch
from helpers import blocks_for, explicit_schemes, layers_of
from scipy.integrate import solve_ivp
from torch import nn

from odenets import ODENet, TimeField, schemes
from odenets.passes.starting import starting_scheme

FIXED = [name for name in explicit_schemes() if not schemes[name].symbols]
NONLINEAR = [name for name in FIXED if not schemes[name].linear_only and schemes[name].components == 1]
TIMED = [name for name in NONLINEAR if not any(schemes[name].modules)]  # one f(t, x)
LAYERED = [name for name in NONLINEAR if any(schemes[name].modules)]
LINEAR = [name for name in FIXED if schemes[name].linear_only]
PARTITIONED = [name for name in FIXED if schemes[name].components == 2]
HIGH = 5  # from this order on float64 leaves too few digits between the leading term and rounding
DEVICES = ["meta", "cuda"] if torch.cuda.is_available() else ["meta"]
# Fine enough for the leading term to dominate, coarse enough to stay above rounding.
STEPS = {1: 1000, 2: 250, 3: 200, 4: 120}
# The leading term of vern6 is so small that the next ones show long.
HIGH_STEPS = {5: 50, 6: 50, 7: 20, 8: 40, 9: 40, "vern6": 320}


def observed(error, steps):
    errors = [error(steps), error(2 * steps)]
    assert errors[1] > 1e-14, "rounding dominates: the test measures nothing"
    return math.log2(errors[0] / errors[1])


def test_every_scheme_that_runs_is_measured():
    assert sorted(TIMED + LAYERED + LINEAR + PARTITIONED) == sorted(FIXED)
    assert all(schemes[name].order >= 1 for name in FIXED)
    assert {len(group) > 0 for group in (TIMED, LAYERED, LINEAR, PARTITIONED)} == {True}


# ---------------------------------------------------------------- one function of time and state

# Nine solutions at once, so that no zero of the error passes for a high order.
U0 = torch.linspace(0.05, 0.95, 9, dtype=torch.float64)
PHASE = torch.linspace(0, 6, 9, dtype=torch.float64)
PROBLEMS = {
    # autonomous and nonlinear: u = 1 / (1 + (1/u0 - 1) exp(-t))
    "u' = u (1 - u)": (lambda t, u: u * (1 - u), U0, 1 / (1 + (1 / U0 - 1) * math.exp(-2.0))),
    # non-autonomous: u = exp(sin(t + phase) - sin(phase))
    "u' = cos(t) u": (
        lambda t, u: torch.cos(t + PHASE) * u,
        torch.ones_like(PHASE),
        torch.exp(torch.sin(2.0 + PHASE) - torch.sin(PHASE)),
    ),
}


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", [name for name in TIMED if schemes[name].order < HIGH])
def test_observed_order_is_the_derived_order(name, problem):
    f, u0, exact = PROBLEMS[problem]
    # The starting steps are to leave no error of their own: rk4's is as large as that of nystrom4.
    start = "dopri5" if schemes[name].starting_values else None

    def error(steps):
        return (ODENet(TimeField(f, 0.0, 2.0, steps), name, start=start)(u0) - exact).norm().item()

    order = schemes[name].order
    assert observed(error, STEPS[order]) == pytest.approx(order, abs=0.1)


def high_precision(name, problem, steps):
    """Three solutions at t = 1/2 in 34 digits, and their exact values. A longer interval would have to be far
    finer for the weakly stable ones, whose parasitic root grows by exp(5.6 t) for f' = -1 (nystrom5)."""
    with mpmath.workdps(by_hand.DIGITS):
        half, scheme = mpmath.mpf(1) / 2, schemes[name]
        start = starting_scheme(scheme, schemes["dop853"]) if scheme.starting_values else scheme
        found, exact = [], []
        for j in range(3):
            u0, phase = mpmath.mpf(1), mpmath.mpf(2 * j)
            if problem == "u' = u (1 - u)":
                u0 = mpmath.mpf(1 + j) / 5
                found.append(by_hand.solve(scheme, start, lambda t, u: u * (1 - u), u0, (half, steps)))
                exact.append(1 / (1 + (1 / u0 - 1) * mpmath.exp(-half)))
            else:

                def f(t, u, phase=phase):
                    return mpmath.cos(t + phase) * u

                found.append(by_hand.solve(scheme, start, f, u0, (half, steps)))
                exact.append(mpmath.exp(mpmath.sin(half + phase) - mpmath.sin(phase)))
        return found, exact


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", [name for name in TIMED if schemes[name].order >= HIGH])
def test_observed_order_of_high_order_schemes(name, problem):
    def error(steps):
        found, exact = high_precision(name, problem, steps)
        with mpmath.workdps(by_hand.DIGITS):
            return mpmath.norm([a - b for a, b in zip(found, exact, strict=True)])

    steps = HIGH_STEPS.get(name, HIGH_STEPS[schemes[name].order])
    coarse, fine = error(steps), error(2 * steps)
    assert fine > mpmath.mpf(10) ** (4 - by_hand.DIGITS), "rounding dominates: the test measures nothing"
    assert float(mpmath.log(coarse / fine, 2)) == pytest.approx(schemes[name].order, abs=0.1)


@pytest.mark.parametrize("name", [name for name in TIMED if schemes[name].order >= HIGH])
def test_network_of_high_order_equals_the_matrices_in_34_digits(name):
    phase = 2.0 * torch.arange(3, dtype=torch.float64)
    start = "dop853" if schemes[name].starting_values else None
    net = ODENet(TimeField(lambda t, u: torch.cos(t + phase) * u, 0.0, 0.5, 20), name, start=start)
    expected = torch.tensor([float(x) for x in high_precision(name, "u' = cos(t) u", 20)[0]], dtype=torch.float64)
    torch.testing.assert_close(net(torch.ones(3, dtype=torch.float64)), expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("name", [n for n in TIMED if 0 < schemes[n].starting_values < 3])
def test_the_default_start_keeps_the_order(name):
    f, u0, exact = PROBLEMS["u' = cos(t) u"]

    def error(steps):
        return (ODENet(TimeField(f, 0.0, 2.0, steps), name)(u0) - exact).norm().item()

    order = schemes[name].order
    assert observed(error, STEPS[order]) == pytest.approx(order, abs=0.1)


# ---------------------------------------------------------------------- several functions a step


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def parts_of(name, whole, first):
    """[f, f] for a scheme of one f evaluated by several modules, else f = first + rest."""
    functions = max(schemes[name].modules) + 1
    if len(schemes[name].functions) == 1:
        return [Function(whole)] * functions
    return [Function(first), Function(lambda x: whole(x) - first(x))]


def clocked(x):
    """u' = cos(t) u as an autonomous system in (u, t)."""
    return torch.stack([torch.cos(x[:, 1]) * x[:, 0], torch.ones_like(x[:, 0])], 1)


@pytest.mark.parametrize("name", LAYERED)
def test_observed_order_with_several_functions_a_step(name):
    assert len(schemes[name].functions) in (1, 2)
    logistic = parts_of(name, lambda u: u * (1 - u), lambda u: u)
    timed = parts_of(name, clocked, lambda x: clocked(x) / 3)
    start = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    end = torch.tensor([[math.exp(math.sin(2.0)), 2.0]], dtype=torch.float64)

    for functions, u0, exact in [(logistic, U0[:, None], PROBLEMS["u' = u (1 - u)"][2][:, None]), (timed, start, end)]:

        def error(steps, functions=functions, u0=u0, exact=exact):
            return (ODENet([functions] * steps, name, h=2.0 / steps)(u0) - exact).norm().item()

        order = schemes[name].order
        assert observed(error, STEPS[order]) == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize("name", LINEAR)
def test_observed_order_on_a_linear_problem(name):
    K = torch.tensor([[-0.3, 2.0], [-1.0, 0.1]], dtype=torch.float64)
    u0 = torch.tensor([[1.0, 0.0], [0.5, -1.0]], dtype=torch.float64)
    exact = u0 @ torch.linalg.matrix_exp(2.0 * K).T
    f = Function(lambda u: u @ K.T)

    def error(steps):
        blocks = layers_of(name, steps, lambda: f)
        return (ODENet(blocks, name, h=2.0 / steps)(u0) - exact).norm().item()

    assert observed(error, STEPS[schemes[name].order]) == pytest.approx(schemes[name].order, abs=0.1)


@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("name", PARTITIONED)
def test_observed_order_of_partitioned_schemes_on_the_pendulum(name, forced):
    # q' = p, p' = -sin q (+ cos t, the clock being part of q); the first module takes p, the second q
    reference = solve_ivp(
        lambda t, u: [u[1], -np.sin(u[0]) + forced * np.cos(t)],
        (0, 3),
        [1.5, 0.2],
        method="DOP853",
        rtol=1e-13,
        atol=1e-13,
    ).y[:, -1]
    exact = torch.tensor(reference)
    drift = Function(lambda p: torch.stack([p[:, 0], torch.ones_like(p[:, 0])], 1))
    kick = Function(lambda q: torch.stack([-torch.sin(q[:, 0]) + forced * torch.cos(q[:, 1]), 0 * q[:, 0]], 1))
    u0 = torch.tensor([[1.5, 0.0, 0.2, 0.0]], dtype=torch.float64)

    def error(steps):
        found = ODENet([[drift, kick]] * steps, name, h=3.0 / steps)(u0)
        return (found[0, [0, 2]] - exact).norm().item()

    order = schemes[name].order
    assert observed(error, STEPS[order]) == pytest.approx(order, abs=0.1)


# --------------------------------------------------------------------------------- as a module


def network(name, dtype=torch.float64, width=4, h=0.5):
    layers = schemes[name].starting_values + 2
    return ODENet(blocks_for(name, layers, width, dtype), name, h=h)


@pytest.mark.parametrize("name", explicit_schemes())
def test_gradcheck(name):
    net = network(name)
    torch.manual_seed(1)
    x = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    # random projections of the Jacobian; the loops of test_zoo_steps.py compare every entry
    assert torch.autograd.gradcheck(lambda x, *_: net(x), (x, *net.parameters()), fast_mode=True)


@pytest.mark.parametrize("name", explicit_schemes())
def test_dtypes(name):
    x = torch.linspace(-1, 1, 12, dtype=torch.float64).view(3, 4)
    net = network(name)
    exact = net(x)
    for dtype, tolerance in ((torch.float32, 1e-4), (torch.bfloat16, None)):
        found = net.to(dtype)(x.to(dtype))
        assert found.dtype == dtype
        assert found.isfinite().all()
        if tolerance:
            torch.testing.assert_close(found.double(), exact, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", explicit_schemes())
def test_each_sample_of_a_batch_is_on_its_own(name):
    net = network(name)
    torch.manual_seed(2)
    x = torch.randn(4, 4, dtype=torch.float64)
    alone = torch.cat([net(row[None]) for row in x])
    torch.testing.assert_close(net(x), alone, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", explicit_schemes())
def test_devices(name, device):
    # Nothing of a step is left behind on the CPU. "meta" has no values but refuses to mix devices.
    net, x = network(name), torch.linspace(-1, 1, 12, dtype=torch.float64).view(3, 4)
    expected = net(x)
    found = net.to(device)(x.to(device))
    assert found.device.type == device
    assert found.shape == expected.shape
    if device != "meta":
        torch.testing.assert_close(found.cpu(), expected, rtol=1e-10, atol=1e-10)
