"""Checks of single options of a frozen dataclass, which keep them as Python's numbers."""

from __future__ import annotations

import math
from typing import Any

from ..scheme.given_numbers import integer, real
from .errors import SolverError


def set_real(options: Any, name: str, above: float, most: float) -> None:
    """Refuse what is not a finite number in (above, most]."""
    limit = "" if math.isinf(most) else f" and at most {most:g}"
    value, expected = getattr(options, name), f"a number above {above:g}{limit}"
    found = real(value, name, SolverError, expected)
    if not above < found <= most:
        raise SolverError(f"{name}: got {value!r}, expected {expected}")
    object.__setattr__(options, name, found)


def set_count(options: Any, name: str, least: int) -> None:
    """Refuse what is not a whole number of at least ``least``."""
    object.__setattr__(options, name, integer(getattr(options, name), name, least, SolverError))
