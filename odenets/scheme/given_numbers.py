"""Numbers as they are given, Python's, NumPy's, torch's or sympy's, read in one place."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from operator import index
from typing import Any

from .errors import OdenetsError, SchemeError

#: Digits to which a float that is no short number is right: of a double 15 always survive.
DOUBLE_DIGITS = 15
#: floating-point type -> (digits a person types at most, unit roundoff, largest denominator tried): so few that
#: what is no such number passes for one in 1 of 1000 cases at most.
PRECISIONS = {
    "bfloat16": (2, 2.0**-8, 1),
    "float16": (3, 2.0**-11, 1),
    "float32": (6, 2.0**-24, 100),
    "float64": (12, 2.0**-53, 10**6),
}
#: A number that was computed, as 1 - 2/3, may have been rounded a few times.
ROUNDINGS = 4


def integer(value: Any, what: str, least: int = 1, error: type[OdenetsError] = SchemeError) -> int:
    """A whole number of at least ``least``: int, NumPy's integers, sympy.Integer, an integer tensor without dimensions.

    Raises:
        error: for anything else; bool and 2.0 are no whole numbers here.
    """
    plain = as_python(value)
    try:
        found = least - 1 if isinstance(plain, bool) else index(plain)
    except TypeError:
        found = least - 1
    if found < least:
        raise error(f"{what}: got {value!r}, expected an integer of at least {least}")
    return found


def real(value: Any, what: str, error: type[OdenetsError] = SchemeError, expected: str = "a finite number") -> float:
    """A finite real number as a float: int, float, Fraction, Decimal, NumPy's, sympy's, a tensor without dimensions.

    Raises:
        error: for anything else, "0.5" and True among it, and for a tensor that requires a gradient: it would be lost.
    """
    if getattr(value, "requires_grad", False):
        raise error(f"{what}: got a tensor that requires a gradient, which would be lost; expected {expected}")
    plain = as_python(value)
    wrong = isinstance(plain, (bool, str, bytes, complex)) or getattr(plain, "ndim", 0) > 0
    try:
        found = math.nan if wrong else float(plain)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise error(f"{what}: got {value!r}, expected {expected}")
    return found


def as_python(value: Any) -> Any:
    """What NumPy or torch hold in a scalar, or in an array without dimensions, as Python's number; else the value.

    A Decimal becomes the fraction that it is.
    """
    if isinstance(value, Decimal) and value.is_finite():
        return Fraction(value)
    return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value


def short_fraction(value: Any) -> Fraction | None:
    """The number that a float was made of: a decimal as people type it, or a fraction such as 1/3; None where neither.

    0.1 is 1/10, and 1 - 2/3, computed by Python, is 1/3, but for rounding. What has so many digits as
    sqrt(3)/6 is a rounded number, and nothing says of which.
    """
    digits, roundoff, denominators = PRECISIONS[_precision(value)]
    plain = as_python(value)
    own = Fraction(plain)
    tried = Fraction(f"{plain:.{digits}g}"), own.limit_denominator(denominators)
    return next((simple for simple in tried if abs(simple - own) <= ROUNDINGS * roundoff * abs(own)), None)


def cut_fraction(value: Fraction) -> Fraction | None:
    """The fraction that a decimal of three digits or more was cut or rounded from: 1/3 for 0.333; None without any."""
    places = next((n for n in range(PRECISIONS["float64"][0]) if value * 10**n % 1 == 0), 0)
    simple = value.limit_denominator(9)
    cut = {Fraction(round(simple * 10**places), 10**places), Fraction(int(simple * 10**places), 10**places)}
    return simple if places > 2 and simple != value and value in cut else None


def is_float(value: Any) -> bool:
    """Whether a value is a float of Python, NumPy or torch."""
    return isinstance(as_python(value), float)


def _precision(value: Any) -> str:
    name = str(getattr(value, "dtype", "float64")).removeprefix("torch.")
    return name if name in PRECISIONS else "float64"
