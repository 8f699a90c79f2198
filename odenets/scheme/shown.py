"""How a value shows itself at a prompt and in a notebook: as what it is, in at most 40 lines."""

from __future__ import annotations

import html
import textwrap

MOST_LINES, WIDTH = 40, 120


class Shown:
    """A value whose ``str()`` says what it is: repr and HTML are that, cut after 40 lines."""

    def __repr__(self) -> str:
        return cut(str(self))

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(repr(self))}</pre>"


def cut(text: str) -> str:
    """At most 40 lines of 120 characters; long ones are folded, and the last says that there is more."""
    lines = []
    for line in text.split("\n"):
        lines += (
            textwrap.wrap(line, WIDTH, subsequent_indent="    ", drop_whitespace=True) if len(line) > WIDTH else [line]
        )
    if len(lines) <= MOST_LINES:
        return "\n".join(lines)
    return "\n".join([*lines[: MOST_LINES - 1], f"... ({len(lines) - MOST_LINES + 1} lines more; print() shows all)"])
