"""The figure of the learned coefficients over the epochs of a training run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from odenets import FieldError

from .coefficients import Run, as_dicts, choose_symbol
from .style import LINES, diverging, legend_beside, new_axes, shades

#: Up to so many layers the legend names each; beyond, a colour bar tells the depth.
NAMED = 12


def coefficients_over_training(
    records: Run,
    epochs: Sequence[Sequence[Any]],
    *,
    symbol: str | None = None,
    kind: str = "lines",
    title: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """k_n over the epochs: a line a layer, dark to light with depth, or a map layer x epoch.

    Args:
        records: of :func:`odenets.analysis.learned_coefficients` for the trained network, or the dicts they
            become in JSON; result.json of a benchmark has them as "learned_coefficients".
        epochs: after each epoch the values in the order of ``records``; result.json has them as
            "coefficients" of each epoch.
        symbol: which coefficient to draw; default: the only one there is.
        kind: "lines" or "map".
        title: heading of the figure.
        ax: axes to draw into; default: those of a new figure.

    Values per channel are drawn as their mean. A line is dashed, dash-dotted ... by its stage.

    Raises:
        FieldError: no records, epochs that do not fit them, an unknown kind, several symbols and none chosen.
    """
    plain = as_dicts(records)
    chosen = choose_symbol({"the run": [plain]}, symbol)
    if kind not in {"lines", "map"}:
        raise FieldError(f"coefficients over training: got kind={kind!r}, expected 'lines' or 'map'")
    values = _values(plain, epochs)[:, [record["symbol"] == chosen for record in plain]]
    own = [record for record in plain if record["symbol"] == chosen]
    figure, axes = new_axes(7.5, 4.4, ax)
    (_lines if kind == "lines" else _map)(figure, axes, values, own, chosen)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="epoch", title=title or f"Learned coefficients ${chosen}_n$ over training")
    return figure


def _values(records: Sequence[Any], epochs: Sequence[Sequence[Any]]) -> npt.NDArray[np.float64]:
    """Epochs x records, the mean over channels."""
    rows = list(epochs)
    if not rows or any(len(row) != len(records) for row in rows):
        counts = sorted({len(row) for row in rows})
        raise FieldError(
            f"coefficients over training: got {len(rows)} epochs of {counts} values, expected at least one epoch, and "
            f"{len(records)} values in each, one a record"
        )
    try:
        # Where a coefficient was not finite JSON has null, numpy NaN: a gap in the line.
        return np.array([[np.mean(np.array(value, dtype=np.float64)) for value in row] for row in rows])
    except (TypeError, ValueError) as error:
        raise FieldError(f"coefficients over training: got values that are no numbers ({error})") from error


def _lines(figure: Figure, axes: Axes, values: Any, records: Sequence[Any], symbol: str) -> None:
    epochs = 1 + np.arange(len(values))
    stages = sorted({record["stage"] for record in records})
    tints = shades(len(records))
    styles = [LINES[stages.index(record["stage"]) % len(LINES)] for record in records]
    for column, colour, style in zip(values.T, tints, styles, strict=True):
        marker = "o" if len(values) == 1 else ""
        axes.plot(epochs, column, color=colour, linestyle=style, linewidth=1.6, marker=marker)
    axes.axhline(0, color="0.4", linewidth=0.8, zorder=1)
    axes.set_ylabel(f"${symbol}_n$")
    shown = range(len(records))
    if len(records) > NAMED:  # evenly spread, first and last among them
        shown = np.unique(np.linspace(0, len(records) - 1, NAMED).round().astype(int))
    handles = [Line2D([], [], color=tints[i], linestyle=styles[i], linewidth=1.6) for i in shown]
    legend_beside(axes, handles, [f"layer {records[i]['layer']}, stage {records[i]['stage']}" for i in shown])


def _map(figure: Figure, axes: Axes, values: Any, records: Sequence[Any], symbol: str) -> None:
    largest = float(np.nanmax(np.abs(values))) or 1.0
    edges = np.arange(len(values) + 1) + 0.5, np.arange(len(records) + 1) - 0.5
    image = axes.pcolormesh(*edges, values.T, cmap=diverging(), vmin=-largest, vmax=largest)
    axes.grid(visible=False)
    step = -(-len(records) // 20)
    axes.set_yticks(range(0, len(records), step), [str(record["layer"]) for record in records[::step]])
    for i in range(1, len(records)):
        if records[i]["stage"] != records[i - 1]["stage"]:
            axes.axhline(i - 0.5, color="black", linewidth=0.9, linestyle=(0, (4, 3)))
    axes.set_ylabel("layer $n$")
    figure.colorbar(image, ax=axes, label=f"${symbol}_n$")
