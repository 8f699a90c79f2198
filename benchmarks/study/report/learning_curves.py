"""Test error over epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from odenets.analysis.plot.style import new_panels

from ..result import Result
from .error_figures import ERROR
from .looks import Look, legend

#: Panels in a row.
COLUMNS = 3


def learning_curves(results: Sequence[Result], looks: Mapping[str, Look], title: str) -> Figure:
    """A panel a depth, a colour a label: each seed thin, their mean thick."""
    depths = sorted({run.config.depth for run in results})
    figure, panels = depth_panels(len(depths))
    for axes, depth in zip(panels, depths, strict=True):
        for label in looks:
            own = [run for run in results if (run.config.depth, run.config.label) == (depth, label)]
            _curves(axes, own, looks[label], label)
        axes.set(title=f"depth {depth}", xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        name_left(axes, ERROR)
    figure.suptitle(title)
    legend(figure, panels, looks)
    return figure


def depth_panels(count: int, *, alike: bool = True) -> tuple[Figure, list[Axes]]:
    """A figure with a panel a depth, in rows, the same scale in all if alike; the rest of the last row is hidden."""
    columns = min(count, COLUMNS)
    rows = -(-count // columns)
    figure, panels = new_panels(rows, columns, max(3.8 * columns, 5.5), 3.1 * rows + 0.6, sharey=alike)
    for axes in panels[count:]:
        axes.set_visible(False)
    return figure, panels[:count]


def name_left(axes: Axes, name: str) -> None:
    """The name of the vertical axis, which those of a row share."""
    if axes.get_subplotspec().is_first_col():
        axes.set_ylabel(name)


def _curves(axes: Axes, runs: Sequence[Result], look: Look, label: str) -> None:
    if not runs:
        return
    errors = np.array([[record["test_error"] for record in run.values["epochs"]] for run in runs])
    epochs = np.arange(1, errors.shape[1] + 1)
    for row in errors:
        axes.plot(epochs, row, color=look.colour, linewidth=0.6, alpha=0.5)
    axes.plot(epochs, errors.mean(axis=0), color=look.colour, linestyle=look.line, linewidth=1.8, label=label)
