"""How far the stability region reaches along a ray from the origin, decided exactly."""

from __future__ import annotations

from functools import lru_cache

import sympy

from odenets import Scheme

from .minimal_polynomial import minimal_stability_polynomial
from .resolve import z, zeta
from .root_condition import between, crossings, real_roots, satisfies_root_condition


@lru_cache(maxsize=1024)
def reach(scheme: Scheme, direction: sympy.Expr) -> sympy.Expr:
    """The first t > 0 beyond which z = direction t is unstable; 0 or oo where that is so.

    Closure of the region: single points do not end it, see :func:`odenets.analysis.real_interval`.
    """
    one_root = minimal_stability_polynomial(scheme).degree(zeta) == 1
    line: Ray | OneRootRay = (OneRootRay if one_root else Ray)(scheme, direction)
    reached: sympy.Expr = sympy.Integer(0)
    for point in [*(t0 for t0 in line.points() if t0 > 0), sympy.oo]:
        if not line.stable(between(reached, point)):
            return reached
        reached = point
    return reached


class Ray:
    """z = direction t for any scheme: verdicts of the root condition between its possible changes."""

    def __init__(self, scheme: Scheme, direction: sympy.Expr) -> None:
        self._t = sympy.Dummy("t", real=True)
        polynomial = minimal_stability_polynomial(scheme).as_expr()
        self._poly = sympy.Poly(sympy.expand(polynomial.subs(z, direction * self._t)), zeta)

    def points(self) -> list[sympy.Expr]:
        """Where the verdict can change."""
        return crossings(self._poly, self._t)

    def stable(self, t: sympy.Rational) -> bool:
        """The verdict at t, which is none of the points."""
        return satisfies_root_condition([sympy.expand(c.subs(self._t, t)) for c in self._poly.all_coeffs()])


class OneRootRay:
    """The same for one root zeta = R(z) = P/Q (one-step schemes): the sign of |Q|^2 - |P|^2, a real polynomial in t.

    Poles make it negative, so they need no test of their own. On the real axis it is the product of
    Q - P and Q + P, whose zeros are found apart: half the degree. (The sign of P does not matter.)
    """

    def __init__(self, scheme: Scheme, direction: sympy.Expr) -> None:
        self._t = sympy.Dummy("t", real=True)
        parts = sympy.Poly(minimal_stability_polynomial(scheme).as_expr(), zeta).all_coeffs()
        (below, below_im), (above, above_im) = (self._parts(part, direction) for part in parts)
        if above_im.is_zero and below_im.is_zero:
            self.factors = [below - above, below + above]
        else:
            self.factors = [below**2 + below_im**2 - above**2 - above_im**2]

    def _parts(self, part: sympy.Expr, direction: sympy.Expr) -> tuple[sympy.Poly, sympy.Poly]:
        """Real and imaginary part of a polynomial in z along the ray."""
        coefficients = reversed(sympy.Poly(part, z, extension=True).all_coeffs())
        pairs = [sympy.expand(c * direction**j).as_real_imag() for j, c in enumerate(coefficients)]
        re, im = (sympy.Poly(numbers[::-1], self._t, extension=True) for numbers in zip(*pairs, strict=True))
        return re, im

    def points(self) -> list[sympy.Expr]:
        """Where the sign can change."""
        return real_roots([factor.as_expr() for factor in self.factors], self._t)

    def stable(self, t: sympy.Rational) -> bool:
        """Whether |R| <= 1 at t."""
        return bool(sympy.prod(factor.eval(t) for factor in self.factors) >= 0)
