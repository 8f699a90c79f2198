"""Figures of the report, drawn without pyplot: no global state, no display."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from odenets.analysis.plot.style import MARKERS

from ..result import Result
from .tables import Cell, mean_std

ERROR = "test error, %"
#: Distance between the markers of two schemes at one depth, as a part of the axis.
APART = 0.012


def depth_error(table: Sequence[Cell], title: str) -> Figure:
    """Test error over depth, and over function evaluations: a scheme of s stages does s times the work a layer."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, attribute, label in (
        (left, "depth", "depth, layers"),
        (right, "evaluations", "function evaluations a forward pass"),
    ):
        _errors(axes, table, attribute)
        axes.set_xlabel(label)
        axes.grid(alpha=0.3)
    left.set_ylabel(ERROR)
    right.legend(title="scheme")
    counts = sorted({len(cell.errors) for cell in table})
    seeds = " or ".join(map(str, counts))
    figure.suptitle(f"{title}\nmean and sample standard deviation over {seeds} seed{'s' * (counts != [1])}")
    return figure


def _errors(axes: Axes, table: Sequence[Cell], attribute: str) -> None:
    """One line with error bars per scheme, over an attribute of its cells."""
    schemes = sorted({cell.scheme for cell in table})
    ticks = sorted({getattr(cell, attribute) for cell in table})
    # Side by side: equal errors (lm is euler at depth 8) would hide each other.
    apart = APART * ((ticks[-1] - ticks[0]) or 1)
    for i, scheme in enumerate(schemes):
        own = [cell for cell in table if cell.scheme == scheme]
        moments = [mean_std(cell.errors) for cell in own]
        places = [getattr(cell, attribute) + (i - (len(schemes) - 1) / 2) * apart for cell in own]
        axes.errorbar(
            places,
            [mean for mean, _ in moments],
            yerr=[math.nan if std is None else std for _, std in moments],
            color=f"C{i}",
            marker=MARKERS[i % len(MARKERS)],
            capsize=3,
            label=scheme,
        )
    axes.set_xticks(ticks)


def learning_curves(results: Sequence[Result], title: str) -> Figure:
    """Test error over epochs, one panel a depth, one colour a scheme: each seed thin, their mean thick."""
    depths = sorted({run.config.depth for run in results})
    schemes = sorted({run.config.label for run in results})
    figure = Figure(figsize=(1 + 3.6 * len(depths), 4), layout="constrained")
    panels = figure.subplots(1, len(depths), sharey=True, squeeze=False)[0]
    for axes, depth in zip(panels, depths, strict=True):
        for i, scheme in enumerate(schemes):
            own = [run for run in results if (run.config.depth, run.config.label) == (depth, scheme)]
            _curves(axes, own, f"C{i}", scheme)
        axes.set_title(f"depth {depth}")
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel(ERROR)
    panels[-1].legend(title="scheme")
    figure.suptitle(title)
    return figure


def _curves(axes: Axes, runs: Sequence[Result], color: str, label: str) -> None:
    if not runs:
        return
    errors = np.array([[record["test_error"] for record in run.values["epochs"]] for run in runs])
    epochs = np.arange(1, errors.shape[1] + 1)
    for row in errors:
        axes.plot(epochs, row, color=color, linewidth=0.6, alpha=0.5)
    axes.plot(epochs, errors.mean(axis=0), color=color, linewidth=1.8, label=label)
