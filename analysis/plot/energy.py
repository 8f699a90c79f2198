"""Figures of Hamiltonians: orbits among their level curves, and the error of energy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from odenets import FieldError

from ..equations.energy import EnergyErrors
from ..equations.orbit import Points
from .style import MARKERS, heading, legend_below, legend_beside, new_axes, new_panels, shades, shared_legend

Results = Sequence[EnergyErrors] | EnergyErrors
Energy = Callable[[Any, Any], Any]
ORBIT: dict[str, Any] = {"color": "black", "linestyle": "", "marker": ".", "markersize": 3.5}
LEVELS: dict[str, Any] = {"colors": "0.72", "linewidths": 0.9, "linestyles": "solid"}
START: dict[str, Any] = {"color": "black", "linestyle": "", "marker": "o", "markersize": 6, "markerfacecolor": "white"}
RIM: dict[str, Any] = {"linewidths": 1.6, "linestyles": "solid"}
MODIFIED = "#D55E00"


def level_curves(
    orbits: Mapping[str, Sequence[Points]],
    energy: Energy,
    modified: Mapping[str, Energy] | None = None,
    *,
    xlim: Sequence[float],
    ylim: Sequence[float],
    levels: Sequence[float],
    labels: tuple[str, str] = ("$q$", "$p$"),
    columns: int = 2,
    title: str = "Numerical orbits and level curves of the Hamiltonian",
    ax: Axes | Sequence[Axes] | None = None,
) -> Figure:
    """Orbits in the phase plane, one panel a label, among the level curves of H and through them those of another H.

    Args:
        orbits: label -> orbits, each of points (n, 2).
        energy: (q, p) -> H, of arrays; its level curves are grey in every panel.
        modified: label -> (q, p) -> modified Hamiltonian; its level curves through the first point
            of each orbit. Labels without one have none.
        xlim: ends of the panels.
        ylim: the same, vertically.
        levels: values of H whose curves are drawn.
        labels: of the two axes.
        columns: panels in a row.
        title: heading of the figure.
        ax: axes to draw into, one a panel; default: those of a new figure.

    Raises:
        FieldError: no orbit.
    """
    if not orbits:
        raise FieldError("level curves: got no orbit to draw, expected at least one label")
    rows = -(-len(orbits) // columns)
    figure, panels = new_panels(rows, columns, 4.5 * columns, 3.3 * rows + 1.0, ax=ax, sharex=True, sharey=True)
    grid = np.meshgrid(np.linspace(xlim[0], xlim[1], 401), np.linspace(ylim[0], ylim[1], 401))
    background = energy(*grid)
    for axes, (label, paths) in zip(panels, orbits.items(), strict=False):
        axes.contour(*grid, background, levels=sorted(levels), **LEVELS)
        own = (modified or {}).get(label)
        for path in paths:
            if own is not None:
                level = float(own(path[:1, 0], path[:1, 1])[0])
                axes.contour(*grid, own(*grid), levels=[level], colors=[MODIFIED], **RIM)
            axes.plot(*path.T, **ORBIT)
            axes.plot(*path[0], **START)
        axes.set(xlim=xlim, ylim=ylim, title=label)
        axes.grid(visible=False)
    for axes in panels[len(orbits) :]:
        axes.set_visible(False)
    for axes in panels[-columns:]:
        axes.set_xlabel(labels[0])
    for axes in panels[::columns]:
        axes.set_ylabel(labels[1])
    heading(figure, panels, title)
    handles = [Line2D([], [], color="0.72", linewidth=0.9), Line2D([], [], **ORBIT), Line2D([], [], **START)]
    names = ["level curves of $H$", "numerical points", "start"]
    if modified:
        handles.insert(1, Line2D([], [], color=MODIFIED, linewidth=1.6))
        names.insert(1, "level set of the modified Hamiltonian through the starting point")
    legend_below(figure, handles, names)
    return figure


def energy_errors(
    results: Results, *, title: str = "Error of the energy over time", ax: Axes | Sequence[Axes] | None = None
) -> Figure:
    """The error of H and of the truncated modified Hamiltonians over time, logarithmic, one panel a result.

    Args:
        results: of :func:`odenets.analysis.energy_errors`.
        title: heading of the figure.
        ax: axes to draw into, one a panel; default: those of a new figure.

    Of each stretch of time as wide as a pixel the largest error is drawn: the envelope.

    Raises:
        FieldError: no result.
    """
    found = _listed(results)
    figure, panels = new_panels(1, len(found), max(6.4, 4.6 * len(found)), 4.4, ax=ax, sharex=True, sharey=True)
    orders = sorted({order for one in found for order in one.errors})
    tints = dict(zip(orders, shades(len(orders)), strict=True))
    for axes, one in zip(panels, found, strict=True):
        for order, errors in one.errors.items():
            times, envelope = _envelope(one.times, np.abs(errors))
            axes.plot(times, envelope, color=tints[order], linewidth=1.4, label=name_of(order))
        axes.set(yscale="log", xlabel="time $t$", title=f"{one.scheme}, $h$ = {one.h:g}")
    panels[0].set_ylabel(r"envelope of $|\widetilde H(q_n, p_n) - \widetilde H(q_0, p_0)|$")
    heading(figure, panels, title)
    shared_legend(figure, panels)
    return figure


def energy_orders(
    results: Results, *, title: str = "Energy error over the step size", ax: Axes | None = None
) -> Figure:
    """The largest error of H and of the truncated modified Hamiltonians over h, both logarithmic, with slopes.

    Args:
        results: of :func:`odenets.analysis.energy_errors` for one scheme, one start, several h.
        title: heading of the figure.
        ax: axes to draw into, one a panel; default: those of a new figure.

    Raises:
        FieldError: no result, or results of several schemes.
    """
    found = sorted(_listed(results), key=lambda one: one.h)
    if len({one.scheme for one in found}) > 1:
        raise FieldError(f"energy orders: got {sorted({one.scheme for one in found})}, expected results of one scheme")
    figure, axes = new_axes(7.4, 4.6, ax)
    h = np.array([one.h for one in found])
    for order, colour, marker in zip(found[0].errors, shades(len(found[0].errors)), MARKERS * 3, strict=False):
        largest = np.array([np.abs(one.errors[order]).max() for one in found])
        slope = np.diff(np.log(largest[:2]))[0] / np.diff(np.log(h[:2]))[0] if len(h) > 1 else np.nan
        label = name_of(order) + ("" if np.isnan(slope) else f": slope {slope:.2f}")
        axes.plot(h, largest, color=colour, marker=marker, markersize=4.5, linewidth=1.6, label=label)
    axes.set(xscale="log", yscale="log", xlabel="step size $h$")
    axes.set_xticks(h, [f"{step:g}" for step in h])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set(title=f"{title}, {found[0].scheme}")
    axes.set_ylabel(r"$\max_n |\widetilde H(q_n, p_n) - \widetilde H(q_0, p_0)|$")
    legend_beside(axes, *axes.get_legend_handles_labels())
    return figure


def name_of(order: int) -> str:
    """H, or its modification by the highest power of h in it."""
    if order == 1:
        return "$H$"
    return r"$\widetilde H$ up to $h$" if order == 2 else rf"$\widetilde H$ up to $h^{order - 1}$"


def _listed(results: Results) -> list[EnergyErrors]:
    found = [results] if isinstance(results, EnergyErrors) else list(results)
    if not found:
        raise FieldError("energy: got no result to draw, expected at least one of odenets.analysis.energy_errors")
    return found


def _envelope(times: Any, errors: Any, pixels: int = 400) -> tuple[Any, Any]:
    """The largest error of each of at most ``pixels`` stretches; zeros, which have no logarithm, become NaN."""
    parts = np.array_split(np.arange(1, len(times)), min(pixels, len(times) - 1))
    largest = np.array([errors[part].max() for part in parts])
    return np.array([times[part[0]] for part in parts]), np.where(largest > 0, largest, np.nan)
