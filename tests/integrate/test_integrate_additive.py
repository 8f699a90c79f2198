"""Additive (IMEX) schemes: u' = f_0(t, u) + f_1(t, u), Newton's method for f_1 alone, and what goes wrong."""

import math

import pytest
import torch
from scipy.integrate import solve_ivp
from torch import nn
from torch.func import functional_call

import odenets
from odenets import (
    AdaptiveODENet,
    FieldError,
    IntegrationError,
    ODENet,
    SchemeError,
    StepControl,
    TimeField,
    analysis,
    solve,
)

F64 = torch.float64
TO_A_TOLERANCE = ["ark324", "ark436", "ark548"]


def allen_cahn(n=24, diffusion=0.5):
    """u' = u - u^3, explicit, and diffusion with zero ends, implicit; y0, and the solution at t = 1 by scipy's Radau.

    The largest eigenvalue of the diffusion is about -4 diffusion (n + 1)^2 = -1250.
    """
    x = torch.arange(1, n + 1, dtype=F64) / (n + 1)
    away = torch.ones(n - 1, dtype=F64)
    D = (torch.diag(away, 1) + torch.diag(away, -1) - 2 * torch.eye(n, dtype=F64)) * diffusion * (n + 1) ** 2

    def reaction(t, u):
        return 4 * u - u**3 + torch.cos(3 * t)

    y0 = torch.sin(math.pi * x) + 0.5 * torch.sin(3 * math.pi * x)
    whole = lambda t, u: (reaction(torch.tensor(t), torch.from_numpy(u)) + D @ torch.from_numpy(u)).numpy()  # noqa: E731
    end = solve_ivp(whole, (0, 1), y0.numpy(), "Radau", rtol=1e-10, atol=1e-12).y[:, -1]
    return (reaction, lambda t, u: D @ u), y0, torch.from_numpy(end)


PROBLEM = allen_cahn()


def miss(found, expected, tolerance):
    """The root mean square of the error in units of the tolerance."""
    return ((found - expected) / (tolerance + tolerance * expected.abs())).square().mean().sqrt().item()


@pytest.mark.parametrize("scheme", TO_A_TOLERANCE)
def test_a_reaction_with_diffusion_to_a_tolerance(scheme):
    functions, y0, end = PROBLEM
    found = {tol: solve(functions, y0, (0, 1), scheme, rtol=tol, atol=tol) for tol in (1e-4, 1e-6)}
    assert all(miss(s.y[-1], end, tol) < 10 for tol, s in found.items())
    # An explicit scheme is held to steps of about 3 / 1250 by stability.
    assert found[1e-4].stats.accepted < 100 < solve(functions, y0, (0, 1), "bosh3", rtol=1e-4).stats.accepted
    assert found[1e-6].stats.jacobians == 1


def balance(rate):
    """Prothero & Robinson's u' = cos t - rate (u - sin t), in which the two parts balance; the solution is sin t."""
    return lambda t, u: torch.cos(t).expand_as(u), lambda t, u: -rate * (u - torch.sin(t))


@pytest.mark.parametrize("scheme", TO_A_TOLERANCE)
def test_what_the_explicit_part_leaves_in_stiff_components_is_seen(scheme):
    # Kaps' problem: u = exp(-2t), v = exp(-t) whatever the small parameter is.
    small = 1e-6

    def plain(t, w):
        return torch.stack([-2 * w[0], w[0] - w[1] - w[1] ** 2])

    def stiff(t, w):
        return torch.stack([(w[1] ** 2 - w[0]) / small, torch.zeros_like(w[1])])

    end = torch.tensor([math.exp(-2), math.exp(-1)], dtype=F64)
    found = solve((plain, stiff), torch.ones(2, dtype=F64), (0, 1), scheme, rtol=1e-5, atol=1e-5)
    assert miss(found.y[-1], end, 1e-5) < 30
    # A forcing term that the stiff part answers at once: u = cos(3t) / 1e6 but for 1e-12.
    forced = (lambda t, u: torch.cos(3 * t).expand_as(u)), (lambda t, u: -1e6 * u)
    found = solve(forced, torch.tensor([1e-6], dtype=F64), (0, 3), scheme, rtol=1e-6, atol=1e-6)
    assert abs(found.y[-1].item() - math.cos(9) / 1e6) < 1e-5


