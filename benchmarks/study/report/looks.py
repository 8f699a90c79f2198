"""How each label is drawn, and where it stands: the same in every table and figure of a report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from odenets.analysis.plot.style import MARKERS, colours, legend_below, line_styles

#: Labels that come first, so that they look the same in all reports.
FIRST = ("euler", "lm")
#: Inches that a line of a legend takes.
LINE = 0.24


@dataclass(frozen=True)
class Look:
    """Colour, marker and line style of a label."""

    colour: Any
    marker: str
    line: Any


def in_order(labels: Iterable[str]) -> list[str]:
    """Each label once, euler and lm first, the others by name."""
    return sorted(set(labels), key=lambda label: (FIRST.index(label) if label in FIRST else len(FIRST), label))


def looks(labels: Iterable[str]) -> dict[str, Look]:
    """A look for each label; those of FIRST have theirs whether they are there or not."""
    ordered = in_order({*FIRST, *labels})
    kinds = zip(ordered, colours(len(ordered)), line_styles(len(ordered)), strict=True)
    return {label: Look(colour, MARKERS[i % len(MARKERS)], line) for i, (label, colour, line) in enumerate(kinds)}


def legend(figure: Figure, panels: Sequence[Axes], looks: Mapping[str, Look]) -> None:
    """One legend for all panels: the labels in their order, then what else is marked. The figure grows by it."""
    entries = {text: handle for axes in panels for handle, text in zip(*axes.get_legend_handles_labels(), strict=True)}
    ordered = [*(label for label in looks if label in entries), *(text for text in entries if text not in looks)]
    rows = legend_below(figure, [entries[text] for text in ordered], ordered)
    figure.set_figheight(figure.get_figheight() + LINE * rows)
