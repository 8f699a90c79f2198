"""solve: against scipy, orders, statistics, states of every kind, errors."""

import math
import pickle

import numpy as np
import pytest
import torch
from pendulums import START, pendulum, pendulum_numpy, reference
from scipy.integrate import solve_ivp
from torch.utils._python_dispatch import TorchDispatchMode

from odenets import (
    FieldError,
    IntegrationError,
    IntegrationWarning,
    ODENet,
    SchemeError,
    StepControl,
    TimeField,
    schemes,
    solve,
)
from odenets.integrate.method import runs_as_method

U0 = torch.tensor(START, dtype=torch.float64)
TIMES = torch.linspace(0, 5, 8, dtype=torch.float64)
ADAPTIVE = [s.name for s in schemes.values() if s.embedded is not None and runs_as_method(s)]


def decay(t, u):
    return -u


@pytest.mark.parametrize("name", ADAPTIVE)
def test_the_error_follows_the_tolerance(name):
    exact = reference(TIMES.numpy())
    for tol in (1e-4, 1e-7):
        # Inside of its steps, which are long, vern8 is of order 5.
        control = StepControl(step_t=TIMES) if name == "vern8" else None
        found = solve(pendulum, U0, TIMES, name, rtol=tol, atol=tol, control=control)
        assert found.status == "success"
        # rkc2's estimate is of h^3 like the step's own error: h^2, the error at the end, goes with tol^(2/3).
        exponent = 2 / 3 if name == "rkc2_6" else 1.0
        assert 0 < (found.y - exact).abs().max() < 30 * tol**exponent


@pytest.mark.parametrize(("name", "peer"), [("dopri5", "RK45"), ("bosh3", "RK23"), ("dop853", "DOP853")])
def test_the_steps_are_scipys_where_the_control_is(name, peer):
    # scipy's controller is integral; all else (error estimate, norm, first step, limits) is of the same book.
    for tol in (1e-3, 1e-6, 1e-9):
        ours = solve(pendulum, U0, (0, 5), name, rtol=tol, atol=tol, control=StepControl(exponents=[1]))
        theirs = solve_ivp(pendulum_numpy, (0, 5), START, method=peer, rtol=tol, atol=tol)
        # scipy's DOP853 evaluates f at the end of every step that it tries.
        spared = ours.stats.rejected + 1 if name == "dop853" else 0
        assert ours.stats.evaluations == theirs.nfev - spared
        assert ours.stats.accepted == len(theirs.t) - 1
        # The quotient of dop853's two estimates has roundings that move its steps by some 1e-8 of themselves.
        allowed = tol / 20 if name == "dop853" else 0
        np.testing.assert_allclose(ours.y[-1].numpy(), theirs.y[:, -1], rtol=1e-12, atol=allowed)


def test_evaluations_are_counted_and_shared():
    calls = []
    f = lambda t, u: calls.append(float(t)) or -u  # noqa: E731
    found = solve(f, torch.ones(2), (0, 3), "dopri5")
    steps = found.stats.accepted + found.stats.rejected
    # The slope at t0, one for the first step size, and then six a step: the last stage is the next step's first.
    assert len(calls) == found.stats.evaluations == 6 * steps + 2
    found = solve(f, torch.ones(2), (0, 3), "cash_karp")
    # Nothing of a step is the next one's; f(u_n) is evaluated once, however often the step is tried.
    assert found.stats.evaluations == 5 * (found.stats.accepted + found.stats.rejected) + found.stats.accepted + 1


def test_times_between_the_steps_cost_no_evaluation():
    sparse, many = (solve(pendulum, U0, t, "dopri5") for t in ((0, 5), torch.linspace(0, 5, 300)))
    assert sparse.stats == many.stats
    torch.testing.assert_close(many.y[-1], sparse.y[-1], rtol=0, atol=0)


@pytest.mark.parametrize("name", ["euler", "rk4", *ADAPTIVE])
def test_dense_order_as_observed(name):
    inside = np.linspace(0, 1, 9)

    def error(h):
        found = solve(pendulum, U0, h * inside, name, steps=1)
        return (found.y - reference(h * inside)).abs()[1:-1].max().item()

    order, h = schemes[name].dense_order, 0.2 if schemes[name].dense_order > 4 else 0.1
    assert np.log2(error(h) / error(h / 2)) == pytest.approx(order + 1, abs=0.25)


@pytest.mark.parametrize(("name", "order"), [("rk4", 4), ("ab2", 2), ("leapfrog", 2), ("gauss2", 4), ("bdf2", 2)])
def test_every_kind_of_scheme_on_a_grid(name, order):
    few = [0, 5 / 3, 5]
    exact = reference(few)

    def error(steps):
        return (solve(pendulum, U0, few, name, steps=steps).y - exact).abs().max().item()

    # 5/3 is on neither grid, a third of a step from its nearest time: interpolated to order 3, with errors of h^4.
    assert np.log2(error(40) / error(80)) == pytest.approx(order, abs=0.5)