@pytest.mark.parametrize("options", [{"rtol": 1e-4, "atol": 1e-4}, {"steps": 10}])
def test_times_are_ends_of_steps(options):
    times = torch.linspace(0, 1, 6)  # in float32: 0.2, 0.4, ... to seven digits
    found = solve(balance(1e6), torch.zeros(1, dtype=F64), times, "ark436", **options)
    assert (found.y[:, 0] - torch.sin(times.double())).abs().max() < 1e-3


def test_inside_of_a_step_nothing_is_known():
    start, functions = torch.zeros(1, dtype=F64), balance(1e6)
    event = odenets.Event(lambda t, u: u[0] - 0.5)
    for name, options in {"events": {"events": event}, "dense": {"dense": True}}.items():
        with pytest.raises(FieldError, match=f"ark436: got {name}, for which the solution inside of a step"):
            solve(functions, start, (0, 1), "ark436", **options)
        assert solve(functions, start, (0, 1), "kencarp4", rtol=1e-4, **options).status in ("success", "event")
    with pytest.raises(FieldError, match=r"ars343: got the time 0.25 inside of a step on a grid"):
        solve(functions, start, [0, 0.25, 1], "ars343", steps=10)


@pytest.mark.parametrize("scheme", ["ars222", "ars343", "ars443", "ark436"])
def test_steps_of_a_size_that_explicit_schemes_blow_up_with(scheme):
    functions, y0, end = PROBLEM
    with pytest.raises(IntegrationError, match="not finite"):
        solve(functions, y0, (0, 1), "rk4", steps=40)
    # Two thousandths: of ars222, whose error is that of h^2
    assert (solve(functions, y0, (0, 1), scheme, steps=40).y[-1] - end).abs().max() < 2e-3


def test_newton_and_its_jacobian_are_for_the_second_function_alone():
    calls = [0, 0]

    def explicit(t, u):  # couples all samples, and hides from autograd
        calls[0] += 1
        return torch.from_numpy((u.mean(0) - u).detach().numpy())

    def implicit(t, u):
        calls[1] += 1
        return -1e4 * (u - torch.cos(t))

    start = torch.tensor([[1.0], [2.0], [0.5]], dtype=F64)
    found = solve((explicit, implicit), start, (0, 1), "ark324", rtol=1e-4, atol=1e-4)
    tried = found.stats.accepted + found.stats.rejected
    # Three stages, as the first is the end of the step before; those, and three evaluations before the first step
    assert calls[0] == 3 * tried + found.stats.accepted - 1 + 3
    assert sum(calls) == found.stats.evaluations
    assert calls[1] > calls[0]
    assert found.stats.jacobians < found.stats.accepted


def test_any_other_scheme_takes_the_sum():
    functions, y0, _ = PROBLEM
    whole = lambda t, u: functions[0](t, u) + functions[1](t, u)  # noqa: E731
    for options in ({"scheme": "tsit5"}, {"scheme": "kvaerno3"}, {"scheme": "radau_iia2", "steps": 5}):
        found, expected = (solve(f, y0, (0, 0.1), **options) for f in (functions, whole))
        assert torch.equal(found.y, expected.y)
        assert expected.stats.accepted == found.stats.accepted


# ------------------------------------------------------------------------------------------- gradients


class Scaled(nn.Module):
    def __init__(self, rate):
        super().__init__()
        self.rate = nn.Parameter(torch.tensor(rate, dtype=F64))


class Driven(Scaled):
    def forward(self, t, u):
        return torch.sin(self.rate * u) * torch.cos(t)


