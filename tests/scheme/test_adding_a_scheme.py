"""A new scheme is one definition of at most five lines: it runs, inverts, is analysed and drawn at once."""

import by_hand
import numpy as np
import pytest
import sympy
import torch
from helpers import residuals

from odenets import ODENet, TimeField, analysis, multistep, runge_kutta
from odenets.analysis import plot

# Wray (1990), as Spalart, Moser & Rogers (1991) use it: order 3 in two registers.
WRAY3 = runge_kutta(
    "wray3", A=[[0, 0, 0], ["8/15", 0, 0], ["1/4", "5/12", 0]], b=["1/4", 0, "3/4"], reference="Wray (1990)"
)
# The mean of the last two solutions, 3/2 of the slope.
AVERAGED = multistep("averaged", a=["1/2", "1/2"], b=["3/2"], reference="none")


def wray3_loop(fs, u, h):
    for f in fs:
        k1 = f(u)
        k2 = f(u + 8 / 15 * h * k1)
        u = u + h / 4 * (k1 + 3 * f(u + h / 4 * k1 + 5 / 12 * h * k2))
    return u


def averaged_loop(fs, u, h):
    u, before = u + h * fs[0](u), u
    for f in fs[1:]:
        u, before = (u + before) / 2 + 3 / 2 * h * f(u), u
    return u


@pytest.mark.parametrize(
    ("scheme", "loop"), [(WRAY3, wray3_loop), (AVERAGED, averaged_loop)], ids=["wray3", "two-step"]
)
def test_it_runs(scheme, loop):
    blocks = residuals(5)
    x = torch.randn(3, 5, dtype=torch.float64)
    net = ODENet(blocks, scheme, h=0.4)
    torch.testing.assert_close(net(x), loop(blocks, x, 0.4), rtol=1e-13, atol=1e-13)
    net(x).sum().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_it_solves_an_equation():
    def error(scheme, steps):
        net = ODENet(TimeField(lambda t, u: torch.cos(t) * u, 0.0, 2.0, steps), scheme)
        return abs(net(torch.ones((), dtype=torch.float64)).item() - np.exp(np.sin(2.0)))

    assert np.log2(error(WRAY3, 200) / error(WRAY3, 400)) == pytest.approx(3, abs=0.1)
    assert np.log2(error(AVERAGED, 500) / error(AVERAGED, 1000)) == pytest.approx(1, abs=0.1)


def test_its_properties_are_derived():
    assert (WRAY3.order, WRAY3.stages, WRAY3.structure, WRAY3.starting_values) == (3, 3, "explicit", 0)
    assert list(WRAY3.nodes) == [0, sympy.Rational(8, 15), sympy.Rational(2, 3)]
    assert not WRAY3.reversible
    assert (AVERAGED.order, AVERAGED.stages, AVERAGED.starting_values) == (1, 1, 1)
    # u(t+h) - u/2 - u(t-h)/2 - 3/2 h u' = (1/2 - 1/4) h^2 u''
    assert AVERAGED.error_constant == sympy.Rational(1, 4)


def test_the_multistep_one_inverts():
    assert AVERAGED.reversible
    assert AVERAGED.amplification == 2
    (f,) = residuals(1)
    u, before = torch.randn(2, 4, 5, dtype=torch.float64)
    with torch.no_grad():
        after = (u + before) / 2 + 3 / 2 * 0.4 * f(u)
        _, _, found = by_hand.step(AVERAGED.inverse, lambda i, y: 0.4 * f(y), [after, u])
    torch.testing.assert_close(found, [u, before], rtol=1e-12, atol=1e-12)


def test_it_is_analysed():
    z, zeta = analysis.z, analysis.zeta
    polynomial = analysis.stability_polynomial(AVERAGED).as_expr()
    assert sympy.expand(2 * polynomial - (2 * zeta**2 - (1 + 3 * z) * zeta - 1)).equals(0)
    assert analysis.real_interval(AVERAGED) == sympy.Rational(2, 3)  # where zeta = -1
    assert analysis.zero_stable(AVERAGED)
    function = analysis.stability_function(WRAY3)
    assert sympy.expand(function - (1 + z + z**2 / 2 + z**3 / 6)) == 0
    # as of every three-stage scheme of order 3
    assert float(analysis.real_interval(WRAY3)) == pytest.approx(2.512745327, abs=1e-9)


def test_it_is_drawn():
    figure = plot.stability_region([WRAY3, AVERAGED], resolution=60)
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["wray3", "averaged"]
    edges = [item for item in figure.axes[0].collections if list(getattr(item, "levels", [])) == [1]]
    assert len(edges) == 2
    # the leftmost point of each region is its real limit
    for contour, limit in zip(edges, (2.5127, 2 / 3), strict=True):
        points = np.concatenate([path.vertices for path in contour.get_paths() if len(path.vertices)])
        on_axis = points[np.abs(points[:, 1]) < 0.1]
        assert on_axis[:, 0].min() == pytest.approx(-limit, abs=0.05)
