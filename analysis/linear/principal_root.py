"""The principal root: of all zeta(z), the one that approximates e^z. Its series at 0, and its values away from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import sympy

from odenets import Scheme, SchemeError
from odenets.scheme.given_numbers import integer

from .generating_polynomials import effective_step
from .region import amplification_factors
from .resolve import numeric, z, zeta
from .stability import stability_polynomial

Complex = npt.NDArray[np.complex128]
Row = list[Any]  # a power series in z over one field, cut off


def principal_series(scheme: Scheme | str, terms: int, **values: Any) -> list[sympy.Expr]:
    """The first coefficients of the principal root zeta(z) = 1 + a_1 z + a_2 z^2 + ... at z = 0.

    zeta = 1 + z w turns Phi(zeta, z) = 0 into G(w, z) = 0 with a simple root w, also where several
    roots meet in 1 at z = 0 (partitioned schemes: e^z and e^-z); Newton's iteration on power series
    then doubles the number of coefficients each time. a_1 is the effective step.

    Args:
        scheme: a Scheme or a name of the zoo.
        terms: how many coefficients, a_0 = 1 included.
        values: exact numbers for all its symbols.

    Returns:
        Exact numbers a_0 ... a_{terms - 1}.

    Raises:
        SchemeError: a symbol without a value, or no principal root (u' = 0 not kept, or lm at
            k = -1, where two roots 1 +- sqrt(z) meet).

    Source: Hairer & Wanner, Solving Ordinary Differential Equations II (1996), V.1 and V.4.
    """
    terms = integer(terms, "principal root: terms")
    found = numeric(scheme, values, "the principal root", "")
    w = sympy.Dummy("w")
    shifted = sympy.Poly(sympy.expand(stability_polynomial(found).as_expr().subs(zeta, 1 + z * w)), w, z)
    shifted = shifted if shifted.domain.is_ZZ or shifted.domain.is_QQ else shifted.set_domain(_field(shifted))
    lowest = min(power for _, power in shifted.monoms())
    field, size = shifted.domain.get_field(), terms
    rows = [[field.zero] * size for _ in range(shifted.degree(w) + 1)]
    for (i, j), c in shifted.rep.to_dict().items():
        if j - lowest < size:
            rows[i][j - lowest] = field.convert(c, shifted.domain)
    start = _start(found, [row[0] for row in rows], field)
    solution = _newton(rows, start, size, field)
    return [sympy.Integer(1), *(field.to_sympy(c) for c in solution[: terms - 1])]


def _field(poly: sympy.Poly) -> Any:
    """The smallest field that holds the coefficients: an expression domain decides no zero."""
    return sympy.Poly(poly.as_expr(), *poly.gens, extension=True).domain


def _start(scheme: Scheme, lowest: Row, field: Any) -> Any:
    """The w at z = 0: a simple zero of the lowest coefficient of G."""
    while lowest and lowest[-1] == field.zero:
        lowest = lowest[:-1]
    if len(lowest) == 2:
        return -lowest[0] / lowest[1]
    step = effective_step(scheme)
    if len(lowest) > 2 and step != sympy.oo and field.to_sympy(_value(lowest, field.from_sympy(step), field)) == 0:
        slope = [field.from_sympy(sympy.Integer(j)) * c for j, c in enumerate(lowest)][1:]
        if _value(slope, field.from_sympy(step), field) != field.zero:
            return field.from_sympy(step)
    raise SchemeError(
        f"{scheme.name}: got no single root zeta = 1 + c z + ..., expected a scheme that keeps u' = 0 and solves an "
        "equation of first order; use stability_polynomial, which has all its roots"
    )


def _value(row: Row, at: Any, field: Any) -> Any:
    total = field.zero
    for c in reversed(row):
        total = total * at + c
    return total


def _newton(rows: list[Row], start: Any, size: int, field: Any) -> Row:
    """The series w with G(w, z) = 0 mod z^size, w(0) = start, rows the coefficients of w^0, w^1, ... in G."""
    slopes = [[field.from_sympy(sympy.Integer(i)) * c for c in row] for i, row in enumerate(rows)][1:]
    w, known = [start] + [field.zero] * (size - 1), 1
    while known < size:
        known = min(2 * known, size)
        value, slope = (_horner(series, w, known, field) for series in (rows, slopes))
        step = _quotient(value, slope, field)
        w = [a - b for a, b in zip(w, step, strict=False)] + [field.zero] * (size - known)
    return w


def _horner(rows: list[Row], w: Row, size: int, field: Any) -> Row:
    total = [field.zero] * size
    for row in reversed(rows):
        total = [a + b for a, b in zip(_product(total, w, size, field), row, strict=False)]
    return total


def _product(a: Row, b: Row, size: int, field: Any) -> Row:
    return [sum((a[i] * b[n - i] for i in range(n + 1)), field.zero) for n in range(size)]


def _quotient(a: Row, b: Row, field: Any) -> Row:
    found: Row = []
    for n, value in enumerate(a):
        found.append((value - sum((found[i] * b[n - i] for i in range(n)), field.zero)) / b[0])
    return found


class Branch:
    """Numerical continuation of the principal root: the eigenvalue of M(z) nearest to a prediction.

    The prediction follows the tangent of zeta(z) from a point where the root is known.
    """

    def __init__(self, scheme: Scheme) -> None:
        self._scheme = scheme
        phi = stability_polynomial(scheme).as_expr()
        self._parts = [sympy.lambdify((zeta, z), phi.diff(x), "numpy") for x in (z, zeta)]
        self._first = complex(principal_series(scheme, 2)[1])

    def nearest(self, roots: Complex, guess: Complex) -> Complex:
        """Of the roots, shape (..., r), the one nearest to the guess, shape (...), on the Riemann sphere."""
        with np.errstate(invalid="ignore"):
            distance = np.abs(roots - guess[..., None]) / np.sqrt(1 + np.abs(roots) ** 2)
        chosen = np.argmin(np.where(np.isnan(distance), np.inf, distance), axis=-1)
        return np.take_along_axis(roots, chosen[..., None], axis=-1)[..., 0]

    def predict(self, known: Complex, at: Complex, to: Complex) -> Complex:
        """The tangent of zeta, or of 1/zeta where that is the smaller, so that poles are passed.

        Where that is not finite e^(c to), c the effective step.
        """
        with np.errstate(all="ignore"):
            top, bottom = (part(known, at) + np.zeros_like(known) for part in self._parts)
            step = np.where(at == 0, self._first, -top / bottom) * (to - at)
            guess = np.where(np.abs(known) <= 1, known + step, known / (1 - step / known))
            return np.where(np.isfinite(guess), guess, np.exp(self._first * to))

    def along(self, path: Complex) -> Complex:
        """The root at the points of a path that starts near 0 and goes in small steps; shape (points,)."""
        roots = amplification_factors(self._scheme, path)
        found = np.empty(len(path), dtype=complex)
        at, known = np.asarray(0j), np.asarray(1 + 0j)
        for n, point in enumerate(path):
            known = self.nearest(roots[n], self.predict(known, at, point))
            found[n], at = known, point
        return found
