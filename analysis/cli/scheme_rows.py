"""The rows of the table of schemes, and the equations they solve, for the explorer.

Those of the zoo are kept in a file, for to compute them takes ten seconds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import fields
from functools import cache
from importlib.resources import files
from typing import Any

from odenets import Scheme

from ..explorer.solved_equation import solved_equation
from .scheme_columns import SCHEMES

FILE = "scheme_rows.json"


def row(scheme: Scheme) -> list[str]:
    """The cells of a scheme: kept ones if it is the scheme that they were computed of."""
    kept = _kept_of(scheme)
    return kept["cells"] if kept else computed(scheme)


def equation(scheme: Scheme) -> dict[str, Any]:
    """The equation that a scheme solves, likewise."""
    kept = _kept_of(scheme)
    return kept["equation"] if kept else solved_equation(scheme)


def computed(scheme: Scheme) -> list[str]:
    """The cells of a scheme, computed."""
    return [column.text(scheme) for column in SCHEMES]


def digest(scheme: Scheme) -> str:
    """What tells a scheme from all others: of its numbers, its names, and the heads of the columns."""
    given = [getattr(scheme, part.name) for part in fields(scheme)]
    return hashlib.sha256(repr((given, [column.head for column in SCHEMES])).encode()).hexdigest()[:16]


def written(schemes: Iterable[Scheme]) -> str:
    """The file for schemes, all computed."""
    found = {
        scheme.name: {"of": digest(scheme), "cells": computed(scheme), "equation": solved_equation(scheme)}
        for scheme in schemes
    }
    lines = (f"{json.dumps(name)}: {json.dumps(kept, ensure_ascii=False)}" for name, kept in found.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _kept_of(scheme: Scheme) -> dict[str, Any] | None:
    kept: dict[str, Any] | None = _kept().get(scheme.name)
    return kept if kept and kept["of"] == digest(scheme) else None


@cache
def _kept() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(files(__package__).joinpath(FILE).read_text(encoding="utf-8"))
    return found
