"""torchdiffeq's functions: its values, gradients, options and callbacks, and errors where it is silent."""

import functools
import importlib
import math

import pytest
import torch
import torchdiffeq
from torch import nn

from odenets import FieldError, IntegrationError, odeint, odeint_adjoint, odeint_dense, odeint_event
from odenets.integrate.odeint_schemes import ADAPTIVE, METHODS

torch.manual_seed(0)
T = torch.linspace(0, 2, 9, dtype=torch.float64)
Y0 = torch.tensor([1.0, -0.3], dtype=torch.float64)
#: methods of the installed torchdiffeq
THEIRS = [m for m in METHODS if m in importlib.import_module("torchdiffeq._impl.odeint").SOLVERS]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2)).double()
        self.unused = nn.Linear(2, 3)

    def forward(self, t, y):
        return self.inner(y) * torch.cos(t)


NET = Net()


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("method", [m for m in THEIRS if m not in ADAPTIVE])
def test_fixed_steps_are_torchdiffeqs(method, backwards):
    t = T.flip(0) if backwards else T
    ours, theirs = (lib(NET, Y0, t, method=method) for lib in (odeint, torchdiffeq.odeint))
    # The same formula; but the corrections of Adams-Moulton go on here until they have converged.
    tolerance = 1e-6 if method in ("implicit_adams", "fixed_adams", "scipy_solver") else 1e-12
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("method", ADAPTIVE)
def test_adaptive_steps_are_as_right_as_asked_for(method, backwards):
    t = T.flip(0) if backwards else T
    exact = torchdiffeq.odeint(NET, Y0, t, rtol=1e-11, atol=1e-11)
    tolerance = {"adaptive_heun": 1e-5, "fehlberg2": 1e-5}.get(method, 1e-8)
    found = odeint(NET, Y0, t, rtol=tolerance, atol=tolerance, method=method)
    # The estimate of Fehlberg's pair is a 256th of an error; dopri8's steps are long for an extension of order 5.
    factor = {"fehlberg2": 1000, "dopri8": 300}.get(method, 30)
    torch.testing.assert_close(found, exact, rtol=0, atol=tolerance * factor)