class Damped(Scaled):
    def forward(self, t, u):
        return -self.rate * u**3 * (1 + t)


def test_gradients_to_states_parameters_and_times():
    def end(u, t, a, b):
        pair = (lambda t, u: torch.sin(a * u) * torch.cos(t)), (lambda t, u: -b * u**3 * (1 + t))
        return solve(pair, u, t, "ark436", rtol=1e-7, atol=1e-8).y[1:]

    given = ([1.0, 0.5], [0.0, 0.2, 0.5], 0.7, 3.0)
    assert torch.autograd.gradcheck(end, [torch.tensor(x, dtype=F64, requires_grad=True) for x in given], atol=1e-5)


def test_second_derivatives_on_a_grid():
    net = ODENet(TimeField((Driven(0.7), Damped(3.0)), 0, 0.5, 1), "ars343")
    names = [name for name, _ in net.named_parameters()]

    def end(u, *values):
        return functional_call(net, dict(zip(names, values, strict=True)), (u,))

    given = [torch.tensor(x, dtype=F64, requires_grad=True) for x in ([1.0, 0.5], 0.7, 3.0)]
    assert torch.autograd.gradcheck(end, given)
    assert torch.autograd.gradgradcheck(end, given)


# ------------------------------------------------------------------------------------------- networks


def test_modules_and_networks_of_a_pair():
    pair = Driven(0.7), Damped(3.0)
    u = torch.tensor([[1.0], [0.5]], dtype=F64)
    expected = solve(pair, u, (0, 1), "ark436", rtol=1e-9, atol=1e-9).y[-1]
    net = AdaptiveODENet(TimeField(pair, 0, 1), "ark436", rtol=1e-9, atol=1e-9)
    assert torch.equal(net(u), expected)
    fixed = ODENet(TimeField(pair, 0, 1, 20), "ark436")
    assert list(fixed.state_dict()) == list(net.state_dict()) == ["field.f.f0.rate", "field.f.f1.rate"]
    torch.testing.assert_close(fixed(u), solve(pair, u, (0, 1), "ark436", steps=20).y[-1], rtol=0, atol=1e-12)
    torch.testing.assert_close(fixed(u), expected, rtol=0, atol=1e-6)
    parameters = list(fixed.parameters())
    direct = torch.autograd.grad(fixed(u).sum(), parameters)
    for mode, allowed in (("checkpoint", 1e-12), ("adjoint", 1e-6)):
        fixed.gradient = mode
        torch.testing.assert_close(torch.autograd.grad(fixed(u).sum(), parameters), direct, rtol=0, atol=allowed)
    # the same functions under a scheme of one: their sum
    fixed.gradient = "direct"
    torch.testing.assert_close(odenets.swap_scheme(fixed, "rk4")(u), expected, rtol=0, atol=1e-5)


def test_layers_of_two_modules():
    torch.manual_seed(0)
    layers = [[nn.Sequential(nn.Linear(3, 3), nn.Tanh()) for _ in range(2)] for _ in range(2)]
    net = ODENet(layers, "ars222", h=0.5).double()
    x = torch.randn(4, 3, dtype=F64, requires_grad=True)
    assert torch.autograd.gradcheck(net, x)


# ------------------------------------------------------------------------------------------- states, jumps, errors


@pytest.mark.parametrize("direction", [1, -1])
def test_a_jump_of_the_explicit_function(direction):
    # u' = -u + (0 before t = 1/2, 1 after it): evaluated just inside of the steps that it ends and begins
    def force(t, u):
        return (t > 0.5).to(u.dtype).expand_as(u)

    ends = (0.0, 1.0) if direction > 0 else (1.0, 0.0)
    found = solve(
        (force, lambda t, u: -u),
        torch.full((1,), 2.0, dtype=F64),
        ends,
        "ark436",
        rtol=1e-8,
        atol=1e-8,
        control=StepControl(jump_t=(0.5,)),
    )
    down, up = math.exp(-0.5), math.exp(0.5)
    expected = 1 + (2 * down - 1) * down if direction > 0 else (1 + up) * up
    assert found.y[-1].item() == pytest.approx(expected, abs=1e-7)
    assert found.stats.rejected == 0


