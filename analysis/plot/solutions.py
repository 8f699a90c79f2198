"""The figure of a solution of u' = f(t, u): its components, events and step sizes over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from odenets import FieldError, Solution

from .style import COLOURS, colours, heading, new_panels, shared_legend

#: points of a curve
POINTS = 800


def solution(
    found: Solution,
    *,
    components: Sequence[int] | None = None,
    labels: Sequence[str] | None = None,
    title: str = "Solution",
    ax: Sequence[Axes] | None = None,
) -> Figure:
    """Components over time with their values at the times asked for and the times of events; below, the step sizes.

    Args:
        found: of :func:`odenets.solve` with ``dense=True``; states of any shape are taken apart, tuples and dicts too.
        components: which numbers of the state; default: all of them.
        labels: of these components; default: u_1, u_2, ..., or the keys of a dict.
        title: heading of the figure.
        ax: two axes to draw into; default: those of a new figure.

    Raises:
        FieldError: a solution without its steps; components that are not there, or more than can be told apart; another
            number of labels.
    """
    ends = np.array(found.steps)
    t = np.unique(np.concatenate([np.linspace(ends[0], float(found.t[-1]), POINTS), found.t.detach().cpu()]))
    names, values = _taken_apart(found(torch.as_tensor(t)))
    chosen = _chosen(components, labels, names)
    figure, (above, below) = new_panels(
        2, 1, 7.2, 5.2, ax=ax, **({} if ax else {"sharex": True, "height_ratios": [3, 1]})
    )
    asked = np.isin(t, found.t.detach().cpu())
    for (k, label), colour in zip(chosen.items(), colours(len(chosen)), strict=True):
        above.plot(t, values[:, k], color=colour, linewidth=1.6, label=label)
        if asked.sum() > 2:
            above.plot(t[asked], values[asked, k], color=colour, linestyle="", marker="o", markersize=3.5)
    _mark_events(above, found, colours(len(chosen) + len(found.events))[len(chosen) :])
    below.stairs(np.abs(np.diff(ends)), ends, color="black", linewidth=1.2, baseline=None, label="step size")
    above.set(ylabel="$u$")
    below.set(xlabel="time $t$", ylabel="step size $|h|$", yscale="log")
    heading(figure, [above, below], f"{title}\n{found.stats}")
    shared_legend(figure, [above])
    return figure


def _taken_apart(y: Any) -> tuple[list[str], NDArray[np.float64]]:
    """Names of the components, and their values, a column for each; a complex one as its real and imaginary parts."""
    parts = y if isinstance(y, dict) else dict(enumerate(y)) if isinstance(y, tuple) else {"": y}
    names, columns = [], []
    for key, part in parts.items():
        table = torch.view_as_real(part) if part.is_complex() else part
        table = table.detach().cpu().double().reshape(len(part), -1)
        ways = ["Re ", "Im "] if part.is_complex() else [""]
        count = table.shape[1] // len(ways)
        stem = "u" if key == "" else f"u^{{({key + 1})}}" if isinstance(key, int) else str(key)
        plain = [f"${stem}$" if isinstance(key, int) or key == "" else stem]
        numbered = plain if count == 1 else [f"{plain[0]} {i + 1}" if key else f"$u_{{{i + 1}}}$" for i in range(count)]
        names += [f"{way}{name}" for name in numbered for way in ways]
        columns.append(table)
    return names, torch.cat(columns, 1).numpy()


def _chosen(components: Sequence[int] | None, labels: Sequence[str] | None, names: Sequence[str]) -> dict[int, str]:
    """Number of a component -> what it is called."""
    numbers = list(range(len(names))) if components is None else list(components)
    if not 0 < len(numbers) <= len(COLOURS):
        raise FieldError(
            f"solution: got {len(numbers)} components, expected 1 to {len(COLOURS)}, which colours tell apart; choose "
            "them by components=[...]"
        )
    if wrong := [k for k in numbers if not 0 <= k < len(names)]:
        raise FieldError(f"solution: got the components {wrong}, expected numbers from 0 to {len(names) - 1}")
    if labels is not None and len(labels) != len(numbers):
        raise FieldError(f"solution: got {len(labels)} labels for {len(numbers)} components, expected as many")
    return {k: names[k] if labels is None else labels[i] for i, k in enumerate(numbers)}


def _mark_events(axes: Axes, found: Solution, tints: Sequence[Any]) -> None:
    """A line at each time of an event."""
    for k, (event, colour) in enumerate(zip(found.events, tints, strict=True)):
        for i, t in enumerate(event.t.detach().cpu().tolist()):
            label = f"event {k}" if i == 0 else "_nolegend_"
            axes.axvline(t, color=colour, linestyle=(0, (3, 2)), linewidth=1.0, zorder=1, label=label)
