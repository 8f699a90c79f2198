"""The page: the files of page/ and the schemes, put together into one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Any

from odenets import Scheme

from .scheme_data import record

#: In this order: each file uses what stands in those before it.
SCRIPTS = (
    "numbers.js",
    "stability.js",
    "roots.js",
    "order_star.js",
    "equation.js",
    "own.js",
    "own_equation.js",
    "play.js",
    "problems.js",
    "stages.js",
    "steps.js",
    "plots.js",
    "orbit_plots.js",
    "region.js",
    "address.js",
    "spectra.js",
    "controls.js",
    "moves.js",
    "orbits.js",
    "network.js",
    "main.js",
)
#: What the page shows of a layer of a diagnosis.
LAYER = {"stage", "layer", "name", "h", "coefficients", "spectrum"}
MARK = re.compile(r"<!-- (style|data|scripts) -->")


def page(
    schemes: Iterable[Scheme],
    columns: Sequence[tuple[str, str]],
    cells: dict[str, list[str]],
    equations: dict[str, dict[str, Any]],
    diagnosis: dict[str, Any] | None = None,
) -> str:
    """The whole page, as HTML that needs no other file.

    Args:
        schemes: those to choose from.
        columns: head and meaning of each derived property.
        cells: name of a scheme -> its properties as text, one a column.
        equations: name of a scheme -> the equation that it solves (:func:`.solved_equation.solved_equation`).
        diagnosis: what ``odenets diagnose --json`` wrote of a network, to be shown with it.
    """
    data = {
        "columns": list(columns),
        "schemes": [record(s) | {"cells": cells[s.name], "equation": equations[s.name]} for s in schemes],
    }
    records = [_json("data", data)]
    if diagnosis is not None:
        records.append(_json("diagnosis", {"blocks": [_layer(block) for block in diagnosis["blocks"]]}))
    parts = {
        "style": f"<style>\n{_read('style.css')}</style>",
        "data": "\n".join(records),
        "scripts": "<script>\n" + "\n".join(map(_read, SCRIPTS)) + "</script>",
    }
    return MARK.sub(lambda found: parts[found[1]], _read("page.html"))


def _layer(block: dict[str, Any]) -> dict[str, Any]:
    """What the page shows of a layer; some have no spectrum."""
    spectrum = block["spectrum"] and {"eigenvalues": block["spectrum"]["eigenvalues"]}
    return {key: block[key] for key in sorted(LAYER)} | {"spectrum": spectrum}


def _json(name: str, content: Any) -> str:
    """Data in the page; a "<" could end it."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return f'<script type="application/json" id="{name}">{text}</script>'


def _read(name: str) -> str:
    return files(__package__).joinpath("page", name).read_text(encoding="utf-8")