@pytest.mark.parametrize("name", ["rk4", "dopri5", "ab4", "backward_euler"])
def test_a_grid_is_what_a_network_does(name):
    net = ODENet(TimeField(pendulum, 0.0, 2.0, 10), name)
    torch.testing.assert_close(solve(pendulum, U0, (0, 2), name, steps=10).y[-1], net(U0), rtol=1e-14, atol=0)
    assert solve(pendulum, U0, (0, 2), name, step=0.2).stats.accepted == 10
    assert solve(pendulum, U0, (0, 2), name, step=0.21).stats.accepted == 10


@pytest.mark.parametrize("name", ["rk4", "radau_iia2"])
def test_grids_of_any_spacing(name):
    # An equal grid whose times are given one by one, and an uneven one: pieces of equal grids.
    halves = [0, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9]
    first = solve(pendulum, U0, (0, 0.3), name, steps=3).y[-1]
    second = solve(pendulum, first, (0.3, 0.9), name, steps=3).y[-1]
    found = solve(pendulum, U0, (0, 0.9), name, steps=np.array(halves))
    torch.testing.assert_close(found.y[-1], second, rtol=1e-9, atol=1e-9)
    assert found.stats.smallest_step == pytest.approx(0.1)
    assert found.stats.largest_step == pytest.approx(0.2)


