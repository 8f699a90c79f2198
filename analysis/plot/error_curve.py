"""The figure of errors against the step size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from torch import Tensor

from odenets import FieldError, Scheme

from ..equations.error_curve import Convergence, convergence as errors_of
from .members import as_list, settled
from .style import MARKERS, colours, legend_beside, line_styles, new_axes

#: So many step sizes are written out below the axis.
LABELLED = 8


def convergence(
    results: Sequence[Convergence | Scheme | str] | Convergence | Scheme | str,
    f: Callable[[Tensor, Tensor], Tensor] | None = None,
    exact: Callable[[float], Any] | None = None,
    *,
    t0: float = 0.0,
    t1: float = 1.0,
    steps: Sequence[int] | None = None,
    title: str = "Global error",
    ax: Axes | None = None,
    **values: Any,
) -> Figure:
    """Error over step size, both logarithmic, one line a scheme; dashed slopes of the orders that occur.

    Args:
        results: of :func:`odenets.analysis.convergence`, one a scheme; or schemes, with the problem it takes.
        f: for schemes, the right-hand side (t, u) of the problem.
        exact: its solution, t -> d numbers.
        t0: start of the interval.
        t1: its end.
        steps: numbers of steps.
        title: heading of the figure.
        ax: axes to draw into; default: those of a new figure.
        values: exact numbers for the symbols of the schemes.

    The legend tells the derived order p and the slope observed; of order 0, for which there is no line, the effective
    step where that is why.

    Raises:
        FieldError: no result, one without a positive finite error, or a scheme without a problem.
        SchemeError: as :func:`odenets.analysis.convergence`.
    """
    given = as_list(results)
    if not given:
        raise FieldError("convergence: got no result to draw, expected at least one of odenets.analysis.convergence")
    found: list[Convergence] = []
    for one in settled(given, values, "convergence", Convergence):
        if isinstance(one, Convergence):
            found.append(one)
        elif f is None or exact is None:
            raise FieldError(
                f"convergence: got {one.name} without a problem to measure its errors on, expected f(t, u) and its "
                "exact solution as well, or results of odenets.analysis.convergence"
            )
        else:
            found.append(errors_of(one, f, exact, t0=t0, t1=t1, steps=steps))
    figure, axes = new_axes(7.2, 4.6, ax)
    axes.set(xscale="log", yscale="log")
    tints = zip(found, colours(len(found)), line_styles(len(found)), MARKERS * len(found), strict=False)
    for result, colour, style, marker in tints:
        if not (result.error[np.isfinite(result.error)] > 0).any():
            raise FieldError(f"{result.scheme}: got the errors {result.error.tolist()}, expected one that is positive")
        slope = result.observed_order
        label = f"{result.scheme}: $p$ = {result.order}" + ("" if np.isnan(slope) else f", observed {slope:.2f}")
        if result.reason:
            label += f", $h_{{eff}}$ = {result.effective_step:.3g} $h$"
        axes.plot(result.h, result.error, color=colour, linestyle=style, marker=marker, markersize=4.5, label=label)
    for order in sorted({result.order for result in found} - {0}):
        _slope(axes, [result for result in found if result.order == order])
    sizes = sorted({float(h) for result in found for h in result.h})
    if len(sizes) <= LABELLED:  # within a decade matplotlib's own labels run into each other
        axes.set_xticks(sizes, [f"{h:.3g}" for h in sizes])
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
