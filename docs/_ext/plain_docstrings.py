"""Docstrings of this project are plain text; here they are made reStructuredText.

Formulas stand in indented blocks: they are set as formulas (formula_text.py). ``*``, ``|`` and ``_`` are signs of
formulas, as in |k| or b_i, and are to stay what they are; ``literals`` and :func:`roles` keep their meaning. Runs
before napoleon, which takes care of Args, Returns, Raises and Attributes.
"""

from __future__ import annotations

import re
from itertools import takewhile
from typing import Any

from formula_text import latex

#: What keeps its meaning, and what stands between.
MARKUP = re.compile(r"(``.+?``|:[\w:]+:`[^`]+`|`[^`]+`)")
SECTION = re.compile(r"(Args|Returns|Raises|Attributes|Yields|Example|Examples|Note):\s*$")


def restructured(lines: list[str]) -> list[str]:
    """The lines of a docstring as reStructuredText."""
    found: list[str] = []
    in_section, rest = False, list(lines)
    while rest:
        line = rest[0]
        indented = line.startswith(" ")
        if line.strip() and not indented:
            in_section = bool(SECTION.match(line))
        if indented and not in_section and (not found or not found[-1].strip()):
            block = list(takewhile(lambda line: line.startswith(" ") or not line.strip(), rest))
            found += _block(block)
            del rest[: len(block)]
        else:
            found.append(_escaped(line))
            del rest[0]
    return found


def _block(lines: list[str]) -> list[str]:
    """A formula as one, and Python, or what else it may be, as it stands."""
    formula = latex("\n".join(lines))
    if formula is None:
        return [".. code-block:: text", "", *lines]
    return [".. math::", "", f"    {formula}", ""]


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
