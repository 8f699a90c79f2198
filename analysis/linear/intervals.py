"""How far the stability region reaches along the real and the imaginary axis, exactly."""

from __future__ import annotations

from typing import Any

import sympy

from odenets import Scheme

from .ray import reach
from .resolve import numeric


def real_interval(scheme: Scheme | str, **values: Any) -> sympy.Expr:
    """The largest x for which [-x, 0] lies in the closure of the stability region.

    The closure: single points where a double root touches the circle do not end the interval (lm
    at k = -1 has one at z = 0 and reaches to 4, though it is not zero-stable).

    Args:
        scheme: a Scheme or a name of the zoo.
        values: exact numbers for all its symbols, e.g. ``k="-1/2"``.

    Returns:
        An exact number in units of h lambda: 0, oo, a rational, a surd or a sympy CRootOf;
        ``float`` of it is good to the last digit. rk4 gives 2 CRootOf(x**3 - 2*x**2 + 3*x - 3, 0).

    Raises:
        SchemeError: a symbol without a value.

    Source: Hairer & Wanner, Solving Ordinary Differential Equations II (1996), IV.2 and V.1.
    """
    return reach(numeric(scheme, values, "the real interval", ""), sympy.Integer(-1))


def imaginary_interval(scheme: Scheme | str, **values: Any) -> sympy.Expr:
    """The largest y for which [-i y, i y] lies in the closure of the stability region.

    The coefficients are real, so the lower half mirrors the upper one. Arguments, result and errors
    as for :func:`real_interval`; leapfrog gives 1, rk4 2 sqrt(2).

    Whether the interval is 0 is decided exactly; scans of the axis in floating point report 0.004
    to 0.06 for schemes such as AB2 and BDF3, whose |zeta| - 1 grows like a high power of y.
    """
    return reach(numeric(scheme, values, "the imaginary interval", ""), sympy.I)
