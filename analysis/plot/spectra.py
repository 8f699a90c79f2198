"""The figure of a diagnosis: the spectrum of each layer over its stability region, and what follows over depth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter

from odenets import FieldError, Scheme

from ..linear.region import stability_region
from ..networks.diagnosis.amplification import GROWS, INSIDE, UNKNOWN, UNSTABLE, kinds, points_of
from ..networks.diagnosis.diagnosis import Diagnosis
from ..networks.diagnosis.records import BlockDiagnosis
from .coefficients import ZERO_STABLE
from .style import COLOURS, ShownFigure, colours

#: (label, colour, marker) of the kinds of eigenvalues
KINDS = {
    INSIDE: (r"$|\zeta| \leq 1$", COLOURS[0], "o"),
    GROWS: (r"$|\zeta| > 1$, the flow grows too", COLOURS[4], "^"),
    UNSTABLE: (r"$|\zeta| > 1$, it does not: numerically unstable", COLOURS[1], "X"),
    UNKNOWN: (r"$|\zeta| > 1$, no flow to compare with", "0.35", "D"),
}
WIDTH = 13.0
DEPTH = 3.4  # height of the panels over depth
COLUMNS = 9  # panels in a row
APART = 6.0  # spectra whose sizes differ by more get limits of their own
PANELS = 4  # over depth
HIGHEST = 4.0  # regions beyond are cut: implicit schemes have no end
Ends = tuple[float, float]


def diagnosis(found: Diagnosis, *, title: str = "Numerical diagnosis", resolution: int = 160) -> Figure:
    """Small multiples of h lambda over each layer's stability region; below, what follows over depth.

    Above: the eigenvalues of each layer (each of its functions where several stand for one f), in the
    plane of z = h lambda, over the shaded region of the layer's scheme with its own coefficients.
    Dotted lines: h times the ends of the spectrum of (J + J^T)/2, between which all real parts lie.
    Below: the share outside, the largest |zeta|, the learned coefficients and the effective step, and
    the size of the leading modified term. Dashed lines are transitions between stages.

    Args:
        found: what :func:`odenets.analysis.diagnose` returned.
        title: heading of the figure.
        resolution: grid points along each side of a region.

    Raises:
        FieldError: no layer with a spectrum.
    """
    blocks = found.analysed
    if not blocks:
        raise FieldError("diagnosis: got no layer with a spectrum, expected at least one that keeps its state's shape")
    columns = _columns(len(blocks))
    rows = -(-len(blocks) // columns)
    tolerance = found.settings["tolerance"]
    limits = _limits(blocks)
    x, y = limits[0]
    height = rows * (min(WIDTH / columns, 4.0) * min((y[1] - y[0]) / (x[1] - x[0]), 1.5) + 0.35) + 0.9
    figure = ShownFigure(figsize=(WIDTH, height + DEPTH), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=(height, DEPTH))
    above, below = parts
    above.suptitle(title)
    panels = above.subplots(rows, columns, squeeze=False)
    for place, axes in enumerate(panels.flat):
        if place >= len(blocks):
            axes.set_visible(False)
            continue
        _panel(axes, blocks[place], limits[place], resolution, tolerance)
        last = place + columns >= len(blocks)
        axes.set_xlabel(r"Re$(h\lambda)$" if last else "")
        axes.set_ylabel(r"Im$(h\lambda)$" if place % columns == 0 else "")
    handles = _handles(blocks)
    above.legend(
        handles=handles,
        loc="outside lower center",
        ncols=5 if len(handles) == 5 else 3,
        frameon=False,
        fontsize="small",
    )
    _depth(found, below.subplots(1, 5 if any(block.coefficients for block in blocks) else 4))
    return figure


def _columns(count: int) -> int:
    """Panels in a row: rows as even as can be."""
    rows = -(-count // COLUMNS)
    return max(-(-count // rows), 1)


def _limits(blocks: Sequence[BlockDiagnosis]) -> list[tuple[Ends, Ends]]:
    """Limits of each panel: the same for all, unless the spectra are of very different sizes."""
    own = [_around([block]) for block in blocks]
    widths = [x[1] - x[0] for x, _ in own]
    if max(widths) > APART * min(widths):
        return own
    return [_around(blocks)] * len(blocks)


def _around(blocks: Sequence[BlockDiagnosis]) -> tuple[Ends, Ends]:
    """A rectangle around the spectra, at least a part of the disc of Euler, and as high as the region."""
    values = np.array([z for b in blocks for z in points_of(_known(b), b.h, 0.0)[0]])
    left, right = min(values.real.min(), -2.1), max(values.real.max(), 0.4)
    heights = [_height(b.scheme, left, right) for b in blocks if b.scheme is not None]
    top = max(np.abs(values.imag).max(), 1.15, *heights)
    margin = 0.06 * max(right - left, 2 * top)
    return (left - margin, right + margin), (-top - margin, top + margin)


def _height(scheme: Scheme, left: float, right: float) -> float:
    """The largest |Im z| of the region between two real parts; 0 where it is none, or higher than a panel shows."""
    region = stability_region(scheme, (left, right), (0.0, HIGHEST), resolution=60)
    rows = np.flatnonzero(region.stable.any(axis=1))
    top = float(region.im[rows[-1]]) if len(rows) else 0.0
    return top if top < HIGHEST else 0.0


def _known(block: BlockDiagnosis) -> Any:
    assert block.spectrum is not None
    return block.spectrum


def _panel(axes: Axes, block: BlockDiagnosis, limits: tuple[Ends, Ends], resolution: int, tolerance: float) -> None:
    """One layer: its region, its eigenvalues by kind, the bounds of their real parts."""
    assert block.scheme is not None
    region = stability_region(block.scheme, *limits, resolution=resolution)
    radius = np.minimum(region.radius, 2.0)  # contours are interpolated: a pole next door would shift them
    if (region.radius < 1 - 1e-6).any():
        axes.contourf(region.re, region.im, radius, levels=[0, 1], colors=["0.5"], alpha=0.2)
        axes.contour(region.re, region.im, radius, levels=[1], colors=["0.35"], linewidths=0.9)
    axes.axhline(0, color="0.6", linewidth=0.6, zorder=1)
    axes.axvline(0, color="0.6", linewidth=0.6, zorder=1)
    spectrum = _known(block)
    for bound in spectrum.bounds:
        if math.isfinite(bound) and limits[0][0] < block.h * bound < limits[0][1]:
            axes.axvline(block.h * bound, color="0.2", linestyle=":", linewidth=1.0, zorder=1)
    z, margin = points_of(spectrum, block.h, tolerance)
    kind = kinds(block.scheme, z, margin)
    for number, (_, colour, marker) in KINDS.items():
        points = z[kind == number]
        axes.scatter(points.real, points.imag, s=13, marker=marker, color=colour, linewidths=0, zorder=3 + number)
    axes.set(xlim=limits[0], ylim=limits[1], aspect="equal")
    axes.set_title(_heading(block), fontsize="small")
    axes.tick_params(labelsize="x-small")
    axes.spines[["top", "right"]].set_visible(False)


def _heading(block: BlockDiagnosis) -> str:
    coefficients = ", ".join(f"{c.symbol} = {c.mean:.2f}" for c in block.coefficients)
    name = "start" if block.kind == "starting" else coefficients or block.name
    function = "" if block.function is None else f", f{block.function}"
    return f"layer {block.layer}{function} ({name})"


def _handles(blocks: Sequence[BlockDiagnosis]) -> list[Any]:
    flowless = any(b.amplification is not None and math.isnan(b.amplification.growing) for b in blocks)
    marks = [
        Line2D([], [], linestyle="", marker=marker, color=colour, markeredgewidth=0, label=label)
        for kind, (label, colour, marker) in KINDS.items()
        if kind != UNKNOWN or flowless
    ]
    region = Patch(facecolor="0.5", alpha=0.3, edgecolor="0.35", label="stability region")
    bound = Line2D([], [], color="0.2", linestyle=":", label=r"bounds of Re$(h\lambda)$")
    return [*marks, region, bound]


def _depth(found: Diagnosis, panels: Any) -> None:
    """The panels over the layers: four, and one for the coefficients of a scheme that has any."""
    _shares(panels[0], found)
    _amplification(panels[1], found)
    _steps(panels[2], found)
    _modified(panels[-1], found)
    if len(panels) > PANELS:
        _coefficients(panels[3], found)
    last = {block.stage: block.layer for block in found.blocks}
    for axes in panels:
        for stage in sorted(last)[:-1]:
            named = {"label": "change of stage"} if axes is panels[0] and stage == 0 else {}
            axes.axvline(last[stage] + 0.5, color="0.45", linestyle=(0, (4, 3)), linewidth=0.9, zorder=1, **named)
        axes.set_xlabel("layer $n$")
        axes.set_xlim(min(b.layer for b in found.blocks) - 0.6, max(b.layer for b in found.blocks) + 0.6)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="y", color="0.9", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.title.set_fontsize("medium")
        handles, labels = axes.get_legend_handles_labels()
        if labels:
            place: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.22), "ncols": 2}
            axes.legend(handles, labels, **place, fontsize="small", frameon=False, handlelength=1.4, columnspacing=1.0)


def _shares(axes: Axes, found: Diagnosis) -> None:
    blocks = found.analysed
    places = [_place(block) for block in blocks]
    shares = [(a.unstable, a.growing, a.outside) for b in blocks if (a := b.amplification) is not None]
    unstable, growing, outside = np.array(shares).T
    unknown = np.where(np.isnan(growing), outside, 0.0)
    unstable, growing = np.nan_to_num(unstable), np.nan_to_num(growing)
    axes.bar(places, unstable, color=KINDS[UNSTABLE][1], width=0.7, label="the flow does not grow")
    axes.bar(places, growing, bottom=unstable, color=KINDS[GROWS][1], width=0.7, label="it grows too")
    if unknown.any():
        axes.bar(places, unknown, color=KINDS[UNKNOWN][1], width=0.7, label="no flow")
    complete = all(_known(block).complete for block in blocks)
    what = "of all eigenvalues" if complete else "of those computed"
    axes.set(ylim=(0, 1), title="Eigenvalues outside the region", ylabel=f"share {what}")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))


def _amplification(axes: Axes, found: Diagnosis) -> None:
    known = [(b, b.amplification) for b in found.analysed if b.amplification]
    _line(axes, [(b, a.maximum) for b, a in known], KINDS[GROWS][1], "^", "all")
    stable_flow = [(b, a.worst_unstable or math.nan) for b, a in known]
    _line(axes, stable_flow, KINDS[UNSTABLE][1], "X", "the flow does not grow")
    axes.axhline(1, color="0.4", linewidth=0.9)
    axes.set(title="Largest amplification a step", ylabel=r"max $|\zeta|$")


def _steps(axes: Axes, found: Diagnosis) -> None:
    blocks = found.analysed
    steps = [(b, math.nan if b.effective_step is None else b.effective_step) for b in blocks]
    _line(axes, steps, "0.2", "s", r"effective step $h_\mathrm{eff}$")
    axes.axhline(0, color="0.4", linewidth=0.8, zorder=1)
    axes.set(title="Effective step", ylabel=r"$h_\mathrm{eff}$")


def _coefficients(axes: Axes, found: Diagnosis) -> None:
    blocks = found.analysed
    symbols = sorted({c.symbol for block in blocks for c in block.coefficients})
    for symbol, colour in zip(symbols, colours(len(symbols)), strict=True):
        own = [(b, c) for b in blocks for c in b.coefficients if c.symbol == symbol]
        _line(axes, [(b, c.mean) for b, c in own], colour, "o", f"${symbol}_n$")
        ranged = [(b, c) for b, c in own if c.low != c.high]
        axes.vlines(
            [_place(b) for b, _ in ranged], [c.low for _, c in ranged], [c.high for _, c in ranged], color=colour
        )
        if symbol == "k":
            limit: dict[str, Any] = {"color": KINDS[UNSTABLE][1], "linewidth": 0.9, "linestyle": "--"}
            axes.axhline(ZERO_STABLE[0], **limit, label="zero-stable in between")
            axes.axhline(ZERO_STABLE[1], **limit)
    axes.axhline(0, color="0.4", linewidth=0.8, zorder=1)
    axes.set(title="Coefficients", ylabel=", ".join(f"${symbol}_n$" for symbol in symbols))


def _modified(axes: Axes, found: Diagnosis) -> None:
    known = [(b, b.modified) for b in found.analysed if b.modified is not None]
    axes.set(title="Leading modified term", ylabel=r"$\|h^m f_m\| \,/\, \|f_0\|$")
    if not known:
        axes.text(0.5, 0.5, "not computed", transform=axes.transAxes, ha="center", va="center", color="0.4")
        axes.set_yticks([])
        return
    for order in sorted({term.order for _, term in known}):
        colour = COLOURS[(order - 1) % len(COLOURS)]
        _line(axes, [(b, t.relative) for b, t in known if t.order == order], colour, "o", f"$m = {order}$")
    sizes = [term.relative for _, term in known]
    if max(sizes) > 10 * min(sizes):
        axes.set_yscale("log")
    else:
        axes.set_ylim(0, 1.1 * max(sizes))
    low, high = axes.get_ylim()
    if low < 1 < high:
        axes.axhline(1, color="0.4", linewidth=0.9)


def _line(axes: Axes, points: Sequence[tuple[BlockDiagnosis, float]], colour: Any, marker: str, label: str) -> None:
    """A line through the layers of each stage; infinite values are left out."""
    x: list[float] = []
    y: list[float] = []
    previous = None
    for block, value in points:
        if previous is not None and previous != block.stage:
            x, y = [*x, math.nan], [*y, math.nan]  # a line across a transition would show values that are not there
        x, y, previous = [*x, _place(block)], [*y, value if math.isfinite(value) else math.nan], block.stage
    axes.plot(x, y, color=colour, marker=marker, markersize=4.5, linewidth=1.2, label=label)


def _place(block: BlockDiagnosis) -> float:
    """Functions of one layer side by side."""
    return block.layer + (0.0 if block.function is None else 0.25 * block.function)
