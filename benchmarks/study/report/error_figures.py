"""Test error over depth, size, work and time; memory over depth."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from odenets.analysis.plot.style import new_panels

from ..costs import MEBIBYTE, Cost
from .cells import Cell, cost_of
from .looks import Look, in_order, legend
from .published import PAPER, REPRODUCTION, Published
from .statistics import mean_std

ERROR = "test error, %"
#: Distance between the markers of two labels at one place, and the least between two ticks, as parts of the axis.
APART, TICKS_APART = 0.012, 0.03
#: Up to so many places an axis has a tick at each.
TICKS = 9
#: Published numbers: hollow, in the colour of their label; by source and whether they were checked.
MARKERS = {(PAPER, True): "*", (PAPER, False): "D", (REPRODUCTION, True): "h"}


@dataclass(frozen=True)
class Axis:
    """What stands on an axis: its name, and its value for a network; None for those without."""

    name: str
    value: Callable[[Cell], float | None]
    of_published: Callable[[Published], float | None] = lambda one: None
    exact: bool = True


DEPTH = Axis("depth, layers", lambda cell: cell.depth, lambda one: one.config.depth)
PARAMETERS = Axis(
    "parameters, thousands",
    lambda cell: cell.parameters / 1e3,
    lambda one: None if one.parameters is None else one.parameters / 1e3,
    exact=False,
)
EVALUATIONS = Axis("function evaluations a forward pass", lambda cell: cell.evaluations)


def step_seconds(costs: Mapping[str, Cost]) -> Axis:
    """The axis of the measured time of a training step."""

    def milliseconds(cell: Cell) -> float | None:
        cost = cost_of(cell, costs)
        return None if cost is None else 1e3 * cost.seconds

    return Axis("a training step, ms", milliseconds, exact=False)


def errors(
    axes_of: Sequence[Axis],
    table: Sequence[Cell],
    looks: Mapping[str, Look],
    title: str,
    published: Iterable[Published] = (),
) -> Figure:
    """Mean test error with its sample standard deviation, a panel an axis, a line a label; published numbers hollow."""
    figure, panels = new_panels(1, len(axes_of), max(4.6 * len(axes_of), 5.5), 3.9, sharey=True)
    others = list(published)
    for axes, axis in zip(panels, axes_of, strict=True):
        _lines(axes, axis, table, looks)
        _published(axes, axis, others, looks)
        axes.set_xlabel(axis.name)
    panels[0].set_ylabel(ERROR)
    counts = sorted({len(cell.errors) for cell in table})
    seeds = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else f"{counts[0]}"
    figure.suptitle(f"{title}\nmean and sample standard deviation over {seeds} seed{'s' * (counts != [1])}")
    legend(figure, panels, looks)
    return figure


def _lines(axes: Axes, axis: Axis, table: Sequence[Cell], looks: Mapping[str, Look]) -> None:
    """One line with error bars a label."""
    shown = [(cell, value) for cell in table if (value := axis.value(cell)) is not None]
    places = side_by_side([value for _, value in shown])
    for label in in_order(cell.label for cell, _ in shown):
        own = [(place, cell) for place, (cell, _) in zip(places, shown, strict=True) if cell.label == label]
        moments = [mean_std(list(cell.errors.values())) for _, cell in own]
        axes.errorbar(
            [place for place, _ in own],
            [mean for mean, _ in moments],
            yerr=[math.nan if std is None else std for _, std in moments],
            color=looks[label].colour,
            marker=looks[label].marker,
            linestyle=looks[label].line,
            capsize=3,
            label=label,
        )
    _ticks(axes, sorted({value for _, value in shown}), exact=axis.exact)


def side_by_side(values: Sequence[float]) -> list[float]:
    """The values, those at one place moved apart: equal errors (lm is euler at depth 8) would hide each other."""
    width = (max(values) - min(values)) or 1.0
    places = [round((value - min(values)) / width, 2) for value in values]
    ranks = [places[:i].count(place) - (places.count(place) - 1) / 2 for i, place in enumerate(places)]
    return [value + rank * APART * width for value, rank in zip(values, ranks, strict=True)]


def _ticks(axes: Axes, values: Sequence[float], *, exact: bool) -> None:
    """A tick at each value that there is room for; round numbers where values are many, or no counts."""
    if not exact or len(values) > TICKS:
        axes.xaxis.set_major_locator(MaxNLocator(6))
        return
    kept = list(values[:1])
    for value in values[1:]:
        if value - kept[-1] >= TICKS_APART * (values[-1] - values[0]):
            kept.append(value)
    axes.set_xticks(kept)


def _published(axes: Axes, axis: Axis, others: Iterable[Published], looks: Mapping[str, Look]) -> None:
    """Hollow markers in the colours of the labels; the legend has one of each source."""
    for one in others:
        place = axis.of_published(one)
        if place is not None:
            look = looks.get(one.config.label)
            options = {"linestyle": "", "marker": MARKERS[one.source, one.checked], "markerfacecolor": "none"}
            axes.plot([place], [one.error], markeredgecolor=look.colour if look else "0.4", markersize=8, **options)
            axes.plot([], [], markeredgecolor="0.4", label=f"{one.origin}, {one.config.epochs} epochs", **options)


def memory(table: Sequence[Cell], costs: Mapping[str, Cost], looks: Mapping[str, Look], title: str) -> Figure:
    """Peak memory of a training step over depth, a line a label."""
    figure, (axes,) = new_panels(1, 1, 5.5, 3.7)
    for label in in_order(cell.label for cell in table):
        known = [(cell.depth, cost_of(cell, costs)) for cell in table if cell.label == label]
        peaks = [(depth, cost.peak_bytes / MEBIBYTE) for depth, cost in known if cost is not None]
        if peaks:
            look = looks[label]
            places, values = zip(*peaks, strict=True)
            axes.plot(places, values, color=look.colour, marker=look.marker, linestyle=look.line, label=label)
    axes.set(xlabel=DEPTH.name, ylabel="peak memory of a training step, MiB")
    axes.set_ylim(bottom=0)
    _ticks(axes, sorted({cell.depth for cell in table}), exact=True)
    figure.suptitle(title)
    legend(figure, [axes], looks)
    return figure
