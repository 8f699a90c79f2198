"""The page: the files of page/ and the schemes, put together into one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from importlib.resources import files

from odenets import Scheme

from .scheme_data import record

#: In this order: each file uses what stands in those before it.
SCRIPTS = (
    "numbers.js",
    "stability.js",
    "roots.js",
    "order_star.js",
    "own.js",
    "play.js",
    "plots.js",
    "region.js",
    "address.js",
    "controls.js",
    "moves.js",
    "main.js",
)
MARK = re.compile(r"<!-- (style|data|scripts) -->")


def page(schemes: Iterable[Scheme], columns: Sequence[tuple[str, str]], cells: dict[str, list[str]]) -> str:
    """The whole page, as HTML that needs no other file.

    Args:
        schemes: those to choose from.
        columns: head and meaning of each derived property.
        cells: name of a scheme -> its properties as text, one a column.
    """
    data = {"columns": list(columns), "schemes": [record(s) | {"cells": cells[s.name]} for s in schemes]}
    # A "<" in a script could end it.
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    parts = {
        "style": f"<style>\n{_read('style.css')}</style>",
        "data": f'<script type="application/json" id="data">{text}</script>',
        "scripts": "<script>\n" + "\n".join(map(_read, SCRIPTS)) + "</script>",
    }
    return MARK.sub(lambda found: parts[found[1]], _read("page.html"))


def _read(name: str) -> str:
    return files(__package__).joinpath("page", name).read_text(encoding="utf-8")
