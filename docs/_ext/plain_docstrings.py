"""Docstrings of this project are plain text; here they are made reStructuredText.

Formulas stand in indented blocks: they become blocks of text. ``*``, ``|`` and ``_`` are signs of formulas, as in |k|
or b_i, and are to stay what they are; ``literals`` and :func:`roles` keep their meaning. Runs before napoleon, which
takes care of Args, Returns, Raises and Attributes.
"""

from __future__ import annotations

import re
from typing import Any

#: What keeps its meaning, and what stands between.
MARKUP = re.compile(r"(``.+?``|:[\w:]+:`[^`]+`|`[^`]+`)")
SECTION = re.compile(r"(Args|Returns|Raises|Attributes|Yields|Example|Examples|Note):\s*$")


def restructured(lines: list[str]) -> list[str]:
    """The lines of a docstring as reStructuredText."""
    found: list[str] = []
    in_section = in_block = False
    for line in lines:
        indented = line.startswith(" ")
        if line.strip() and not indented:
            in_section, in_block = bool(SECTION.match(line)), False
        if indented and not in_section and not in_block and (not found or not found[-1].strip()):
            found += [".. code-block:: text", ""]
            in_block = True
        found.append(line if in_block and indented else _escaped(line))
    return found


def _escaped(line: str) -> str:
    parts = MARKUP.split(line)
    return "".join(part if i % 2 else re.sub(r"([*|\\]|_(?!\w))", r"\\\1", part) for i, part in enumerate(parts))


def _process(*event: Any) -> None:
    what, lines = event[1], event[-1]
    # Of a property napoleon takes what stands before a colon for its type, unless the first line is empty.
    lines[:] = [*([""] if what in {"property", "attribute", "data"} else []), *restructured(lines)]


def setup(app: Any) -> dict[str, bool]:
    """As Sphinx asks of an extension."""
    app.connect("autodoc-process-docstring", _process, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