def test_backwards_in_time():
    there = solve(pendulum, U0, (0, 4), "dopri5", rtol=1e-10, atol=1e-10)
    back = solve(pendulum, there.y[-1], (4, 1.5, 0), "dopri5", rtol=1e-10, atol=1e-10, dense=True)
    torch.testing.assert_close(back.y[-1], U0, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(back(torch.tensor([3.0, 1.5])), reference([0, 1.5, 3.0])[[2, 1]], rtol=1e-7, atol=1e-7)
    assert back(1.5).shape == (2,)


@pytest.mark.parametrize("options", [{}, {"scheme": "ab4", "steps": 400}, {"scheme": "gauss2", "steps": 100}])
def test_states_of_several_tensors(options):
    # x' = v, v' = -x: (cos t, -sin t)
    y0 = {"x": torch.ones(2, 3, dtype=torch.float64), "v": torch.zeros(2, 3, dtype=torch.float64)}
    found = solve(lambda t, y: {"v": -y["x"], "x": y["v"]}, y0, (0, 1, 2), **options)
    for name, exact in (("x", np.cos), ("v", lambda t: -np.sin(t))):
        expected = torch.tensor(exact(np.arange(3)))[:, None, None].expand(3, 2, 3)
        torch.testing.assert_close(found.y[name], expected, rtol=1e-5, atol=1e-5)
    pair = solve(lambda t, y: (y[1], -y[0]), (y0["x"], y0["v"]), (0, 1, 2), **options)
    torch.testing.assert_close(pair.y[1], found.y["v"], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("options", [{}, {"scheme": "ab4", "steps": 400}, {"scheme": "gauss2", "steps": 100}])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_complex_states(shape, options):
    z = torch.full(shape, 1 + 0.5j, dtype=torch.complex128)
    found = solve(lambda t, z: 1j * z, z, (0, 2), **options)
    torch.testing.assert_close(found.y[-1], z * np.exp(2j), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_low_precision(dtype):
    found = solve(decay, torch.ones(3, dtype=dtype), (1e6, 1e6 + 1), rtol=1e-2, atol=1e-2)
    assert found.y.dtype == dtype
    assert found.stats.accepted < 10
    torch.testing.assert_close(found.y[-1].float(), torch.full((3,), np.exp(-1.0).item()), rtol=0.01, atol=0.01)


def test_tolerances_of_each_entry():
    y0 = torch.tensor([1.0, 1.0], dtype=torch.float64)
    f = lambda t, u: torch.stack([torch.cos(20 * t), -u[1]])  # noqa: E731
    loose = solve(f, y0, (0, 5), rtol=1e-6, atol=torch.tensor([1e3, 1e-6]))
    assert loose.stats.evaluations < 0.5 * solve(f, y0, (0, 5), rtol=1e-6, atol=1e-6).stats.evaluations


def test_jumps_of_f():
    f = lambda t, u: torch.where(t < 1, u, -u)  # noqa: E731
    y0 = torch.ones(1, dtype=torch.float64)
    known = solve(f, y0, (0, 2), control=StepControl(jump_t=[1.0]), dense=True)
    assert known.stats.rejected == 0
    torch.testing.assert_close(known.y[-1], y0, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(known(1.0), y0 * np.e, rtol=1e-5, atol=1e-5)
    back = solve(f, y0, (2, 0), control=StepControl(jump_t=[1.0], step_t=[1.5, 3.0]))
    assert back.stats.rejected == 0
    torch.testing.assert_close(back.y[-1], y0, rtol=1e-5, atol=1e-5)


def test_limits_of_the_step():
    found = solve(decay, torch.ones(1), (0, 1), control=StepControl(max_step=0.1, first_step=0.05))
    assert found.stats.largest_step <= 0.1001
    assert found.stats.accepted >= 10
    forced = solve(decay, torch.ones(1), (0, 1), control=StepControl(min_step=0.5), rtol=1e-12, atol=1e-12)
    assert (forced.stats.accepted, forced.stats.rejected) == (2, 0)


class Reads(TorchDispatchMode):
    """Counts what is read from the device."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def test_reads_of_the_device():
    with Reads() as grid:
        solve(decay, torch.ones(3), torch.linspace(0, 1, 7), "rk4", steps=10)
    assert grid.count == 1  # at the end: whether the solution is finite
    with Reads() as adaptive:
        found = solve(decay, torch.ones(3), (0, 1), "dopri5")
    assert adaptive.count <= found.stats.accepted + found.stats.rejected + 4


def test_transformations():
    u = torch.rand(4, 2, dtype=torch.float64)
    batch = torch.func.vmap(lambda u: solve(pendulum, u, (0, 1), "rk4", steps=5).y[-1])(u)
    torch.testing.assert_close(batch[1], solve(pendulum, u[1], (0, 1), "rk4", steps=5).y[-1])
    with pytest.raises(FieldError, match=r"got torch.func.vmap around adaptive steps, .* give steps="):
        torch.func.vmap(lambda u: solve(pendulum, u, (0, 1)).y[-1])(u)
    jacobian = torch.func.jacrev(lambda u: solve(pendulum, u, (0, 1)).y[-1])(U0)
    tangent = torch.func.jvp(lambda u: solve(pendulum, u, (0, 1)).y[-1], (U0,), (U0,))[1]
    torch.testing.assert_close(tangent, jacobian @ U0)


# ------------------------------------------------------------------------------------------------ what goes wrong


def blow_up(t, u):
    return u**2


def half_nan(t, u):
    return torch.where(t > 1, torch.nan, u)


ONE = torch.ones(1, dtype=torch.float64)


@pytest.mark.parametrize(
    ("f", "options", "reason", "reached"),
    [
        (half_nan, {}, "not finite", 1.0),
        (lambda t, u: u * torch.nan, {}, "not finite", 0.0),
        (lambda t, u: u * torch.inf, {}, "not finite", 0.0),
        (blow_up, {}, "step too small", 1.0),
        (lambda t, u: -1000 * (u - torch.cos(t)), {"max_steps": 100}, "too many steps", None),
        (half_nan, {"scheme": "rk4", "steps": 30}, "not finite", 0.5),
        (half_nan, {"scheme": "ab3", "steps": 30}, "not finite", 0.5),
    ],
)
def test_failures_are_told_apart(f, options, reason, reached):
    with pytest.raises(IntegrationError, match="gave up at t = ") as caught:
        solve(f, ONE, (0, 0.5, 3), **options)
    failure = caught.value.failure
    assert failure.reason == reason
    assert reached is None or failure.t == pytest.approx(reached, abs=1e-5)
    assert failure.state.isfinite().all()
    found = caught.value.solution
    assert found.status == reason
    assert len(found.t) == len(found.y) == 1 + (failure.t >= 0.5)
    with pytest.warns(IntegrationWarning, match=f"{failure.why}.*returned"):
        flagged = solve(f, ONE, (0, 0.5, 3), on_failure="flag", **options)
    assert torch.equal(flagged.y, found.y)
    assert pickle.loads(pickle.dumps(caught.value)).failure.reason == reason


@pytest.mark.parametrize("options", [{}, {"scheme": "rk4", "steps": 2}])
def test_a_start_that_is_not_finite(options):
    with pytest.raises(IntegrationError, match="not finite") as caught:
        solve(decay, ONE * torch.nan, (0, 1), **options)
    assert caught.value.solution.t.tolist() == [0]


@pytest.mark.parametrize(
    ("f", "y0", "t", "message"),
    [
        (3, ONE, (0, 1), r"f: got 3, expected a callable"),
        (lambda t, u: u.sum(), torch.ones(3), (0, 1), r"f: got shape \(\) for a state of shape \(3,\)"),
        (lambda t, u: 1.0, torch.ones(3), (0, 1), "f: got float for a state"),
        (lambda t, u: u.mul_(2), torch.ones(3), (0, 1), "f wrote into its argument"),
        (lambda t, u: 1j * u, torch.ones(3), (0, 1), "got torch.complex64 for a state of torch.float32"),
        (lambda t, u: u[0], (ONE, ONE), (0, 1), r"f: got Tensor of \[\] for a state of \[\(1,\), \(1,\)\]"),
        (decay, torch.ones(3, dtype=torch.int64), (0, 1), "y0: got torch.int64, expected a floating-point"),
        (decay, [1.0, 2.0], (0, 1), r"y0: got list of \['float', 'float'\], expected a tensor"),
        (decay, (ONE, ONE.float()), (0, 1), "expected one dtype and one device"),
        (decay, ONE, 1.0, r"t: got float, expected times"),
        (decay, ONE, torch.ones(2, 2), r"t: got Tensor of shape \(2, 2\)"),
        (decay, ONE, (1,), "t: got 1 times"),
        (decay, ONE, (0, 1, 1), "t: got 1 and then 1 at place 2"),
        (decay, ONE, (0, 2, 1), "t: got 2 and then 1 at place 2"),
        (decay, ONE, (0, float("nan")), "t: got nan"),
    ],
)
def test_input_that_is_refused(f, y0, t, message):
    with pytest.raises(FieldError, match=message):
        solve(f, y0, t)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scheme": "rk4"}, "rk4: got a scheme that has no step size control"),
        ({"scheme": "lm", "steps": 3}, r"lm: got a scheme of learnable coefficients \['k'\]"),
        ({"scheme": "poly2", "steps": 3}, "poly2: got a scheme of linear f alone"),
        ({"scheme": "ab2", "steps": [0, 0.2, 1]}, "ab2: got a grid of uneven steps"),
        ({"steps": [0, 0.2, 0.9]}, r"got a grid of 3 times, from \[0.0\] to \[0.9\], expected one from t\[0\] = 0"),
        ({"steps": 0}, "steps: got 0, expected an integer"),
        ({"step": -0.1}, "step: got -0.1, expected a positive number"),
        ({"step": 0.1, "steps": 3}, "expected one of them"),
        ({"steps": 3, "control": StepControl()}, "control: got a StepControl with steps on a grid"),
        ({"gradient": "adjoint"}, "gradient: got 'adjoint', expected \"direct\""),
        ({"on_failure": "pass"}, "on_failure: got 'pass'"),
        ({"max_steps": 0}, "max_steps: got 0"),
    ],
)
def test_options_that_are_refused(options, message):
    with pytest.raises((FieldError, SchemeError), match=message):
        solve(decay, ONE, (0, 1), **options)


@pytest.mark.parametrize("options", [{"safety": 2}, {"grow": 0.5}, {"min_step": 2, "max_step": 1}, {"exponents": ()}])
def test_control_that_is_refused(options):
    with pytest.raises(FieldError, match="StepControl: got "):
        StepControl(**options)


@pytest.mark.parametrize("per_sample", [False, True])
def test_a_step_of_the_least_size_is_accepted(per_sample):
    # f jumps at u = 1/2, where no step is short enough; ends of steps of 1e-3 are rounded.
    def f(t, u):
        return torch.where(u > 0.5, -5.0, 5.0) + 0 * u

    found = solve(
        f, torch.ones(1, 1), (0, 1), max_steps=3000, control=StepControl(min_step=1e-3), per_sample=per_sample
    )
    assert float(torch.as_tensor(found.stats.smallest_step).min()) < 1.1e-3
    assert abs(found.y[-1].item() - 0.5) < 0.01


@pytest.mark.parametrize("t", [torch.ones(2, 2), "a", None, math.nan, [], torch.tensor(1j), 2.0])
def test_what_is_no_time_inside_is_refused(t):
    found = solve(lambda t, u: -u, torch.ones(1, dtype=torch.float64), (0, 1), dense=True)
    torch.testing.assert_close(found([0.25, 0.5]), found(torch.tensor([0.25, 0.5])))
    with pytest.raises(FieldError, match=r"(?s)solution\(t\): got .*expected"):
        found(t)


def test_a_solution_says_what_it_is():
    found = solve(decay, ONE, (0, 1), "rk4", steps=4)
    assert repr(found) == (
        "Solution(success: t = 0 ... 1, 2 times; 4 steps, 0 rejected, 16 evaluations, h from 0.25 to 0.25)"
    )
    assert found._repr_html_() == f"<pre>{found!r}</pre>"
    with pytest.raises(FieldError, match="dense=True"):
        found(0.5)
    with pytest.raises(FieldError, match="expected a time between 0 and 1"):
        solve(decay, ONE, (0, 1), dense=True)(1.5)


def test_progress(capsys):
    pytest.importorskip("tqdm")
    solve(decay, ONE, (0, 1), progress=True)
    assert "t = 1: 100% |" in capsys.readouterr().err
