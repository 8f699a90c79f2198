"""The figure of errors against the step size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from odenets import FieldError

from ..equations.error_curve import Convergence
from .style import MARKERS, colours, legend_beside, line_styles, new_axes

#: So many step sizes are written out below the axis.
LABELLED = 8


def convergence(
    results: Sequence[Convergence] | Convergence, *, title: str = "Global error", ax: Axes | None = None
) -> Figure:
    """Error over step size, both logarithmic, one line a scheme; dashed slopes of the orders that occur.

    Args:
        results: of :func:`odenets.analysis.convergence`, one a scheme.
        title: heading of the figure.
        ax: axes to draw into; default: those of a new figure.

    The legend tells the derived order p and the slope observed. Below p no line is drawn for order 0.

    Raises:
        FieldError: no result, or one without a positive finite error.
    """
    found = [results] if isinstance(results, Convergence) else list(results)
    if not found:
        raise FieldError("convergence: got no result to draw, expected at least one of odenets.analysis.convergence")
    figure, axes = new_axes(7.2, 4.6, ax)
    axes.set(xscale="log", yscale="log")
    tints = zip(found, colours(len(found)), line_styles(len(found)), MARKERS * len(found), strict=False)
    for result, colour, style, marker in tints:
        if not (result.error[np.isfinite(result.error)] > 0).any():
            raise FieldError(f"{result.scheme}: got the errors {result.error.tolist()}, expected one that is positive")
        slope = result.observed_order
        label = f"{result.scheme}: $p$ = {result.order}" + ("" if np.isnan(slope) else f", observed {slope:.2f}")
        axes.plot(result.h, result.error, color=colour, linestyle=style, marker=marker, markersize=4.5, label=label)
    for order in sorted({result.order for result in found} - {0}):
        _slope(axes, [result for result in found if result.order == order])
    steps = sorted({float(h) for result in found for h in result.h})
    if len(steps) <= LABELLED:  # within a decade matplotlib's own labels run into each other
        axes.set_xticks(steps, [f"{h:.3g}" for h in steps])
        axes.xaxis.set_minor_locator(NullLocator())
    axes.set(xlabel="step size $h$", ylabel=r"error $\max_i\,|u_N - u(t_1)|_i$", title=title)
    legend_beside(axes, *axes.get_legend_handles_labels())
    return figure


def _slope(axes: Axes, results: Sequence[Convergence]) -> None:
    """A dashed line of slope p a little below the lowest curve of that order, from its finest error above rounding."""
    lowest = min(results, key=lambda result: float(result.error[result.clear].min(initial=np.inf)))
    if not lowest.clear.any():
        return
    h, error = lowest.h[lowest.clear], lowest.error[lowest.clear]
    finest = int(np.argmin(h))
    ends = np.array([h[finest], h.max()])
    line = 0.5 * error[finest] * (ends / h[finest]) ** lowest.order
    axes.plot(ends, line, color="0.45", linestyle=(0, (4, 3)), linewidth=0.9, zorder=1)
    name = "$h$" if lowest.order == 1 else f"$h^{{{lowest.order}}}$"
    note: dict[str, Any] = {"fontsize": "small", "color": "0.35", "ha": "left", "va": "center"}
    axes.annotate(name, (ends[1], line[1]), xytext=(5, 0), textcoords="offset points", **note)
