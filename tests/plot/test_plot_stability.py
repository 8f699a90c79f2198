"""Figures of order stars, loci, dispersion: against closed forms."""

import numpy as np
import pytest

from odenets import SchemeError
from odenets.analysis import plot


def vertices(collection):
    return np.concatenate([path.vertices for path in collection.get_paths() if len(path.vertices)])


def test_order_star_of_euler():
    figure = plot.order_star("euler", re=(-3, 3), im=(-3, 3), resolution=201)
    axes = figure.axes[0]
    rim = next(item for item in axes.collections if list(item.levels) == [0])
    x, y = vertices(rim).T
    np.testing.assert_allclose(np.abs(1 + x + 1j * y) * np.exp(-x), 1, atol=2e-2)  # |1 + z| = |e^z|
    assert axes.get_title() == "Order star of euler, order 1"
    assert "pole of $R$" not in [text.get_text() for text in axes.get_legend().get_texts()]


def test_poles_of_gauss():
    figure = plot.order_star("gauss2", resolution=241)
    marks = next(line for line in figure.axes[0].lines if line.get_marker() == "x")
    found = np.sort_complex(marks.get_xdata() + 1j * marks.get_ydata())
    np.testing.assert_allclose(found, [3 - 3**0.5 * 1j, 3 + 3**0.5 * 1j], atol=0.06)  # 1 - z/2 + z^2/12 = 0


def test_locus_of_euler_and_its_limits():
    figure = plot.boundary_locus(["euler", "ab2"])
    axes = figure.axes[0]
    x, y = next(line for line in axes.lines if len(line.get_xdata()) > 100).get_data()
    np.testing.assert_allclose(np.hypot(x + 1, y), 1, atol=1e-12)
    low, high = axes.get_xlim()
    assert low < -2
    assert high < 1
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["euler", "ab2"]
    # bdf1's locus is the circle |z - 1| = 1; ends given are kept
    assert plot.boundary_locus("backward_euler", re=(-1, 3), im=(-2, 2)).axes[0].get_xlim() == (-1, 3)


def test_dispersion_of_euler_and_trapezoid():
    y = np.linspace(0, 1.5, 40)
    left, right = plot.dispersion_dissipation(["euler", "trapezoid"], y).axes
    # zeta = 1 + i y and (1 + i y/2)/(1 - i y/2)
    np.testing.assert_allclose(left.lines[0].get_ydata(), y - np.arctan(y), atol=1e-12)
    np.testing.assert_allclose(left.lines[1].get_ydata(), y - 2 * np.arctan(y / 2), atol=1e-12)
    np.testing.assert_allclose(right.lines[0].get_ydata(), 1 - np.hypot(1, y), atol=1e-12)
    np.testing.assert_allclose(right.lines[1].get_ydata(), 0, atol=1e-12)


@pytest.mark.parametrize("draw", [plot.boundary_locus, plot.dispersion_dissipation])
def test_bad_schemes(draw):
    with pytest.raises(SchemeError, match="got no scheme"):
        draw([])
    with pytest.raises(SchemeError, match="no value for k"):
        draw("lm")


def test_order_star_needs_values():
    with pytest.raises(SchemeError, match="no value for k"):
        plot.order_star("lm")
    assert "lm(k=1/10)" in plot.order_star("lm", resolution=41, k="1/10").axes[0].get_title()
