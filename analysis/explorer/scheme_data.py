"""A scheme as data for the page: exact entries as text, from which the browser computes all that it draws."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import sympy

from odenets import Scheme

#: A slider goes this far beyond the range that training starts from, to the next half: k of U[-0.1, 0] to ±1.5.
REACH = 1.4


def record(scheme: Scheme) -> dict[str, Any]:
    """What the page knows of a scheme.

    Returns:
        name; A (as it is for linear f: A + Gamma of a Rosenbrock scheme), U, B, V, row by row, of a Rosenbrock scheme
        Gamma, and nodes and seeds, their entries as text such as ``1/4 + sqrt(3)/6`` or ``1 - k``; symbols with the
        ends and the start of their sliders; colours (for each stage its function), functions (component taken,
        component given), components; starting (steps before the first of its own); digits of entries that are
        published decimals, else null.
    """
    found: dict[str, Any] = {"name": scheme.name}
    blocks = {"A": scheme.linear_A, "U": scheme.U, "B": scheme.B, "V": scheme.V}
    if scheme.Gamma is not None:
        blocks["Gamma"] = scheme.Gamma
    found |= {block: _rows(matrix.tolist()) for block, matrix in blocks.items()}
    found |= {"nodes": [str(c) for c in scheme.nodes], "seeds": _rows(scheme.seeds)}
    found |= {"symbols": [_slider(*item) for item in scheme.init], "starting": scheme.starting_values}
    return found | {
        "colours": list(scheme.colours),
        "functions": [list(pair) for pair in scheme.functions],
        "components": scheme.components,
        "digits": scheme.digits,
    }


def _rows(rows: Iterable[Iterable[sympy.Expr]]) -> list[list[str]]:
    return [[str(entry) for entry in row] for row in rows]


def _slider(name: str, low: float, high: float) -> dict[str, Any]:
    """Ends at halves, and the middle of the range that training starts from."""
    ends = math.floor(2 * (low - REACH)) / 2, math.ceil(2 * (high + REACH)) / 2
    return {"name": name, "low": ends[0], "high": ends[1], "start": (low + high) / 2}