@pytest.mark.parametrize("method", [m for m in METHODS if m not in THEIRS])
def test_methods_that_only_newer_versions_have(method):
    exact = torchdiffeq.odeint(NET, Y0, T, rtol=1e-11, atol=1e-11)
    tolerance = {"implicit_euler": 0.2, "dopri8": 1e-6}.get(method, 1e-2)
    torch.testing.assert_close(odeint(NET, Y0, T, method=method), exact, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("interp", ["linear", "cubic"])
def test_fixed_steps_and_interpolation(interp):
    t = torch.tensor([0.0, 0.33, 1.0], dtype=torch.float64)
    options = {"step_size": 0.15, "interp": interp}
    ours, theirs = (lib(NET, Y0, t, method="rk4", options=options) for lib in (odeint, torchdiffeq.odeint))
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_tuples_norms_and_tolerances_of_each():
    f = lambda t, y: (-y[1], y[0].sum() * torch.ones(3, dtype=torch.float64))  # noqa: E731
    y0 = torch.ones(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for options in ({}, {"options": {"norm": lambda y: max(x.abs().max() for x in y)}}):
        ours, theirs = (
            lib(f, y0, T, rtol=(1e-8, torch.tensor(1e-7)), atol=(1e-8, 1e-8), method="dopri5", **options)
            for lib in (odeint, torchdiffeq.odeint)
        )
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("atol", [torch.tensor([1e-6, 1e-3]), torch.tensor([1e-6, math.inf])])
@pytest.mark.parametrize("several", [False, True])
def test_tolerances_of_each_entry(atol, several):
    f = (lambda t, y: (-y[1], y[0])) if several else lambda t, y: torch.stack([-y[1], y[0]])
    parts = torch.ones((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    y0 = parts if several else torch.stack(parts)
    ours, theirs = (lib(f, y0, T, rtol=1e-6, atol=atol, method="dopri5") for lib in (odeint, torchdiffeq.odeint))
    first = (ours[0], theirs[0]) if several else (ours[:, 0], theirs[:, 0])
    torch.testing.assert_close(*first, rtol=0, atol=2e-4)


def test_one_time_is_the_start():
    assert torch.equal(odeint(NET, Y0, T[:1]), Y0[None])
    assert torch.equal(odeint_adjoint(NET, Y0, T[:1]), Y0[None])


def test_times_are_in_the_dtype_of_the_state():
    seen = []
    odeint(lambda t, y: seen.append(t.dtype) or -y, Y0.float(), T, method="rk4")
    assert set(seen) == {torch.float32}


@pytest.mark.parametrize("method", ["midpoint", "implicit_midpoint", "explicit_adams"])
def test_perturbed_grids(method):
    seen = []
    f = lambda t, y: seen.append(t.item()) or -y  # noqa: E731
    for perturb in (False, True):
        seen.clear()
        odeint(f, Y0, T[[0, 4]], method=method, options={"step_size": 0.5, "perturb": perturb})
        assert (0.5 in seen) is not perturb
        assert min(abs(t - 0.5) for t in seen) < 1e-15


def test_jumps():
    f = lambda t, y: torch.where(t < 0.5, -0.5 * y, y**2)  # noqa: E731
    t, options = torch.tensor([0.0, 1.0]), {"jump_t": torch.tensor([0.5])}
    for dtype in (torch.float32, torch.float64):
        found = odeint(f, torch.ones(1, dtype=dtype), t, rtol=1e-6, atol=1e-6, method="dopri5", options=options)[-1]
        assert found.item() == pytest.approx(1 / (math.exp(0.25) - 0.5), rel=1e-5)


def test_callbacks():
    calls = {"step": [], "accept_step": [], "reject_step": []}

    def f(t, y):
        return torch.cos(30 * t) * y

    for name, kept in calls.items():
        setattr(f, f"callback_{name}", lambda t, y, dt, kept=kept: kept.append((t, y, dt)))
    odeint(f, Y0, T, method="dopri5")
    assert len(calls["step"]) == len(calls["accept_step"]) + len(calls["reject_step"])
    assert calls["reject_step"]
    t, y, dt = calls["step"][0]
    assert (t, dt.dtype, y.shape) == (0, torch.float64, (2,))
    with pytest.warns(UserWarning, match=r"callbacks \['callback_accept_step', 'callback_reject_step'\]"):
        odeint(f, Y0, T, method="rk4")


def test_grid_constructor():
    options = {"grid_constructor": lambda f, y0, t: torch.linspace(0, 1, 11)}
    found = odeint(lambda t, y: y, torch.tensor(1.0), torch.tensor([0.0, 1.0]), method="euler", options=options)
    assert found[1].item() == pytest.approx(1.1**10, rel=1e-6)


@pytest.mark.parametrize("method", ["dopri5", "rk4", "implicit_midpoint", "explicit_adams", "implicit_adams"])
def test_gradients_to_times_one_by_one(method):
    t, y0 = T[:5].clone().requires_grad_(), Y0.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda y, t: odeint(NET, y, t, method=method), (y0, t))


def thirds(f, y0, t):
    """Ends, and a time between that moves with both."""
    return torch.stack([t[0], t[0] + (t[-1] - t[0]) / 3, t[-1]])


@pytest.mark.parametrize("options", [{"step_size": 0.3}, {"grid_constructor": thirds}], ids=["step", "grid"])
@pytest.mark.parametrize("method", ["euler", "rk4", "explicit_adams", "implicit_adams"])
def test_a_grid_moves_with_the_times_that_it_is_made_of(method, options):
    t = torch.tensor([0.0, 0.43, 1.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: odeint(NET, Y0, t, method=method, options=options), t)


@pytest.mark.parametrize("method", ["euler", "explicit_adams", "implicit_adams"])
def test_a_time_that_falls_on_a_grid_does_not_move_it(method):
    t = torch.tensor([0.0, 0.4, 1.0], dtype=torch.float64, requires_grad=True)
    found = odeint(NET, Y0, t, method=method, options={"step_size": 0.1})
    theirs = torchdiffeq.odeint(NET, Y0, t, method=method, options={"step_size": 0.1})
    (ours,), (right,) = (torch.autograd.grad(y[-1].sum(), t) for y in (found, theirs))
    torch.testing.assert_close(ours, right, rtol=1e-6, atol=1e-6)
    assert ours[1] == 0


# ---------------------------------------------------------------------------------------------------- the adjoint


@pytest.mark.parametrize("method", ["dopri5", "rk4", "implicit_midpoint"])
def test_the_adjoints_gradients(method):
    grid = {} if method == "dopri5" else {"options": {"step_size": 0.02 if method == "rk4" else 0.1}}
    found = []
    for lib in (odeint_adjoint, odeint):
        t, y0 = T[::4].clone().requires_grad_(), Y0.clone().requires_grad_()
        y = lib(NET, y0, t, rtol=1e-9, atol=1e-9, method=method, **grid)
        gradients = torch.autograd.grad((y**3).sum(), [y0, t, *NET.parameters()], allow_unused=True)
        found.append(gradients)
    tolerance = 3e-4 if method != "implicit_midpoint" else 0.02  # of a scheme of order 2, h = 1/10
    for adjoint, direct in zip(*found, strict=True):
        expected = torch.zeros_like(adjoint) if direct is None else direct
        torch.testing.assert_close(adjoint, expected, rtol=tolerance, atol=tolerance)


def test_seminorm_and_callbacks_of_the_adjoint():
    steps = []

    def solved(options):
        steps.clear()
        net = Net()
        net.callback_step_adjoint = lambda t, y, dt: steps.append(dt)
        odeint_adjoint(net, Y0, T, rtol=1e-8, atol=1e-8, adjoint_options=options).sum().backward()
        return len(steps)

    assert 0 < solved({"norm": "seminorm"}) <= solved({})


def test_what_the_adjoint_refuses():
    with pytest.raises(FieldError, match="without adjoint_params"):
        odeint_adjoint(lambda t, y: -y, Y0, T)
    y0 = Y0.clone().requires_grad_()
    with pytest.raises(ValueError, match="first derivatives only"):
        torch.autograd.grad(odeint_adjoint(NET, y0, T).sum(), y0, create_graph=True)
    with pytest.raises(FieldError, match='expected "seminorm" or a callable'):
        odeint_adjoint(NET, Y0, T, adjoint_options={"norm": "max"})


# ------------------------------------------------------------------------------------------------- events, dense


def ball(t, y):
    return torch.stack([y[1], torch.full_like(y[1], -9.81)])


@pytest.mark.parametrize(("method", "options"), [("dopri5", {}), ("rk4", {"step_size": 0.1, "interp": "cubic"})])
@pytest.mark.parametrize("interface", [odeint, functools.partial(odeint_adjoint, adjoint_params=())])
def test_a_falling_ball(method, options, interface):
    # It is on the ground at T = sqrt(2 H / g): dT/dH = 1/sqrt(2 g H), and it is then as fast as sqrt(2 g H).
    height = torch.tensor(10.0, dtype=torch.float64, requires_grad=True)
    ground = torch.tensor(0.0, dtype=torch.float64, requires_grad=True)
    t, y = odeint_event(
        ball,
        torch.stack([height, torch.zeros_like(height)]),
        torch.zeros(1, dtype=torch.float64),
        event_fn=lambda t, y: torch.stack([y[0] - ground, y[1] - 100]),
        method=method,
        options=options,
        odeint_interface=interface,
    )
    assert t.item() == pytest.approx(math.sqrt(20 / 9.81), abs=1e-10)
    assert y[0, 0] == height
    gradients = torch.autograd.grad(t, [height, ground], retain_graph=True)
    slope = 1 / math.sqrt(2 * 9.81 * 10)
    assert [g.item() for g in gradients] == pytest.approx([slope, -slope], rel=1e-6)
    speed = torch.autograd.grad(y[1, 1], [height, ground])
    assert [g.item() for g in speed] == pytest.approx([-9.81 * slope, 9.81 * slope], rel=1e-6)


def test_events_back_in_time_and_none():
    t, y = odeint_event(
        lambda t, y: y, torch.ones(1), torch.tensor(0.0), event_fn=lambda t, y: y - 0.5, reverse_time=True
    )
    assert t.item() == pytest.approx(-math.log(2), abs=1e-5)
    assert y[-1].item() == pytest.approx(0.5, abs=1e-6)
    options = {"max_num_steps": 50}
    with pytest.raises(IntegrationError, match="max_steps = 50"):
        odeint(lambda t, y: -y, torch.ones(1), T[:2], event_fn=lambda t, y: y + 1, method="dopri5", options=options)


def test_dense_output():
    found = odeint_dense(NET, Y0, torch.tensor(0.0), torch.tensor(2.0), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found(T), odeint(NET, Y0, T, rtol=1e-11, atol=1e-11), rtol=1e-7, atol=1e-7)


# ------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"method": "dopri6"}, ValueError, 'Invalid method "dopri6".*dopri8, dopri5'),
        ({"options": {"step_sise": 0.1}}, FieldError, r"options: got \['step_sise'\] for method='dopri5'"),
        ({"method": "rk4", "options": {"interp": "quartic"}}, FieldError, "interp: got 'quartic'"),
        ({"method": "euler", "options": {"step_size": 1, "grid_constructor": 1}}, FieldError, "expected one of them"),
        ({"t": torch.tensor([0, 1])}, TypeError, "must be a floating point Tensor"),
        ({"t": [0.0, 1.0]}, FieldError, r"t: got list, expected a tensor of one dimension"),
        ({"t": torch.ones(2, 2)}, FieldError, r"t: got a tensor of shape \(2, 2\)"),
        ({"t": torch.tensor([0.0, 1.0, 1.0])}, FieldError, "t: got 1 and then 1"),
        ({"y0": torch.tensor([1, 2])}, FieldError, "y0: got torch.int64"),
        ({"func": lambda t, y: y[0]}, FieldError, r"f: got shape \(\) for a state of shape \(2,\)"),
        ({"func": lambda t, y: y * math.nan}, IntegrationError, "f is not finite there"),
        ({"func": lambda t, y: y * math.nan, "method": "rk4"}, IntegrationError, "the solution is not finite"),
        ({"method": "dopri5", "options": {"max_num_steps": 3}}, IntegrationError, "max_steps = 3 are taken"),
        ({"method": "rk4", "event_fn": lambda t, y: y, "t": T[:2]}, FieldError, "without options step_size"),
        ({"event_fn": lambda t, y: y}, FieldError, "event_fn: got it with 9 times"),
        ({"rtol": (1e-3,), "y0": (Y0, Y0)}, FieldError, "rtol: got 1 tolerances"),
        ({"rtol": (1e-3, -1), "y0": (Y0, Y0)}, FieldError, r"rtol: got -1 for a state of shape \(2,\)"),
        ({"atol": math.nan}, FieldError, "atol: got nan for a state"),
        ({"atol": [1e-3, 1e-3]}, FieldError, r"atol: got \[0.001, 0.001\] for a state"),
        ({"atol": 0, "y0": 0 * Y0, "func": lambda t, y: y}, IntegrationError, "is 0 there for some entries"),
        ({"method": "implicit_adams", "options": {"max_iters": 1}}, IntegrationError, "did not converge in 1 iter"),
    ],
)
def test_errors_where_torchdiffeq_is_silent_or_terse(kwargs, error, message):
    given = {"func": NET, "y0": Y0, "t": T, **kwargs}
    with pytest.raises(error, match=message):
        odeint(**given)
