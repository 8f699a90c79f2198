"""Figures show the whole: regions with their ends, legends and labels within the figure; of any of the inputs."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from odenets import OdenetsError, SchemeError, schemes
from odenets.analysis import (
    BoundaryLocus,
    LearnedCoefficient,
    boundary_locus,
    dispersion_dissipation,
    gallery,
    order_star,
    plot,
    stability_region,
)
from odenets.benchmarks.memory import report
from odenets.benchmarks.memory.__main__ import DPI


def inside(figure):
    """Whether everything that is drawn lies on the page."""
    figure.draw_without_rendering()
    box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    return min(box.x0, box.y0) > -0.01 and box.x1 < width + 0.01 and box.y1 < height + 0.01


LONGEST = sorted(schemes, key=len)[-1]


@pytest.mark.parametrize("name", ["implicit_midpoint", "backward_euler", "euler", "leapfrog", LONGEST])
def test_nothing_of_a_plane_is_cut(name):
    values = dict.fromkeys(map(str, schemes[name].symbols), "1/2")
    assert inside(plot.stability_region(name, resolution=30, **values))
    assert inside(plot.boundary_locus(name, points=101, **values))


def test_a_notebook_shows_a_figure_without_pyplot(tmp_path):
    (tmp_path / "shown.png").write_bytes(plot.stability_region("euler", resolution=30)._repr_png_())
    assert (imread(tmp_path / "shown.png").min(axis=(0, 1))[:3] < 0.5).all()  # something dark is drawn


def test_a_locus_that_is_a_line_is_no_sliver():
    (x, y) = (plot.boundary_locus("implicit_midpoint", points=181).axes[0].get_xlim(), (-12.0, 12.0))
    assert x[1] - x[0] > 0.4 * (y[1] - y[0])


def test_learned_coefficients_above_one_are_shaded_too():
    records = [LearnedCoefficient(0, n, "k", k, 1.0, True) for n, k in enumerate((-1.4, 0.3, 1.3))]
    axes = plot.learned_coefficients(records).axes[0]
    low, high = axes.get_ylim()
    spans = sorted((patch.get_y(), patch.get_y() + patch.get_height()) for patch in axes.patches)
    assert spans == [pytest.approx((low, -1)), pytest.approx((1, high))]
    assert [text.get_text() for text in axes.texts] == ["not zero-stable"] * 2
    calm = plot.learned_coefficients([LearnedCoefficient(0, n, "k", 0.1, 1.0, True) for n in range(3)]).axes[0]
    assert len(calm.patches) == 1


def test_values_of_symbols():
    figure = plot.stability_region("lm", resolution=60, k="-1/2")
    low, _ = figure.axes[0].get_xlim()
    assert low < -3  # the ellipse of Lu et al. reaches 2 (1 - k)
    with pytest.raises(SchemeError, match="got values for k, expected symbols of euler: none"):
        plot.stability_region("euler", k=1)
    with pytest.raises(SchemeError, match="no value for k"):
        plot.stability_region("lm")


def test_axes_that_are_given():
    figure, panels = plt.subplots(1, 2)
    assert plot.stability_region("rk4", resolution=30, ax=panels[0]) is figure
    assert plot.boundary_locus("rk4", points=51, ax=panels[1]) is figure
    assert all(axes.lines for axes in panels)
    assert plot.dispersion_dissipation("rk4", np.linspace(0, 1, 9), ax=panels) is figure
    with pytest.raises(OdenetsError, match="expected 2 matplotlib axes"):
        plot.dispersion_dissipation("rk4", ax=panels[0])
    plt.close(figure)


def test_what_the_analysis_returns_is_drawn():
    region = stability_region("lm", (-4, 1), (-2, 2), 50, k="1/2")
    locus = boundary_locus("euler", 101)
    star = order_star("euler", (-2, 2), (-3, 3), 41)
    phase = dispersion_dissipation("rk4", np.linspace(0, 1, 9))
    assert isinstance(locus, BoundaryLocus)
    for draw, found in (
        (plot.stability_region, region),
        (plot.boundary_locus, locus),
        (plot.order_star, star),
        (plot.dispersion_dissipation, phase),
    ):
        assert isinstance(draw(found), Figure)
    assert [t.get_text() for t in plot.boundary_locus([locus]).axes[0].get_legend().get_texts()] == ["euler"]
    assert plot.order_star(star).axes[0].get_xlim() == (-2, 2)
    both = plot.boundary_locus([locus, "lm"], points=101, k="1/2").axes[0].get_legend().get_texts()
    assert [t.get_text() for t in both] == ["euler", "lm(k=1/2)"]
    for draw, found in ((plot.stability_region, region), (plot.boundary_locus, locus), (plot.order_star, star)):
        with pytest.raises(SchemeError, match="got values for k beside what an analysis found"):
            draw(found, k=1)
    with pytest.raises(SchemeError, match="whose stages are unknown"):
        plot.stability_region(region, scale=True)


def test_figures_that_differ_from_those_drawn_are_named(tmp_path):
    (path,) = gallery.write(tmp_path, ["lm-regions"])
    assert gallery.changed(tmp_path, ["lm-regions"]) == []
    plot.save(plot.stability_region("euler", resolution=20), path)
    assert gallery.changed(tmp_path, ["lm-regions"]) == ["gallery-lm-regions.png"]
    path.unlink()
    assert gallery.changed(tmp_path, ["lm-regions"]) == ["gallery-lm-regions.png"]


def test_the_figure_of_the_memory_of_gradients_is_what_its_data_draw(tmp_path):
    folder = Path(__file__).parents[2] / "benchmarks" / "results" / "memory"
    found = json.loads((folder / "memory.json").read_text())["memory"]
    one = found[0]
    title = f"{one['scheme']}, {one['channels']} channels, {one['batch']} images {one['size']} x {one['size']}"
    report.draw(found, title).savefig(tmp_path / "memory.png", dpi=DPI)
    assert np.array_equal(imread(tmp_path / "memory.png"), imread(folder / "memory.png"))
