"""Events of solve: times against formulas, directions, ends, gradients."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from odenets import Event, FieldError, StepControl, odeint_event, solve

G = 9.81


def ball(t, y):
    return torch.stack([y[1], torch.full_like(y[1], -G)])


def circle(t, y):
    """(cos t, -sin t)."""
    return torch.stack([y[1], -y[0]])


ONE_ZERO = torch.tensor([1.0, 0.0], dtype=torch.float64)
TIGHT = {"rtol": 1e-10, "atol": 1e-12}


def test_twenty_bounces():
    # Each bounce keeps 9/10 of the speed: falls of sqrt(2 h / g), then flights of 2 (9/10)^n sqrt(2 h / g).
    height, keep = 10.0, 0.9
    y, t, times = torch.tensor([height, 0.0], dtype=torch.float64), 0.0, []
    for _ in range(20):
        ground = Event(lambda t, y: y[0], terminal=True, direction=-1)
        found = solve(ball, y, (t, t + 10), events=ground, **TIGHT)
        assert found.status == "event"
        t = found.t[-1].item()
        times.append(t)
        y = torch.stack([torch.zeros(()), -keep * found.y[-1, 1]]).double()
    fall = math.sqrt(2 * height / G)
    exact = [fall * (1 + 2 * sum(keep**m for m in range(1, n + 1))) for n in range(20)]
    assert times == pytest.approx(exact, abs=1e-10)


def test_the_crossings_of_predator_and_prey_are_those_that_scipy_finds():
    # Two a period of unequal halves: one that is missed or found twice shifts all that follow. (Over 2,110 crossings,
    # t = 3,500, it was seen to be so as well.)
    def rates(t, u):
        return [u[0] * (1.5 - u[1]), u[1] * (u[0] - 3)]

    options = {"rtol": 1e-11, "atol": 1e-12, "events": lambda t, u: u[0] - 3}
    exact = solve_ivp(rates, (0, 20), [1.0, 1.0], method="DOP853", **options).t_events[0]
    start = torch.ones(2, dtype=torch.float64)
    for scheme, tol in (("dopri5", 1e-8), ("rodas5p", 1e-6)):
        event = Event(lambda t, u: u[0] - 3)
        found = solve(lambda t, u: torch.stack(rates(t, u)), start, (0, 20), scheme, rtol=tol, atol=tol, events=event)
        assert len(exact) > 10
        torch.testing.assert_close(found.events[0].t, torch.from_numpy(exact), rtol=0, atol=1e-4)


def test_two_thousand_crossings():
    # w times as fast, an orbit is where it is at w t: so one solution of scipy's has the crossings of all.
    def rates(t, u):
        return [u[0] * (1.5 - u[1]), u[1] * (u[0] - 3)]

    options = {"rtol": 1e-11, "atol": 1e-12, "events": lambda t, u: u[0] - 3}
    exact = solve_ivp(rates, (0, 60), [1.0, 1.0], method="DOP853", **options).t_events[0]
    w = torch.linspace(0.5, 3, 100, dtype=torch.float64)[:, None]
    start = {"prey": torch.ones_like(w), "predator": torch.ones_like(w), "w": w}

    def f(t, u):
        prey, predator = (u["w"] * x for x in rates(t, (u["prey"], u["predator"])))
        return {"prey": prey, "predator": predator, "w": torch.zeros_like(prey)}

    event = Event(lambda t, u: u["prey"] - 3)
    (found,) = solve(f, start, (0, 20), rtol=1e-7, atol=1e-7, per_sample=True, events=event).events
    times = [exact[exact < 20 * rate] / rate for rate in w[:, 0].tolist()]
    assert sum(map(len, times)) > 2000
    torch.testing.assert_close(found.t, torch.from_numpy(np.concatenate(times)), rtol=0, atol=1e-3)


def test_every_crossing_once():
    # cos t = 0 at (n + 1/2) pi, downwards and upwards in turn; sin t = 0 at n pi, not again at 0.
    events = [Event(lambda t, y: y[0], direction=d) for d in (0, 1, -1)] + [Event(lambda t, y: y[1])]
    for scheme, options, error in (("dopri5", TIGHT, 1e-7), ("ab4", {"steps": 600}, 3e-4)):
        found = solve(circle, ONE_ZERO, (0, 30), scheme, events=events, **options)
        both, up, down, sine = (e.t for e in found.events)
        exact = (torch.arange(10, dtype=torch.float64) + 0.5) * math.pi
        torch.testing.assert_close(both, exact, rtol=0, atol=error)
        torch.testing.assert_close(down, both[::2], rtol=0, atol=0)
        torch.testing.assert_close(up, both[1::2], rtol=0, atol=0)
        torch.testing.assert_close(sine, torch.arange(1, 10).double() * math.pi, rtol=0, atol=error)
        assert found.events[0].y[:, 0].abs().max() < 1e-14
        assert found.status == "success"


def test_the_end_is_an_event():
    t = torch.linspace(0, 3, 7, dtype=torch.float64)
    event = Event(lambda t, y: y["x"] - 0.5, terminal=True)
    f = lambda t, y: {"x": y["v"], "v": -y["x"]}  # noqa: E731
    y0 = {"x": torch.ones((), dtype=torch.float64), "v": torch.zeros((), dtype=torch.float64)}
    found = solve(f, y0, t, events=event, dense=True, **TIGHT)
    torch.testing.assert_close(found.t, torch.tensor([0, 0.5, 1.0, math.pi / 3], dtype=torch.float64))
    torch.testing.assert_close(found.y["x"], torch.cos(found.t), rtol=1e-8, atol=1e-8)
    assert found(1.04)["x"].item() == pytest.approx(math.cos(1.04))
    with pytest.raises(FieldError, match=r"between 0 and 1\.0472"):
        found(1.05)


@pytest.mark.parametrize(
    ("times", "zero", "options"),
    [
        ((0, 1, 2), 2, {}),
        ((0, 1, 2), 1, {"control": StepControl(step_t=[1.0])}),
        ((0, 1, 2), 1, {}),
        ((0, -1, -2), -2, {}),
        ((0, 1, 2), 1, {"scheme": "rk4", "steps": 4}),
        (torch.tensor([0.0, 1.0, 2.0]), 1 + 1e-12, {}),  # which float32 does not tell from 1
        (torch.tensor([0.0, 1.0, 2.0], requires_grad=True), 2, {}),
        (torch.tensor([0.0, 1.0, 2.0], requires_grad=True), 1e-300, {}),  # Brent's method ends at 0
    ],
)
def test_a_time_that_is_that_of_the_event_is_there_once(times, zero, options):
    event = Event(lambda t, y: t - zero, terminal=True)
    found = solve(lambda t, u: 0 * u + 1, torch.zeros(1, dtype=torch.float64), times, events=event, **options)
    asked = torch.as_tensor(times).double()
    before = asked[asked.abs() < abs(torch.tensor(zero, dtype=found.t.dtype))]
    assert found.t.tolist() == [*before.tolist(), pytest.approx(zero, abs=1e-11)]
    torch.testing.assert_close(found.y[:, 0].detach(), found.t.detach().double(), rtol=0, atol=1e-11)
    assert found.status == "event"


@pytest.mark.parametrize("zero", [1, 2])
def test_a_sample_reaches_the_time_of_its_event(zero):
    event = Event(lambda t, y: t - zero - y[:, 1:], terminal=True)
    start = torch.tensor([[0.0, 0.0], [0.0, -0.25]], dtype=torch.float64)
    f = lambda t, y: torch.stack([0 * t[:, 0] + 1, 0 * t[:, 0]], 1)  # noqa: E731
    found = solve(f, start, (0, 1, 2), events=event, per_sample=True, control=StepControl(step_t=[1.0]))
    assert found.status == ["event", "event"]
    assert found.y[: zero + 1, 0, 0].tolist() == pytest.approx(list(range(zero + 1)))
    assert bool(found.y[zero + 1 :, 0].isnan().all())
    assert bool(found.y[zero:, 1].isnan().all())


def test_backwards_and_several_in_one_step():
    events = [Event(lambda t, y: t + 0.3), Event(lambda t, y: t + 0.2, terminal=True), Event(lambda t, y: t + 0.1)]
    found = solve(circle, ONE_ZERO, (0, -1), "rk4", steps=1, events=events)
    assert [len(e.t) for e in found.events] == [0, 1, 1]
    assert found.t.tolist() == [0, pytest.approx(-0.2)]


def test_gradients_by_the_implicit_function_theorem():
    height, ground, scale = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (10.0, 1.0, 1.0))
    hit = Event(lambda t, y: y[0] - ground, terminal=True)
    y0 = torch.stack([height, torch.zeros_like(height)])
    found = solve(lambda t, y: ball(t, y) * scale, y0, (0, 10), events=hit, **TIGHT)
    fall = math.sqrt(2 * 9 / G)  # / scale
    (occurrence,) = found.events
    exact = [1 / (G * fall), -1 / (G * fall), -fall]
    gradients = torch.autograd.grad(occurrence.t[0], [height, ground, scale], retain_graph=True)
    assert [x.item() for x in gradients] == pytest.approx(exact, rel=1e-8)
    gradients = torch.autograd.grad(found.y[-1, 1], [height, ground, scale], retain_graph=True)
    assert [x.item() for x in gradients] == pytest.approx([-1 / fall, 1 / fall, 0], abs=1e-8)
    (moved,) = torch.autograd.grad(found.y[-1, 0], ground)
    assert moved.item() == pytest.approx(1)


def test_the_gradient_inside_a_step_is_whole():
    # The time is found without a record; the solution there must have one, of all stages.
    rate = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    half = Event(lambda t, y: t - 1.234, terminal=True)
    found = solve(lambda t, y: -rate * y**2, ONE_ZERO[:1], (0, 3), events=half, **TIGHT)
    # y = 1 / (1 + rate t)
    (slope,) = torch.autograd.grad(found.y[-1, 0], rate)
    assert slope.item() == pytest.approx(-1.234 / (1 + 0.7 * 1.234) ** 2, rel=1e-7)


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (lambda: Event(3), "got g = 3, expected a callable"),
        (lambda: Event(circle, direction=2), "got direction = 2"),
        (lambda: Event(lambda t, y: y), r"Event 0: got g\(t, u\) = a tensor of shape \(2,\)"),
        (lambda: Event(lambda t, y: 1.0), r"Event 0: got g\(t, u\) = 1.0, expected one real number"),
    ],
)
def test_events_that_are_refused(event, message):
    with pytest.raises(FieldError, match=message):
        solve(circle, ONE_ZERO, (0, 1), events=event())


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("g", [lambda t, y: torch.sign(y - 0.5), lambda t, y: y.detach() - 0.5])
def test_a_zero_that_has_no_derivative_is_told_to_who_asks_for_it(g, per_sample):
    u = ONE_ZERO[:1].clone().requires_grad_()
    found = solve(lambda t, y: -y, u, (0, 3), events=Event(g), per_sample=per_sample)
    (event,) = found.events
    assert event.t.tolist() == [pytest.approx(math.log(2), abs=1e-6)]
    (by_u,) = torch.autograd.grad(found.y[-1].sum(), u, retain_graph=True)
    torch.testing.assert_close(by_u, torch.exp(torch.tensor([-3.0], dtype=torch.float64)), rtol=1e-5, atol=0)
    for asked in (event.t, event.y):
        with pytest.raises(FieldError, match=r"does not change along the solution at t = 0\.6931.*no derivative"):
            torch.autograd.grad(asked.sum(), u, retain_graph=True)


@pytest.mark.parametrize("per_sample", [False, True])
def test_one_event_without_derivative_leaves_the_others_theirs(per_sample):
    # y = c t: of g = y - 1/2 the time is 1 / (2 c), and its derivative -1 / (2 c^2).
    c = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    events = [Event(lambda t, y: torch.sign(y - 0.3)), Event(lambda t, y: y - 0.5)]
    found = solve(lambda t, y: c + 0 * y, 0 * ONE_ZERO[:1], (0, 1), events=events, per_sample=per_sample)
    (by_c,) = torch.autograd.grad(found.events[1].t.sum() + found.y[-1].sum(), c)
    assert by_c.item() == pytest.approx(-0.5 + 1)


def test_a_triple_zero_is_found():
    found = solve(lambda t, y: -y, ONE_ZERO[:1], (0, 3), events=Event(lambda t, y: (y - 0.5) ** 3))
    assert found.events[0].t.tolist() == [pytest.approx(math.log(2), abs=1e-5)]


@pytest.mark.parametrize("per_sample", [False, True])
def test_where_g_is_nan_nothing_is_found(per_sample):
    # log(sin 3t) + 1/2 = 0 where sin 3t = 1 / sqrt(e); between these intervals it is NaN.
    hit = Event(lambda t, y: torch.log(torch.sin(3 * t)) + 0.5)
    control = StepControl(max_step=0.1)
    found = solve(lambda t, y: -y, ONE_ZERO[:1], (0.1, 6), events=hit, control=control, per_sample=per_sample)
    first = math.asin(math.exp(-0.5))
    exact = [(x + 2 * math.pi * n) / 3 for n in range(3) for x in (first, math.pi - first)]
    assert found.events[0].t.tolist() == pytest.approx(exact, abs=1e-12)


@pytest.mark.parametrize("per_sample", [False, True])
def test_a_zero_that_cannot_be_bracketed_is_told(per_sample):
    # y = 1 + t by steps of any size, and g is NaN around its zero.
    hit = Event(lambda t, y: torch.where((t > 0.2) & (t < 0.8), torch.nan, t - 0.5) + 0 * y)
    options = {"control": StepControl(first_step=1.0), "events": hit, "per_sample": per_sample}
    with pytest.raises(FieldError, match=r"Event: got g\(t, u\) = nan at t = 0\.5"):
        solve(lambda t, y: torch.ones_like(y), ONE_ZERO[:1], (0, 1), **options)


def test_g_may_return_what_it_is_given(recwarn):
    u = ONE_ZERO[:1].clone().requires_grad_()
    solve(lambda t, y: -y, u, (0, 1), events=Event(lambda t, y: y))
    assert not recwarn


def test_torchdiffeqs_function_finds_a_sign():
    # u = e^-t is 1/2 at log 2.
    u = ONE_ZERO[:1].clone().requires_grad_()
    t, _ = odeint_event(lambda t, u: -u, u, torch.zeros(()), event_fn=lambda t, u: torch.sign(u[0] - 0.5))
    assert t.item() == pytest.approx(math.log(2), abs=1e-6)
    with pytest.raises(FieldError, match="no derivative"):
        t.backward()
