"""Tables of text and Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence


def render(header: Sequence[str], rows: Sequence[Sequence[str]], *, markdown: bool = False) -> str:
    """Left-aligned columns; with ``markdown`` a Markdown table, bars and asterisks escaped."""
    if markdown:
        rows = [[re.sub(r"([|*])", r"\\\1", cell) for cell in row] for row in rows]
    widths = [max(len(line[j]) for line in [header, *rows]) for j in range(len(header))]
    ruler = ["-" * width for width in widths]
    ends, bar = (("| ", " |"), " | ") if markdown else (("", ""), "  ")
    lines = []
    for line in [header, ruler, *rows]:
        cells = bar.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        lines.append(f"{ends[0]}{cells}{ends[1]}".rstrip())
    return "\n".join(lines)
