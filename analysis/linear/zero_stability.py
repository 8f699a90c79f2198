"""Zero-stability: whether the scheme stays bounded on u' = 0, however many layers it has."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Any

import sympy

from odenets import Scheme, SchemeError

from .minimal_polynomial import reduced_minimal_polynomial
from .resolve import numeric, resolve, zeta
from .root_condition import between, crossings, real_roots, satisfies_root_condition


def zero_stable(scheme: Scheme | str, **values: Any) -> bool:
    """Whether the powers of V stay bounded: eigenvalues in the unit disc, those on its rim semi-simple.

    For a linear multistep scheme this is the root condition of rho(zeta) = det(zeta I - V).

    Args:
        scheme: a Scheme or a name of the zoo.
        values: exact numbers for all its symbols, e.g. ``k=-1`` (False for lm) or ``k=1`` (True).

    Raises:
        SchemeError: a symbol without a value; :func:`zero_stable_range` answers that.

    Source: Dahlquist (1956); Butcher, Numerical Methods for ODEs (2008), section 51.
    """
    found = numeric(scheme, values, "zero-stability", ", or use zero_stable_range")
    return _bounded(found.V)


def zero_stable_range(scheme: Scheme | str, **values: Any) -> sympy.Set:
    """The set of values of the one free symbol for which the scheme is zero-stable.

    Interval.Lopen(-1, 1) for lm: -1 < k <= 1 (Lu et al. 2018). Eigenvalues of V can reach the unit
    circle only at finitely many values; these are tested themselves, and one value between each two.

    Raises:
        SchemeError: no free symbol, or several.
    """
    found = resolve(scheme, values)
    if len(found.symbols) != 1:
        names = ", ".join(map(str, found.symbols)) or "none"
        raise SchemeError(
            f"{found.name}: the range of zero-stability got free symbols {names}, expected exactly one; "
            "give numbers for the others, or use zero_stable where all have one"
        )
    (symbol,) = found.symbols
    poles = real_roots([sympy.fraction(sympy.cancel(entry))[1] for entry in found.V], symbol)
    poly = sympy.Poly(reduced_minimal_polynomial(found.V).as_expr(), zeta)
    denominators = [sympy.fraction(sympy.cancel(c))[1] for c in poly.all_coeffs()]
    cleared = sympy.Poly(sympy.cancel(poly.as_expr() * sympy.lcm_list(denominators)), zeta)
    points = sorted({*poles, *crossings(cleared, symbol)})
    ends = [-sympy.oo, *points, sympy.oo]
    stable = [sympy.FiniteSet(x) for x in points if x not in poles and _bounded(found.V.subs(symbol, x))]
    for low, high in pairwise(ends):
        if _bounded(found.V.subs(symbol, between(low, high))):
            stable.append(sympy.Interval.open(low, high))
    return sympy.Union(*stable)


@lru_cache(maxsize=256)
def _bounded(V: sympy.ImmutableMatrix) -> bool:
    return satisfies_root_condition(sympy.Poly(reduced_minimal_polynomial(V).as_expr(), zeta).all_coeffs())
