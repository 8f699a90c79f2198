"""Tables for the pages of results."""

from __future__ import annotations

from collections.abc import Sequence


def markdown(title: str, rows: Sequence[Sequence[str]]) -> str:
    """A table with its heading; the first row is the header."""
    header, *body = rows
    lines = [header, ["---"] * len(header), *body]
    return "\n".join([f"## {title}", "", *("| " + " | ".join(line) + " |" for line in lines)])


def padded(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table padded so that it reads well in a terminal too."""
    widths = [max(len(line[i]) for line in (header, *rows)) for i in range(len(header))]

    def line(entries: Sequence[str]) -> str:
        return "| " + " | ".join(entry.rjust(width) for entry, width in zip(entries, widths, strict=True)) + " |"

    rule = "|" + "|".join("-" * (width + 1) + ":" for width in widths) + "|"
    return "\n".join([line(header), rule, *map(line, rows)])
