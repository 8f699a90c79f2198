"""The figures: what is in them, not how they look."""

import math

import numpy as np
import pytest

from odenets import FieldError, OdenetsError, SchemeError, schemes
from odenets.analysis import LearnedCoefficient, plot


def legend(figure):
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def rim(collection):
    """The vertices of a contour."""
    return np.concatenate([path.vertices for path in collection.get_paths() if len(path.vertices)])


def contours(figure):
    return [item for item in figure.axes[0].collections if list(getattr(item, "levels", [])) == [1]]


def test_region_of_euler_is_a_circle():
    figure = plot.stability_region(["euler", "rk4"], resolution=300)
    axes = figure.axes[0]
    assert legend(figure) == ["euler", "rk4"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == (r"Re$(h\lambda)$", r"Im$(h\lambda)$")
    assert axes.get_aspect() == 1
    assert axes.get_title() == "Stability regions"
    points = rim(contours(figure)[0])
    np.testing.assert_allclose(np.hypot(points[:, 0] + 1, points[:, 1]), 1, atol=1e-3)
    low, high = axes.get_xlim()
    assert low < -2.785 < 0 < high < 1.5


def test_scale_divides_by_the_stages():
    figure = plot.stability_region(["heun"], scale=True, resolution=300)
    assert rim(contours(figure)[0])[:, 0].min() == pytest.approx(-1, abs=1e-2)
    assert figure.axes[0].get_xlabel() == r"Re$(h\lambda / s)$"


def test_family_of_lm_is_a_family_of_ellipses():
    values = [-0.5, 0, 0.5]
    figure = plot.stability_family("lm", {"k": values}, resolution=300)
    assert legend(figure) == ["k = -0.5", "k = 0", "k = 0.5"]
    for value, contour in zip(values, contours(figure), strict=True):
        x, y = rim(contour).T
        ellipse = ((x + 1 - value) / (1 - value)) ** 2 + (y / (1 + value)) ** 2
        np.testing.assert_allclose(ellipse, 1, atol=2e-2)


def test_region_without_interior_is_drawn_as_a_segment():
    figure = plot.stability_region("leapfrog", re=(-1, 1), im=(-2, 2), resolution=50)
    assert any(list(line.get_ydata()) == [-1, 1] for line in figure.axes[0].lines)
    assert figure.axes[0].get_xlim() == (-1, 1)


def test_coinciding_regions_differ_in_style():
    figure = plot.stability_region(["midpoint", "heun", "euler"], resolution=50)
    assert [line.get_linestyle() for line in figure.axes[0].get_legend().get_lines()] == ["-", "--", "-"]


def run(k, depth=3, start=0):
    """Three stages of ``depth`` layers, the first of each without a coefficient."""
    layers = [(stage, stage * depth + n) for stage in range(3) for n in range(1, depth)]
    return [LearnedCoefficient(s, n + start, "k", k(n), 1.0, True) for s, n in layers]


def test_learned_coefficients_over_layers():
    figure = plot.learned_coefficients({"LM-20": run(lambda n: -n / 10)})
    axes = figure.axes[0]
    line = next(line for line in axes.lines if line.get_label() == "LM-20")
    x, y = line.get_data()
    assert x[~np.isnan(x)].tolist() == [1, 2, 4, 5, 7, 8]
    np.testing.assert_allclose(y[~np.isnan(y)], -np.array([1, 2, 4, 5, 7, 8]) / 10)
    assert np.isnan(x).sum() == 2  # the line is broken at both transitions
    dashed = [item.get_xdata()[0] for item in axes.lines if item.is_dashed()]
    assert dashed == [2.5, 5.5]
    assert axes.get_ylim()[0] < -1
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("layer $n$", "learned $k_n$")
    assert legend(figure) == ["LM-20"]


def test_seeds_are_averaged_and_dicts_are_accepted():
    seeds = [[r.as_dict() for r in run(lambda n, s=s: s * 0.1)] for s in range(3)]
    figure = plot.learned_coefficients({"LM-20": seeds, "LM-32": run(lambda n: 0.2, depth=5)})
    assert legend(figure) == ["LM-20, mean of 3 seeds", "LM-32"]
    line = next(line for line in figure.axes[0].lines if line.get_label().startswith("LM-20"))
    np.testing.assert_allclose(line.get_ydata()[~np.isnan(line.get_ydata())], 0.1)
    faint = [line for line in figure.axes[0].lines if line.get_alpha() == 0.3]
    assert len(faint) == 3


def test_channels_are_drawn_as_mean_and_band():
    figure = plot.learned_coefficients({"a": run(lambda n: [0.0, 0.5, 1.0])}, limit=None)
    line = next(line for line in figure.axes[0].lines if line.get_label() == "a")
    assert np.nanmax(line.get_ydata()) == np.nanmin(line.get_ydata()) == 0.5
    band = figure.axes[0].collections[0].get_datalim(figure.axes[0].transData)
    assert (band.ymin, band.ymax) == (0, 1)


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_save(tmp_path, suffix):
    (tmp_path / "figures").mkdir()
    path = plot.save(plot.stability_region("euler", resolution=30), tmp_path / "figures" / f"region{suffix}")
    start = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[suffix]
    assert path.read_bytes().startswith(start)
    assert [item.name for item in path.parent.iterdir()] == [path.name]


def test_bad_input(tmp_path):
    with pytest.raises(SchemeError, match="no value for k"):
        plot.stability_region(["euler", "lm"])
    with pytest.raises(SchemeError, match="got no scheme"):
        plot.stability_region([])
    with pytest.raises(SchemeError, match=r"re = \(1, 0\)"):
        plot.stability_region("euler", re=(1, 0), im=(0, 1))
    with pytest.raises(SchemeError, match="re ="):
        plot.stability_region("euler", re=(1, 2, 3), im=(0, 1))
    with pytest.raises(OdenetsError, match=r"x.gif'.*\.png, \.svg or \.pdf"):
        plot.save(plot.stability_region("euler", resolution=10), tmp_path / "x.gif")


def test_bad_records():
    with pytest.raises(FieldError, match=r"no records for \['euler'\]"):
        plot.learned_coefficients({"euler": [], "lm": run(math.sin)})
    with pytest.raises(FieldError, match="no records for any label"):
        plot.learned_coefficients({})
    with pytest.raises(FieldError, match="different layers"):
        plot.learned_coefficients({"lm": [run(math.sin), run(math.sin, depth=4)]})
    other = [LearnedCoefficient(0, 0, "c", 0.1, 1.0, True)]
    with pytest.raises(FieldError, match=r"symbol=None, expected one of \['c', 'k'\]"):
        plot.learned_coefficients({"lm": run(math.sin) + other})


def test_every_scheme_can_be_drawn():
    members = [s.substitute({str(symbol): "1/2" for symbol in s.symbols}) for s in schemes.values()]
    assert len(legend(plot.stability_region(members, resolution=40))) == len(members)
