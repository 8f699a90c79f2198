"""How every figure of the project looks: colours, axes, writing to a file."""

from __future__ import annotations

import io
import os
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from odenets import OdenetsError

#: Okabe & Ito (2008), told apart with every common colour blindness; yellow is left out on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES: tuple[Any, ...] = ("-", "--", "-.", ":")
MARKERS = "osD^vP*X<>"
#: What takes no room in a label.
MARKUP = re.compile(r"\\[a-z]+|[${}^_]")
SUFFIXES = (".png", ".svg", ".pdf")


def colours(count: int) -> list[Any]:
    """``count`` colours for things without an order."""
    return [COLOURS[i % len(COLOURS)] for i in range(count)]


def shades(count: int) -> list[Any]:
    """``count`` colours from dark to light for the members of an ordered family."""
    # viridis grows monotonically in lightness; its last, yellow tenth does not show on white.
    return [colormaps["viridis"](0.9 * i / max(count - 1, 1)) for i in range(count)]


def line_styles(count: int) -> list[Any]:
    """One line style a round of the colours, so that a second round differs too."""
    return [LINES[i // len(COLOURS) % len(LINES)] for i in range(count)]


class ShownFigure(Figure):
    """A figure that a notebook shows. Those of matplotlib are shown by pyplot's backend alone, which none here has."""

    def _repr_png_(self) -> bytes:
        written = io.BytesIO()
        self.savefig(written, format="png", bbox_inches="tight")
        return written.getvalue()


def new_axes(width: float, height: float, ax: Axes | None = None, *, plane: bool = False) -> tuple[Figure, Axes]:
    """A figure with one pair of axes, or those given; no pyplot, so nothing global is left behind.

    ``plane``: the two axes will be of one scale. matplotlib's plain layout then cuts what stands beside.
    """
    figure, (axes,) = new_panels(1, 1, width, height, ax=None if ax is None else [ax])
    if plane and ax is None:
        figure.set_layout_engine("compressed")
    return figure, axes


def new_panels(
    rows: int, columns: int, width: float, height: float, *, ax: Axes | Sequence[Axes] | None = None, **shared: Any
) -> tuple[Figure, list[Axes]]:
    """A figure with ``rows`` x ``columns`` pairs of axes, row by row; ``sharex`` and ``sharey`` as in matplotlib.

    Args:
        rows: of panels.
        columns: of panels.
        width: of a new figure, in inches.
        height: likewise.
        ax: draw into these axes instead, as many.
        shared: of a new figure.

    Raises:
        OdenetsError: another number of axes.
    """
    if ax is None:
        figure: Figure = ShownFigure(figsize=(width, height), layout="constrained")
        panels = list(figure.subplots(rows, columns, squeeze=False, **shared).flat)
    else:
        panels = [ax] if isinstance(ax, Axes) else list(ax)
        if len(panels) != rows * columns or not all(isinstance(axes, Axes) for axes in panels):
            raise OdenetsError(f"ax: got {ax!r}, expected {rows * columns} matplotlib axes for as many panels")
        figure = panels[0].get_figure(root=True)
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_axisbelow(True)
        axes.grid(color="0.9", linewidth=0.6)
    return figure, panels


def plane_size(x: Sequence[float], y: Sequence[float], labels: Sequence[str] = ()) -> tuple[float, float]:
    """Inches that a picture with equal axes needs, the legend with these labels beside it."""
    ratio = (x[1] - x[0]) / (y[1] - y[0])
    width = _plane_width(ratio)
    longest = max((len(MARKUP.sub("", label)) for label in labels), default=0)
    return width + max(2.3, 1.2 + 0.085 * longest), min(width / ratio, 6.0) + 0.9


def plane_title(title: str, x: Sequence[float], y: Sequence[float]) -> str:
    """A title in lines that are no wider than a picture with these axes."""
    width = _plane_width((x[1] - x[0]) / (y[1] - y[0]))
    return title if "$" in title else textwrap.fill(title, max(round(width / 0.1), 12))


def _plane_width(ratio: float) -> float:
    return min(5.2, max(2.5, 5.0 * ratio))


def roomy(x: Sequence[float], y: Sequence[float]) -> tuple[tuple[float, float], tuple[float, float]]:
    """The ends of a plane, the shorter side drawn out to half of the other one: a line is no sliver."""
    least = 0.5 * max(x[1] - x[0], y[1] - y[0])
    ends = [(low, high, max(least - (high - low), 0.0) / 2) for low, high in (x, y)]
    first, second = ((low - more, high + more) for low, high, more in ends)
    return first, second


def heading(figure: Figure, panels: Sequence[Axes], title: str) -> None:
    """A title above all panels; of axes that were given, above the first."""
    if figure.get_layout_engine() is None:
        panels[0].set_title("\n".join(filter(None, [title, panels[0].get_title()])))
    else:
        figure.suptitle(title)


def diverging() -> Any:
    """The colour map of values with a sign: white at 0."""
    return colormaps["RdBu_r"]


def legend_beside(axes: Axes, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """A legend to the right of the axes: inside, some set of curves would always run through it."""
    axes.legend(handles, labels, loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0, frameon=False)


def legend_below(figure: Figure, handles: Sequence[Any], labels: Sequence[str], title: str = "") -> int:
    """One legend for all panels, below them, in as many columns as fit; returns its rows."""
    longest = max(len(MARKUP.sub("", label)) for label in labels)
    columns = max(1, min(int(figure.get_figwidth() / (0.7 + 0.08 * longest)), len(labels)))
    columns = -(-len(labels) // -(-len(labels) // columns))  # rows of about equal length
    options: dict[str, Any] = {"loc": "outside lower center", "ncols": columns, "frameon": False}
    if figure.get_layout_engine() is None:  # somebody's axes: nothing makes room outside of them
        figure.axes[0].legend(handles, labels, title=title or None, frameon=False, fontsize="small")
        return 0
    figure.legend(handles, labels, title=title or None, **options)
    return -(-len(labels) // columns)


def shared_legend(figure: Figure, panels: Sequence[Axes]) -> None:
    """One legend for what is labelled in any panel, each label once."""
    entries = {
        label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    legend_below(figure, list(entries.values()), list(entries))


def check_path(path: str | os.PathLike[str]) -> Path:
    """The path, if it names a format that can be written, in a folder that is there.

    Raises:
        OdenetsError: another suffix, or no such folder: a mistyped one is not made.
    """
    found = Path(path)
    if found.suffix.lower() not in SUFFIXES:
        raise OdenetsError(f"got the output file {str(found)!r}, expected a name ending in {_listed(SUFFIXES)}")
    if not found.parent.is_dir():
        raise OdenetsError(
            f"got the output file {str(found)!r}, expected a place to write to: no folder {str(found.parent)!r}"
        )
    return found


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


def save(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a figure as PNG, SVG or PDF; no half-written file is left.

    Raises:
        OdenetsError: an unknown suffix, a folder that is not there, or a place that cannot be written.
    """
    target = check_path(path)
    draft = target.with_name(f".{target.stem}.{os.getpid()}{target.suffix}")
    try:
        try:
            figure.savefig(draft, dpi=160)
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise OdenetsError(f"got the output file {str(target)!r}, expected a place to write to: {error}") from error
    return target
