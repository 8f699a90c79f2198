"""Linear stability, symbolically: what a scheme does to u' = lambda u, with z = h lambda."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import sympy
from sympy.polys.matrices import DomainMatrix

from odenets import Scheme, SchemeError

from .resolve import resolve, z, zeta


def stability_matrix(scheme: Scheme | str, **values: Any) -> sympy.ImmutableDenseMatrix:
    """M(z) = V + z B (I - z A)^-1 U, the matrix one step multiplies the carried values by.

    Where the step evaluates several functions, f_g(u) = z u for each that is alone in mapping its
    component, and z/m u for each of m that share one: x' = z y, y' = z x for RevNet and Verlet,
    whose eigenvalues are z and -z, so that z = i y is the oscillator of frequency y.

    Args:
        scheme: a Scheme or a name of the zoo.
        values: exact numbers for its symbols, e.g. ``k="-1/2"``; the others stay symbolic.

    Returns:
        An r x r matrix of rational functions in :data:`odenets.analysis.z`.

    Raises:
        SchemeError: values that do not fit the scheme.

    Source: Butcher, Numerical Methods for Ordinary Differential Equations (2008), section 52.
    """
    return _matrix(resolve(scheme, values))


@lru_cache(maxsize=256)
def _matrix(scheme: Scheme) -> sympy.ImmutableDenseMatrix:
    """Entry by entry, V_ij - 1 + det(I - z A + z U_j B_i) / det(I - z A): the matrix determinant lemma.

    Two characteristic polynomials over the numbers replace the inverse of a matrix of rational
    functions, which took seconds for twelve stages in a field with surds.
    """
    slopes = sympy.diag(*shares(scheme))
    A, B = scheme.linear_A * slopes, scheme.B * slopes
    below = _determinant(A)
    settled = _rounded(below, scheme)

    def entry(i: int, j: int) -> sympy.Expr:
        above = _determinant(A - scheme.U.col(j) * B.row(i)) + (scheme.V[i, j] - 1) * below
        top, bottom = _settle(above, settled, scheme).cancel(settled, include=True)
        return top.as_expr() / bottom.as_expr()

    return sympy.ImmutableDenseMatrix(scheme.carried, scheme.carried, entry)


def shares(scheme: Scheme) -> list[sympy.Rational]:
    """For each stage the part of u' = f its function stands for: 1/m where m functions map alike."""
    maps = scheme.functions
    return [sympy.Rational(1, maps.count(maps[colour])) for colour in scheme.colours]


def _determinant(matrix: sympy.MatrixBase) -> sympy.Poly:
    """det(I - z matrix), its coefficients in the smallest field: those of R(z) often lose A's surds."""
    exact = DomainMatrix.from_Matrix(sympy.Matrix(matrix), extension=True).to_field()
    coefficients = [exact.domain.to_sympy(c) for c in exact.charpoly()]
    return sympy.Poly(coefficients[::-1], z, extension=True)


def _settle(top: sympy.Poly, bottom: sympy.Poly, scheme: Scheme) -> sympy.Poly:
    """The numerator of R(z) of a scheme known in decimals: that of exp(z) times the denominator up to the order.

    That is what order p on u' = lambda u means, 1/j! at z^j where the scheme is explicit. The rounding of published
    decimals must not decide whether the imaginary axis is stable, which hangs on the sign of coefficients that cancel
    exactly.
    """
    if scheme.digits is None or scheme.carried > 1:
        return _rounded(top, scheme)
    rounded = _rounded(top, scheme)
    known, settled, order = bottom.all_coeffs()[::-1], [], scheme.linear_order
    # Of an explicit scheme of many stages the coefficients are small, and cancel.
    more = scheme.stages**2 if scheme.explicit else 0
    for j, c in enumerate(reversed(rounded.all_coeffs())):
        exact = sum(q / sympy.factorial(j - i) for i, q in enumerate(known[: j + 1]))
        settled.append(exact if j <= order else to_digits(c, scheme.digits + more))
    return sympy.Poly(settled[::-1], z)


