"""The figure of the learned coefficients over the layers, in the manner of Lu et al. (2018)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from odenets import FieldError

from ..networks.layer_coefficients import LearnedCoefficient
from .style import colours, legend_beside, line_styles, new_axes

Record = LearnedCoefficient | Mapping[str, Any]
Run = Sequence[Record]
Plain = Sequence[Mapping[str, Any]]
#: Of k of lm: :func:`odenets.analysis.zero_stable_range`.
ZERO_STABLE = (-1.0, 1.0)
#: Part of the upper end from which on it is shown.
NEAR = 0.8


def learned_coefficients(
    records_by_label: Mapping[str, Run | Sequence[Run]] | Run,
    *,
    symbol: str | None = None,
    limit: Sequence[float] | float | None = ZERO_STABLE,
    ax: Axes | None = None,
) -> Figure:
    """k_n over the layer n: one colour a label, vertical dashed lines at the stage transitions.

    Args:
        records_by_label: for each label (say "LM-ResNet-56") the records of
            :func:`odenets.analysis.learned_coefficients`, or the dicts they become in JSON; a list of such
            lists is several seeds: each drawn faintly, their mean strongly. Records alone need no label.
        symbol: which coefficient to draw; default: the only one there is.
        limit: the ends of the range in which the scheme is zero-stable, shaded outside; default LM's,
            -1 < k <= 1. One number is the lower end, None draws none.
        ax: axes to draw into; default: those of a new figure.

    Values per channel are drawn as their mean, with a band from the smallest to the largest.

    Raises:
        FieldError: no records, several symbols and none chosen, seeds whose layers differ.
    """
    if not isinstance(records_by_label, Mapping):
        records_by_label = {"": records_by_label}
    runs = {label: [as_dicts(run) for run in _as_runs(given)] for label, given in records_by_label.items()}
    chosen = choose_symbol(runs, symbol)
    figure, axes = new_axes(7.5, 4.2, ax)
    labels = list(runs)
    tints = colours(len(labels))
    for label, colour, style in zip(labels, tints, line_styles(len(labels)), strict=True):
        _draw_label(axes, label, [[r for r in run if r["symbol"] == chosen] for run in runs[label]], colour, style)
    _mark_transitions(axes, runs, tints)
    _mark_limit(axes, limit)
    axes.axhline(0, color="0.4", linewidth=0.8, zorder=1)
    axes.set(xlabel="layer $n$", ylabel=f"learned ${chosen}_n$", title=f"Learned coefficients ${chosen}_n$")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if any(labels):
        legend_beside(axes, *axes.get_legend_handles_labels())
    return figure


def _as_runs(given: Any) -> list[Run]:
    """One run or several as several."""
    runs = list(given)
    return runs if runs and isinstance(runs[0], (list, tuple)) else [runs]


def as_dicts(run: Run) -> Plain:
    """Records as the dicts they become in JSON."""
    return [record.as_dict() if isinstance(record, LearnedCoefficient) else record for record in run]


def choose_symbol(runs: Mapping[str, Sequence[Plain]], symbol: str | None) -> str:
    """The symbol, or the only one there is; FieldError where a run has none, or the choice is open."""
    found = sorted({record["symbol"] for group in runs.values() for run in group for record in run})
    empty = [label for label, group in runs.items() if not all(group)]
    if not found or empty:
        raise FieldError(
            f"learned coefficients: got no records for {empty or 'any label'}, expected at least one each; "
            "leave out networks whose scheme has no free symbols"
        )
    if symbol is None and len(found) == 1:
        return str(found[0])
    if symbol is None or symbol not in found:
        raise FieldError(f"learned coefficients: got symbol={symbol!r}, expected one of {found}")
    return symbol


def _draw_label(axes: Axes, label: str, runs: Sequence[Plain], colour: Any, style: Any) -> None:
    """The seeds of one label, and their mean if there are several."""
    places = {tuple((r["stage"], r["layer"]) for r in run) for run in runs}
    if len(places) != 1:
        raise FieldError(f"learned coefficients: got seeds of {label!r} with different layers, expected the same")
    (place,) = places
    channels = [[np.array(r["value"], dtype=np.float64, ndmin=1) for r in run] for run in runs]
    means = np.array([[values.mean() for values in run] for run in channels])
    gaps = [i for i in range(1, len(place)) if place[i][0] != place[i - 1][0]]
    layers = _with_gaps(np.array([float(layer) for _, layer in place]), gaps)
    if len(runs) > 1:
        for run in means:
            axes.plot(layers, _with_gaps(run, gaps), color=colour, alpha=0.3, linewidth=0.8)
    name = label if len(runs) == 1 else f"{label}, mean of {len(runs)} seeds"
    mean = _with_gaps(means.mean(axis=0), gaps)
    axes.plot(layers, mean, color=colour, linestyle=style, linewidth=1.6, marker="o", markersize=3.5, label=name)
    if any(values.size > 1 for run in channels for values in run):
        low, high = (
            _with_gaps(np.array([f([f(run[i]) for run in channels]) for i in range(len(place))]), gaps)
            for f in (np.min, np.max)
        )
        axes.fill_between(layers, low, high, color=colour, alpha=0.15, linewidth=0)


def _with_gaps(values: Any, gaps: Sequence[int]) -> Any:
    """NaN between the stages: a line across a transition would show a coefficient that is not there."""
    return np.insert(values, gaps, np.nan)


def _mark_transitions(axes: Axes, runs: Mapping[str, Sequence[Plain]], tints: Sequence[Any]) -> None:
    """A dashed line before the first layer of each stage but the first; grey where the labels agree."""
    ends = [_transitions(group[0]) for group in runs.values()]
    if all(where == ends[0] for where in ends):
        ends, tints = ends[:1], ["0.45"]
    for where, tint in zip(ends, tints, strict=True):
        for x in where:
            axes.axvline(x, color=tint, linestyle=(0, (4, 3)), linewidth=0.9, zorder=1)


def _transitions(run: Plain) -> list[float]:
    last = {record["stage"]: record["layer"] for record in run}
    return [last[stage] + 0.5 for stage in sorted(last)[:-1]]


def _mark_limit(axes: Axes, limit: Sequence[float] | float | None) -> None:
    """What is not zero-stable: below always, with room for the word; above where some value comes near."""
    if limit is None:
        return
    ends = (limit, np.inf) if isinstance(limit, (int, float)) else tuple(limit)
    low, high = axes.get_ylim()
    room = 0.12 * (max(high, 0.1) - ends[0])
    low = min(low, ends[0] - room)
    high = max(high, ends[1] + room if high > NEAR * ends[1] else 0.1)
    axes.set_ylim(low, high)
    for edge, limit_there in ((low, ends[0]), (high, ends[1])):
        if low < limit_there < high:
            _shade(axes, edge, limit_there)


def _shade(axes: Axes, edge: float, limit: float) -> None:
    axes.axhspan(min(edge, limit), max(edge, limit), color="0.85", alpha=0.6, linewidth=0, zorder=0)
    axes.axhline(limit, color="0.4", linewidth=0.9, zorder=1)
    note: dict[str, Any] = {"ha": "right", "va": "center", "fontsize": "small", "color": "0.3"}
    axes.text(0.985, (edge + limit) / 2, "not zero-stable", transform=axes.get_yaxis_transform(), **note)
