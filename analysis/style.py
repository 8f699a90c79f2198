"""How every figure of the project looks: colours, axes, writing to a file."""

from __future__ import annotations

import os
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


def new_axes(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure with one pair of axes; no pyplot, so nothing global is left behind."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    axes.grid(color="0.9", linewidth=0.6)
    return figure, axes


def legend_beside(axes: Axes, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """A legend to the right of the axes: inside, some set of curves would always run through it."""
    axes.legend(handles, labels, loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0, frameon=False)


def check_path(path: str | os.PathLike[str]) -> Path:
    """The path, if it names a format that can be written.

    Raises:
        OdenetsError: another suffix.
    """
    found = Path(path)
    if found.suffix.lower() not in SUFFIXES:
        raise OdenetsError(f"got the output file {str(found)!r}, expected a name ending in {_listed(SUFFIXES)}")
    return found


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


def save(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a figure as PNG, SVG or PDF; its folder is made, and no half-written file is left.

    Raises:
        OdenetsError: an unknown suffix, or a place that cannot be written.
    """
    target = check_path(path)
    draft = target.with_name(f".{target.stem}.{os.getpid()}{target.suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            figure.savefig(draft, dpi=160)
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise OdenetsError(f"got the output file {str(target)!r}, expected a place to write to: {error}") from error
    return target
