"""Tables for the pages of results."""

from __future__ import annotations

from collections.abc import Sequence


def markdown(title: str, rows: Sequence[Sequence[str]]) -> str:
    """A table with its heading; the first row is the header."""
    header, *body = rows
    lines = [header, ["---"] * len(header), *body]
    return "\n".join([f"## {title}", "", *("| " + " | ".join(line) + " |" for line in lines)])
