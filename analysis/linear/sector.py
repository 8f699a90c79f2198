"""A(alpha)- and L-stability: how wide a sector of the left half-plane the stability region holds."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import mpmath
import sympy

from odenets import Scheme, SchemeError

from .minimal_polynomial import minimal_stability_polynomial
from .ray import OneRootRay, reach
from .resolve import numeric, resolve, z, zeta
from .root_condition import between, real_roots, satisfies_root_condition

DIGITS = 80  # of the boundary locus, a hair off the points where it is 0/0
HAIR = mpmath.mpf("1e-25")


def a_alpha(scheme: Scheme | str, **values: Any) -> sympy.Expr:
    """The largest angle alpha for which |arg(-z)| < alpha lies in the closure of the stability region.

    A ray changes from stable to unstable only where it touches the curve |zeta| = 1, or follows it
    into 0 or infinity. These angles are zeros of a polynomial; between two of them one ray is
    judged, exactly. No grid is laid, so no narrow tongue is missed.

    Args:
        scheme: a Scheme or a name of the zoo.
        values: exact numbers for its symbols; explicit schemes need none (see :func:`region_is_bounded`).

    Returns:
        Degrees: the integers 90 (A-stable) and 0 (not even the negative real axis, or nothing
        around it), otherwise a Float of 15 digits; bdf3 gives 86.0323668602117.

    Raises:
        SchemeError: a symbol without a value, or an angle between the two where the stability
            polynomial is of higher degree than 1 both in zeta and in z.

    Source: Hairer & Wanner, Solving Ordinary Differential Equations II (1996), V.2.
    """
    if region_is_bounded(scheme, **values):
        return sympy.Integer(0)
    found = numeric(scheme, values, "A(alpha)-stability", "")
    if reach(found, sympy.Integer(-1)) != sympy.oo:
        return sympy.Integer(0)
    if _a_stable(found):
        return sympy.Integer(90)
    with mpmath.workdps(DIGITS):
        slopes = sorted({sympy.Float(slope, 30) for slope in _critical_slopes(found) if slope > HAIR})
        for low, high in pairwise([sympy.Integer(0), *slopes, sympy.oo]):
            if reach(found, -1 + sympy.I * between(low, high)) != sympy.oo:
                return sympy.Float(mpmath.degrees(mpmath.atan(low)), 15) if low else sympy.Integer(0)
    return sympy.Integer(90)


def l_stable(scheme: Scheme | str, **values: Any) -> bool:
    """Whether the scheme is A-stable and forgets infinitely stiff parts at once: all zeta -> 0 as z -> infinity.

    For one carried value that is R(infinity) = 0. Decided by degrees in z, exactly.

    Args and errors as for :func:`a_alpha`.

    Source: Ehle (1969); Hairer & Wanner (1996), IV.3.
    """
    if region_is_bounded(scheme, **values):
        return False
    found = numeric(scheme, values, "L-stability", "")
    lead, *rest = _in_zeta(found)
    return _a_stable(found) and all(lead.degree() > c.degree() for c in rest)


def region_is_bounded(scheme: Scheme | str, **values: Any) -> bool:
    """Whether no ray at all stays in the stability region, as for explicit schemes, whatever free symbols are.

    Without poles the coefficients of the monic stability polynomial are polynomials in z; one that
    is not constant grows along every ray, and a root with it. False: not known without numbers.
    """
    found = resolve(scheme, values)
    terms = minimal_stability_polynomial(found).terms()
    return found.explicit and any(power > 0 and not c.free_symbols for (_, power), c in terms)


def _in_zeta(scheme: Scheme) -> list[sympy.Poly]:
    """Coefficients of the stability polynomial, highest power of zeta first, as polynomials in z."""
    polynomial = sympy.Poly(minimal_stability_polynomial(scheme).as_expr(), zeta)
    return [sympy.Poly(c, z, extension=True) for c in polynomial.all_coeffs()]


def _a_stable(scheme: Scheme) -> bool:
    """The maximum principle: stable on the imaginary axis, and no pole of M(z) in the left half-plane.

    z = (1 + w)/(1 - w) takes the right half-plane to the unit disc; where the poles are there, and
    none on the axis, the transformed denominator meets the root condition.
    """
    if reach(scheme, sympy.I) != sympy.oo:
        return False
    w = sympy.Dummy("w")
    poles = _in_zeta(scheme)[0].all_coeffs()
    d = len(poles) - 1
    moved = sum(c * (1 + w) ** (d - j) * (1 - w) ** j for j, c in enumerate(poles))
    transformed = sympy.Poly(sympy.expand(moved), w, extension=True)
    # A degree that falls is a root at infinity, the pole z = -1.
    return transformed.degree() == d and satisfies_root_condition(transformed.all_coeffs())


def _critical_slopes(scheme: Scheme) -> list[Any]:
    """Tan of the angles at which a ray in the left half-plane can change its verdict."""
    polynomial = minimal_stability_polynomial(scheme)
    if polynomial.degree(z) == 1:
        return list(_along_the_locus(scheme))
    if polynomial.degree(zeta) == 1:
        return _where_the_sign_changes(scheme)
    raise SchemeError(
        f"{scheme.name}: got a stability polynomial of degree {polynomial.degree(zeta)} in zeta and "
        f"{polynomial.degree(z)} in z, expected degree 1 in either for an angle other than 0 and 90 degrees"
    )


def _along_the_locus(scheme: Scheme) -> Iterator[Any]:
    """Slopes |Im z / Re z| where arg z is stationary on z = rho/sigma, zeta = e^(i theta).

    d(arg z)/d theta = Re(zeta (rho'/rho - sigma'/sigma)); times |rho sigma|^2 it is a polynomial in
    cos theta. That also vanishes where z is 0 or infinite, so the curve is taken a hair beside.
    """
    phi = minimal_stability_polynomial(scheme).as_expr()
    rho, sigma = sympy.Poly(phi.subs(z, 0), zeta), sympy.Poly(-phi.diff(z), zeta)
    motion = sympy.Poly(zeta, zeta) * (rho.diff() * sigma - rho * sigma.diff())
    mirror = rho * sigma
    x = sympy.Dummy("x", real=True)
    turning = sympy.expand(
        sum(a * b * sympy.chebyshevt(abs(i - j), x) for (i,), a in motion.terms() for (j,), b in mirror.terms())
    )
    curve = sympy.lambdify(zeta, rho.as_expr() / sigma.as_expr(), "mpmath")
    for cosine in real_roots([turning], x):
        if -1 <= cosine <= 1:
            theta = mpmath.acos(mpmath.mpf(cosine.evalf(DIGITS)))
            points = (curve(mpmath.expj(theta + side)) for side in (-HAIR, HAIR))
            yield from (abs(point.imag / point.real) for point in points if point.real < 0)


def _where_the_sign_changes(scheme: Scheme) -> list[Any]:
    """Slopes m at which the zeros t > 0 of |Q|^2 - |P|^2 on z = (-1 + i m) t meet, or reach 0 or infinity."""
    m = sympy.Dummy("m", real=True)
    (gap,) = OneRootRay(scheme, -1 + sympy.I * m).factors
    poly = sympy.Poly(gap.as_expr(), *gap.gens[:1], m, extension=True).sqf_part()
    by_power = sympy.Poly(poly.as_expr(), gap.gens[0]).all_coeffs()
    ends = [by_power[0], next(c for c in reversed(by_power) if c != 0)]
    return [mpmath.mpf(root.evalf(DIGITS)) for root in real_roots([*ends, poly.discriminant().as_expr()], m)]
