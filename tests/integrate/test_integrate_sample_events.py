"""Events of solve(..., per_sample=True): each sample has its own, against formulas and shared steps; gradients."""

import math
from itertools import chain

import pytest
import torch
from torch.autograd import gradcheck

from odenets import Event, FieldError, solve
from odenets.integrate.sample_events import zeros

G = 9.81
TIGHT = {"rtol": 1e-10, "atol": 1e-12, "per_sample": True}


def falling(t, y):
    return torch.stack([y[:, 1], torch.full_like(y[:, 1], -G)], 1)


def start(heights):
    return torch.stack([heights, torch.zeros_like(heights)], 1)


@pytest.mark.parametrize("name", ["dopri5", "cash_karp"])
def test_samples_have_different_numbers_of_events(name):
    # (cos w t, -w sin t): cos w t = 0 at (n + 1/2) pi / w
    w = torch.linspace(0.2, 3, 64, dtype=torch.float64)

    def f(t, y):  # holds a row for each sample, as g does
        return torch.stack([w * y[:, 1], -w * y[:, 0]], 1)

    def g(t, y):
        return y[:, 0] * w

    events = [Event(g), Event(lambda t, y: y[:, 0], direction=1), Event(lambda t, y: y[:, :1], direction=-1)]
    found = solve(f, start(torch.ones_like(w)), (0, 9), name, events=events, **TIGHT)
    both, up, down = found.events
    exact = [[(n + 0.5) * math.pi / rate for n in range(int(9 * rate / math.pi + 0.5))] for rate in w.tolist()]
    assert both.sample.bincount(minlength=64).tolist() == [len(times) for times in exact]
    torch.testing.assert_close(both.t, torch.tensor(list(chain(*exact)), dtype=torch.float64), rtol=0, atol=1e-7)
    assert both.y[:, 0].abs().max() < 1e-14
    torch.testing.assert_close(torch.cat([up.t, down.t]).sort().values, both.t.sort().values, rtol=0, atol=0)
    assert (up.y[:, 1] > 0).all()
    assert (down.y[:, 1] < 0).all()
    assert found.status == ["success"] * 64


def test_a_terminal_event_ends_its_sample_alone():
    heights = torch.tensor([5.0, 10.0, 20.0, 80.0], dtype=torch.float64)
    apart = Event(lambda t, y: y[:, 0] - 4)
    ground = Event(lambda t, y: y[:, 0], terminal=True, direction=-1)
    late = Event(lambda t, y: y[:, 0] + 1e-9)  # after the ground, in the same step
    times = torch.tensor([0.0, 0.5, 1.2, 2.0], dtype=torch.float64)
    found = solve(falling, start(heights), times, events=[apart, ground, late], **TIGHT)
    fall = (2 * heights / G).sqrt()
    assert found.status == ["event", "event", "success", "success"]
    assert found.events[1].sample.tolist() == [0, 1]
    torch.testing.assert_close(found.events[1].t, fall[:2], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found.events[0].t, (2 * (heights[:3] - 4) / G).sqrt(), rtol=1e-12, atol=1e-12)
    assert len(found.events[2].t) == 0
    exact = heights - G * times[:, None] ** 2 / 2
    reached = times[:, None] < fall
    assert torch.equal(found.y[..., 0].isnan(), ~reached)
    torch.testing.assert_close(found.y[..., 0][reached], exact[reached], rtol=1e-12, atol=1e-12)


def test_backwards_and_none():
    heights = torch.tensor([5.0, 10.0], dtype=torch.float64)
    ground = Event(lambda t, y: y[:, 0], terminal=True)
    found = solve(falling, start(heights), (0, -1.2), events=ground, **TIGHT)
    assert found.status == ["event", "success"]
    torch.testing.assert_close(found.events[0].t, -(2 * heights[:1] / G).sqrt(), rtol=1e-12, atol=1e-12)
    found = solve(falling, start(heights), (0, 0.1), events=ground, **TIGHT)
    assert found.status == ["success"] * 2
    assert found.events[0].t.shape == found.events[0].sample.shape == (0,)
    assert found.events[0].y.shape == (0, 2)


def test_a_sample_has_the_events_that_it_has_alone():
    heights = torch.tensor([5.0, 10.0, 14.0], dtype=torch.float64)
    ground = Event(lambda t, y: torch.sin(3 * y[:, 0] + t[:, 0]))
    together = solve(falling, start(heights), (0, 1), events=ground, **TIGHT).events[0]
    for i in range(3):
        alone = solve(falling, start(heights[i : i + 1]), (0, 1), events=ground, **TIGHT).events[0]
        assert torch.equal(together.t[together.sample == i], alone.t)
        assert torch.equal(together.y[together.sample == i], alone.y)


def test_gradients_by_the_implicit_function_theorem():
    def times_and_states(heights, ground):
        event = Event(lambda t, y: y[:, 0] - ground, terminal=True)
        (found,) = solve(falling, start(heights), (0, 4), events=event, **TIGHT).events
        return found.t, found.y

    heights, ground = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in ([10.0, 20.0, 35.0], 1.0))
    t, y = times_and_states(heights, ground)
    fall = (2 * (heights - ground) / G).sqrt().detach()
    slope, level = torch.autograd.grad(t.sum(), [heights, ground], retain_graph=True)
    torch.testing.assert_close(slope, 1 / (G * fall))
    torch.testing.assert_close(level, -(1 / (G * fall)).sum())
    (slope,) = torch.autograd.grad(y[:, 1].sum(), heights)
    torch.testing.assert_close(slope, -1 / fall)
    assert gradcheck(times_and_states, [heights, ground])


def test_zeros_are_found_to_rounding():
    # x^3 - c, flat at one end, and a line
    c = torch.tensor([1e-9, 0.3, 0.999, 8.0], dtype=torch.float64)
    found = zeros(lambda x: x**3 - c, torch.zeros_like(c), 10 * torch.ones_like(c))
    torch.testing.assert_close(found, c ** (1 / 3), rtol=1e-14, atol=1e-15)
    ends = zeros(lambda x: x * (x - 2), torch.zeros(2, dtype=torch.float64), torch.full((2,), 2.0, dtype=torch.float64))
    assert ends.tolist() == [0, 0]


def test_what_is_refused():
    with pytest.raises(FieldError, match=r"Event 0: got g\(t, u\) = a tensor of shape \(2, 2\) for 2 samples"):
        solve(falling, start(torch.ones(2)), (0, 1), events=Event(lambda t, y: y), per_sample=True)
    with pytest.raises(FieldError, match=r"got g\(t, u\) = 1.0 for 2 samples, expected one real number for each"):
        solve(falling, start(torch.ones(2)), (0, 1), events=Event(lambda t, y: 1.0), per_sample=True)
