"""Tables as text, Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence

FORMATS = ("text", "markdown", "csv", "json")


def table(header: Sequence[str], rows: Sequence[Sequence[str]], form: str) -> str:
    """A table in one of FORMATS; JSON is a list of objects, one for each row, their values text as in the table."""
    if form == "json":
        return json.dumps([dict(zip(header, row, strict=True)) for row in rows], indent=1, ensure_ascii=False)
    if form == "csv":
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows([header, *rows])
        return out.getvalue().rstrip("\n")
    return render(header, rows, markdown=form == "markdown")


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