def _rounded(poly: sympy.Poly, scheme: Scheme) -> sympy.Poly:
    """Of a scheme known in decimals the coefficients to its digits, and where they are a simple fraction so far, that.

    The stability function of Gauss with four stages is a Pade approximant, its coefficients rational though
    the tableau's are not; with the last digits of the tableau it would not have modulus 1 on the
    imaginary axis. Not of a Rosenbrock scheme, whose denominator is the product of 1 - gamma_ii z, which are given.
    """
    if scheme.digits is None or scheme.explicit or scheme.Gamma is not None:
        return poly
    # So few denominators that a number of so many digits is near none of them by chance.
    limit, kept = 10 ** (2 * (scheme.digits - 10) // 5), scheme.digits - 2
    settled = []
    for coefficient in poly.all_coeffs():
        simple = sympy.Rational(coefficient).limit_denominator(limit)
        near = abs(simple - coefficient) < sympy.Rational(1, 10**kept)
        settled.append(simple if near else to_digits(coefficient, kept))
    return sympy.Poly(settled, z)


def to_digits(number: sympy.Expr, digits: int) -> sympy.Rational:
    """A number rounded to so many decimals, as a rational."""
    return sympy.Rational(round(number * 10**digits), 10**digits)


def stability_function(scheme: Scheme | str, **values: Any) -> sympy.Expr:
    """R(z) = 1 + z b (I - z A)^-1 1 of a scheme that carries the solution alone.

    Raises:
        SchemeError: a scheme that carries more than one value has no R(z), but several roots.

    Source: Hairer & Wanner, Solving Ordinary Differential Equations II (1996), IV.3.
    """
    found = resolve(scheme, values)
    if found.carried != 1:
        raise SchemeError(
            f"{found.name} carries {found.carried} values from step to step, expected 1 for a stability "
            "function R(z); use stability_polynomial, whose roots play its part"
        )
    return stability_matrix(found)[0, 0]


def characteristic(matrix: sympy.MatrixBase) -> sympy.Expr:
    """det(zeta I - matrix), entries in lowest terms."""
    exact = DomainMatrix.from_Matrix(sympy.Matrix(matrix), extension=True).to_field()
    coefficients = [exact.domain.to_sympy(c) for c in exact.charpoly()]
    return sum((c * zeta**j for j, c in enumerate(reversed(coefficients))), start=sympy.Integer(0))


def stability_polynomial(scheme: Scheme | str, **values: Any) -> sympy.Poly:
    """Phi(zeta, z): the numerator of det(zeta I - M(z)), whose roots zeta one step amplifies by.

    For a linear multistep scheme this is rho(zeta) - z sigma(zeta). Normalised so that the leading
    coefficient in zeta is 1 at z = 0. Factors zeta^m, which carried slopes bring in, are removed:
    they never decide about stability, and without them the textbook's polynomial appears.

    Returns:
        A sympy Poly in (zeta, z); symbols without a value stay in its coefficients.

    Raises:
        SchemeError: values that do not fit the scheme.

    Source: Hairer & Wanner, Solving Ordinary Differential Equations II (1996), V.1.
    """
    return _polynomial(resolve(scheme, values))


@lru_cache(maxsize=256)
def _polynomial(scheme: Scheme) -> sympy.Poly:
    return numerator(characteristic(_matrix(scheme)))


def numerator(expression: sympy.Expr) -> sympy.Poly:
    """Numerator of a rational function in (zeta, z) without factors zeta^m, normalised as Phi is."""
    top, _ = sympy.fraction(sympy.cancel(expression, extension=True))
    poly = sympy.Poly(top, zeta, z, extension=True)
    lowest = min(power for power, _ in poly.monoms())
    poly = poly.exquo(sympy.Poly(zeta**lowest, zeta, z, domain=poly.domain))
    lead = poly.coeff_monomial((poly.degree(zeta), 0))
    scaled = sympy.expand(sympy.cancel(poly.as_expr() / lead, extension=True))
    return sympy.Poly(scaled, zeta, z, extension=True)