def test_dictionaries_and_complex_states():
    turning = (lambda t, s: {"z": 1j * s["z"]}, lambda t, s: {"z": -0.5 * s["z"]})
    start = {"z": torch.tensor([1.0 + 0j, 2j], dtype=torch.complex128)}
    for options in ({"rtol": 1e-8, "atol": 1e-8}, {"steps": 40}):
        found = solve(turning, start, (0, 1), "ark436", **options).y["z"][-1]
        torch.testing.assert_close(found, start["z"] * complex(torch.exp(torch.tensor(-0.5 + 1j))), rtol=0, atol=1e-6)


def one(t, u):
    return -u


REFUSED = [
    ({"f": one}, FieldError, r"got 1 function\(s\) with ark436, expected a tuple of 2"),
    ({"f": (one, one, one)}, FieldError, r"got 3 function\(s\) with ark436"),
    ({"f": (one,)}, FieldError, "two callables or more"),
    ({"f": (one, 1)}, FieldError, "two callables or more"),
    ({"scheme": "ars222"}, SchemeError, "ars222: got a scheme that has no step size control"),
    ({"scheme": "verlet", "steps": 2}, SchemeError, "verlet: got a scheme of a state in 2 parts"),
    ({"per_sample": True}, SchemeError, "ark436: got an additive scheme with per_sample"),
    ({"gradient": "checkpoint"}, SchemeError, "ark436: got it with .*checkpoint"),
]


@pytest.mark.parametrize(("options", "error", "said"), REFUSED)
def test_refused(options, error, said):
    with pytest.raises(error, match=said):
        solve(**{"f": (one, one), "y0": torch.ones(2, 1), "t": (0, 1), "scheme": "ark436", **options})


def test_networks_refused():
    field = TimeField((one, one), 0, 1, 2)
    ODENet(field, "ars222")
    with pytest.raises(FieldError, match="belongs to a network already"):
        ODENet(field, "rk4")
    with pytest.raises(FieldError, match="expected as many"):
        field.f = one
    with pytest.raises(FieldError, match=r"2 functions a step and 3 function\(s\)"):
        ODENet(TimeField((one, one, one), 0, 1, 2), "ars222")
    with pytest.raises(FieldError, match="writes into its argument"):
        ODENet(TimeField((lambda t, u: u.add_(1), one), 0, 1, 2), "rk4")(torch.ones(2))


# ------------------------------------------------------------------------------------------- the sum, and its parts


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda t, u: u[:1], r"got a tensor of shape \(1,\) from one of 2 functions, expected \(3,\) from each"),
        (lambda t, u: 2.0, "got float from one of 2 functions"),
        (lambda t, u: None, "got NoneType from one of 2 functions"),
    ],
)
def test_each_part_is_of_the_shape_of_the_state(wrong, said):
    with pytest.raises(FieldError, match=said):
        ODENet(TimeField((lambda t, u: -u, wrong), 0, 1, 2), "rk4")(torch.ones(3))


def test_a_part_that_writes_into_its_argument_where_writes_are_not_counted():
    def doubles(t, u):
        return -(u.mul_(2))

    net = ODENet(TimeField((doubles, lambda t, u: -0.3 * u), 0, 1, 50), "rk4")
    with torch.inference_mode():
        assert net(torch.ones(1)).item() == pytest.approx(math.exp(-2.3), rel=1e-5)


@pytest.mark.parametrize("field", [TimeField((Driven(0.7), Damped(3.0)), 0, 1, 2), [[nn.Identity(), nn.Identity()]]])
def test_an_additive_step_has_no_spectrum(field):
    with pytest.raises(FieldError, match="layer 0: got ars222, an additive scheme"):
        analysis.diagnose(ODENet(field, "ars222"), torch.ones(1, 1, dtype=F64))
