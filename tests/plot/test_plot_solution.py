"""The figure of a solution: curves, step sizes and events are those of the solution."""

import math

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from odenets import Event, FieldError, solve
from odenets.analysis import plot

START = torch.tensor([1.0, 0.0], dtype=torch.float64)


def circle(t, u):
    """(cos t, -sin t)."""
    return torch.stack([u[1], -u[0]])


def labels(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_curves_steps_and_events():
    zeros = Event(lambda t, u: u[0])
    found = solve(circle, START, torch.linspace(0, 7, 8), events=zeros, dense=True, rtol=1e-9, atol=1e-9)
    figure = plot.solution(found)
    above, below = figure.axes
    t, u = above.lines[0].get_data()
    np.testing.assert_allclose(u, np.cos(t), atol=1e-7)
    assert (t[0], t[-1], len(above.lines[1].get_xdata())) == (0, 7, 8)
    times = [line.get_xdata()[0] for line in above.lines if line.get_linestyle() == "--"]
    assert times == pytest.approx([math.pi / 2, 3 * math.pi / 2])
    sizes, edges, _ = below.patches[0].get_data()
    np.testing.assert_allclose(edges, found.steps)
    np.testing.assert_allclose(sizes, np.diff(found.steps))
    assert len(found.steps) == found.stats.accepted + 1
    assert labels(figure) == ["$u_{1}$", "$u_{2}$", "event 0"]
    assert str(found.stats) in figure.get_suptitle()
    assert (below.get_xlabel(), below.get_ylabel()) == ("time $t$", "step size $|h|$")


def test_states_of_every_kind():
    z = solve(lambda t, z: 1j * z, torch.ones(1, dtype=torch.complex128), (0, -2), dense=True)
    assert labels(plot.solution(z)) == ["Re $u$", "Im $u$"]
    parts = {"x": START, "v": START.sum()}
    several = solve(lambda t, y: {"x": -y["x"], "v": -y["v"]}, parts, (0, 1), "rk4", steps=4, dense=True)
    assert labels(plot.solution(several)) == ["x 1", "x 2", "v"]
    pair = solve(lambda t, y: (-y[0], -y[1]), (START.sum(), START), (0, 1), dense=True)
    assert len(labels(plot.solution(pair))) == 3
    axes = Figure().subplots(2)
    figure = plot.solution(several, components=[2], labels=["speed"], ax=list(axes))
    assert figure is axes[0].figure
    assert axes[0].get_legend().get_texts()[0].get_text() == "speed"


def test_what_is_refused():
    with pytest.raises(FieldError, match=r"solution.steps: .* expected solve\(..., dense=True\)"):
        plot.solution(solve(circle, START, (0, 1)))
    found = solve(lambda t, u: -u, torch.ones(20), (0, 1), dense=True)
    with pytest.raises(FieldError, match="got 20 components, expected 1 to 7"):
        plot.solution(found)
    with pytest.raises(FieldError, match=r"got the components \[20\]"):
        plot.solution(found, components=[20])
    with pytest.raises(FieldError, match="got 1 labels for 2 components"):
        plot.solution(found, components=[0, 1], labels=["x"])
