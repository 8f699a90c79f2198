"""Checks of single options."""

from __future__ import annotations

import math
from typing import Any

from .errors import SolverError


def check_real(name: str, value: Any, above: float, most: float) -> None:
    """Refuse what is not a finite number in (above, most]."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not above < value <= most:
        limit = "" if math.isinf(most) else f" and at most {most:g}"
        raise SolverError(f"{name}: got {value!r}, expected a number above {above:g}{limit}")


def check_count(name: str, value: Any, least: int) -> None:
    """Refuse what is not an int of at least ``least``."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise SolverError(f"{name}: got {value!r}, expected a whole number of at least {least}")
