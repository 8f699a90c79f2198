"""Figures of numerical orbits beside the exact flow and the flows of modified equations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from odenets import FieldError

from ..equations.orbit import Orbits, Points
from .style import heading, new_panels, shades, shared_legend

PLANE = 2
START = "start"
EXACT: dict[str, Any] = {"color": "0.6", "linewidth": 1.6, "label": "exact flow"}
DOTS: dict[str, Any] = {"color": "black", "linestyle": "", "marker": ".", "markersize": 4, "zorder": 4}


def phase_portrait(
    results: Sequence[Orbits] | Orbits,
    *,
    labels: tuple[str, str] = ("$u_1$", "$u_2$"),
    coordinates: Callable[[Points], Points] | None = None,
    xlim: Sequence[float] | None = None,
    ylim: Sequence[float] | None = None,
    title: str = "Numerical orbit, exact and modified flow",
    ax: Axes | Sequence[Axes] | None = None,
) -> Figure:
    """In the plane: the points of a scheme, the exact flow, the flows of the truncated modified equation.

    Args:
        results: of :func:`odenets.analysis.orbits` with d = 2; one panel each.
        labels: of the two axes.
        coordinates: maps points (n, 2) to what is drawn; default: as they are.
        xlim: ends of the panels.
        ylim: the same, vertically.
        title: heading of the figure.
        ax: axes to draw into, one a panel; default: those of a new figure.

    Raises:
        FieldError: no orbit, or one that is not in the plane.
    """
    found = _listed(results)
    if wrong := [one.scheme for one in found if one.points.shape[1] != PLANE]:
        raise FieldError(f"phase portrait: got orbits of {wrong} that are not in the plane, expected d = 2")
    change = coordinates or (lambda points: points)
    figure, panels = new_panels(1, len(found), max(5.8, 4.6 * len(found)), 4.9, ax=ax)
    for axes, one in zip(panels, found, strict=True):
        lines = {key: change(path) for key, path in _flows(one).items()}
        _draw(axes, one, lines, change(one.points), title=len(found) > 1)
        axes.set(xlabel=labels[0], ylabel=labels[1], xlim=xlim, ylim=ylim)
    return _finish(figure, panels, found, title)


def trajectories(
    results: Sequence[Orbits] | Orbits,
    *,
    component: int = 0,
    label: str = "$u$",
    xlim: Sequence[float] | None = None,
    ylim: Sequence[float] | None = None,
    title: str = "Numerical solution, exact and modified flow",
    ax: Axes | Sequence[Axes] | None = None,
) -> Figure:
    """One component over time t: the points of a scheme, the exact flow, the flows of the modified equation.

    Args:
        results: of :func:`odenets.analysis.orbits`; one panel each.
        component: number of the component, from 0.
        label: of the vertical axis.
        xlim: ends of the panels.
        ylim: the same, vertically.
        title: heading of the figure.
        ax: axes to draw into, one a panel; default: those of a new figure.

    Raises:
        FieldError: no orbit, or a component that is not there.
    """
    found = _listed(results)
    if wrong := [one.scheme for one in found if not 0 <= component < one.points.shape[1]]:
        raise FieldError(f"trajectories: got component {component}, expected one that the orbits of {wrong} have")
    figure, panels = new_panels(1, len(found), max(6.4, 4.6 * len(found)), 4.6, ax=ax)
    for axes, one in zip(panels, found, strict=True):
        lines = {key: np.stack([one.dense, path[:, component]], -1) for key, path in _flows(one).items()}
        _draw(axes, one, lines, np.stack([one.times, one.points[:, component]], -1), title=len(found) > 1)
        axes.set(xlabel="time $t$", ylabel=label, xlim=xlim, ylim=ylim)
    return _finish(figure, panels, found, title)


def _listed(results: Sequence[Orbits] | Orbits) -> list[Orbits]:
    found = [results] if isinstance(results, Orbits) else list(results)
    if not found:
        raise FieldError("got no orbit to draw, expected at least one of odenets.analysis.orbits")
    return found


def _flows(one: Orbits) -> dict[int, Points]:
    """Truncation order -> flow; 0 is the exact one."""
    return {0: one.exact, **one.modified}


def _draw(axes: Axes, one: Orbits, lines: dict[int, Points], points: Points, *, title: bool) -> None:
    axes.plot(*lines[0].T, **EXACT)
    for order, colour in zip(one.modified, shades(len(one.modified)), strict=True):
        power = "h" if order == 2 else f"h^{order - 1}"
        axes.plot(*lines[order].T, color=colour, linewidth=1.8, label=f"modified equation up to ${power}$")
    axes.plot(*points.T, **DOTS, label="numerical points")
    axes.plot(
        *points[0],
        color="black",
        marker="o",
        markersize=6,
        markerfacecolor="white",
        zorder=5,
        linestyle="",
        label="start",
    )
    if title:
        axes.set_title(f"{one.scheme}, $h$ = {one.h:g}")


def _finish(figure: Figure, panels: Sequence[Axes], found: Sequence[Orbits], title: str) -> Figure:
    """The heading, and one legend for all panels, which names the start where it is seen."""
    for axes in panels:
        low, high = axes.get_xlim()
        for line in axes.lines:
            if line.get_label() == START and not low <= np.asarray(line.get_xdata(), dtype=float)[0] <= high:
                line.set_label("_nolegend_")
    head = title if len(found) > 1 else f"{title}\n{found[0].scheme}, $h$ = {found[0].h:g}"
    heading(figure, panels, head)
    shared_legend(figure, panels)
    return figure
