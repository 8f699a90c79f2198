"""The root condition, decided exactly: all roots in the closed unit disc, those on its rim simple.

Two questions are answered without a floating-point number. At one parameter value: Miller's
recursion on the coefficients. Along a line of parameter values: the points where a root can reach
or leave the unit circle are real roots of resultants, and between two of them nothing changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sympy
from sympy.polys.constructor import construct_domain

Complex = tuple[Any, Any]  # real and imaginary part, elements of one real field


def satisfies_root_condition(coefficients: Sequence[sympy.Expr]) -> bool:
    """Whether a polynomial with exact complex coefficients (highest first) meets the root condition.

    A vanishing leading coefficient is a root at infinity: False.

    Source: J. J. H. Miller, On the location of zeros of certain classes of polynomials with
    applications to numerical analysis (1971), theorem 6.2 (simple von Neumann polynomials).
    """
    parts = [part for c in coefficients for part in sympy.sympify(c).as_real_imag()]
    field, numbers = construct_domain(parts, extension=True, field=True)
    pairs: list[Complex] = list(zip(numbers[::2], numbers[1::2], strict=True))
    if pairs[0] == (field.zero, field.zero):
        return False
    return _simple_von_neumann(pairs[::-1], field)


def _simple_von_neumann(poly: list[Complex], field: Any) -> bool:
    """Lowest coefficient first, the highest not 0."""
    if len(poly) == 1:
        return True
    reduced = _reduce(poly)
    if all(re == field.zero and im == field.zero for re, im in reduced):
        # poly equals its reciprocal conjugate: its roots come in pairs mirrored at the circle.
        return _schur([(j * re, j * im) for j, (re, im) in enumerate(poly)][1:], field)
    return _shrinks(poly, field) and _simple_von_neumann(reduced, field)


def _schur(poly: list[Complex], field: Any) -> bool:
    """Whether all roots lie in the open disc."""
    return len(poly) == 1 or (_shrinks(poly, field) and _schur(_reduce(poly), field))


def _shrinks(poly: list[Complex], field: Any) -> bool:
    """|a_0| < |a_n|."""
    (a, b), (c, d) = poly[0], poly[-1]
    gap = c * c + d * d - a * a - b * b
    # Elements of a number field compare to zero exactly; sympy then evaluates until the sign shows.
    return bool(gap != field.zero and field.to_sympy(gap) > 0)


def _reduce(poly: list[Complex]) -> list[Complex]:
    """(conj(a_n) p(zeta) - a_0 p*(zeta)) / zeta with p* the reciprocal conjugate polynomial."""
    n = len(poly) - 1
    (p, q), (r, s) = poly[0], poly[n]
    return [
        (
            r * poly[j + 1][0] + s * poly[j + 1][1] - p * poly[n - 1 - j][0] - q * poly[n - 1 - j][1],
            r * poly[j + 1][1] - s * poly[j + 1][0] + p * poly[n - 1 - j][1] - q * poly[n - 1 - j][0],
        )
        for j in range(n)
    ]


def crossings(poly: sympy.Poly, t: sympy.Symbol) -> list[sympy.Expr]:
    """All real t, sorted, at which the root condition of ``poly`` (in zeta, over Q(i)[t]) can change.

    On the circle zeta = (i v + 1)/(i v - 1) with real v (v = oo is zeta = 1), so a root there is a
    real common zero of the two real polynomials re + i im = (i v - 1)^d poly. Their common factor
    holds the roots that lie on the circle, or in mirrored pairs, whatever t is; those change at a
    zero of its discriminant. The others reach the circle at a zero of the resultant of what is left.
    A superset is harmless: the verdict is taken between the points.
    """
    v = sympy.Dummy("v", real=True)
    re, im = _on_circle(poly, v, t)
    common = re.gcd(im)
    rest_re, rest_im = re.quo(common), im.quo(common)
    found = [_at_infinity(re, im, t)]
    if not rest_im.is_zero and not rest_re.is_zero:
        found.append(rest_re.resultant(rest_im).as_expr())
    if common.degree(v) > 0:
        found.append(common.sqf_part().discriminant().as_expr())
    return real_roots(found, t)


def _on_circle(poly: sympy.Poly, v: sympy.Symbol, t: sympy.Symbol) -> tuple[sympy.Poly, sympy.Poly]:
    """Real and imaginary part of (i v - 1)^d poly((i v + 1)/(i v - 1)) as polynomials in (v, t)."""
    i = sympy.I
    coefficients = poly.all_coeffs()
    d = len(coefficients) - 1
    mapped = sum(c * (i * v + 1) ** (d - j) * (i * v - 1) ** j for j, c in enumerate(coefficients))
    terms = sympy.Poly(sympy.expand(mapped), v, t).terms()
    split = [(monomial, *c.as_real_imag()) for monomial, c in terms]
    re = sympy.Add(*(a * v**m * t**n for (m, n), a, _ in split))
    im = sympy.Add(*(b * v**m * t**n for (m, n), _, b in split))
    return sympy.Poly(re, v, t, extension=True), sympy.Poly(im, v, t, extension=True)


def _at_infinity(re: sympy.Poly, im: sympy.Poly, t: sympy.Symbol) -> sympy.Expr:
    """A polynomial whose real zeros are the t at which a root passes v = oo, that is zeta = 1."""
    v = re.gens[0]
    degree = max(part.degree(v) for part in (re, im) if not part.is_zero)
    lead_re, lead_im = (part.as_expr().expand().coeff(v, degree) for part in (re, im))
    return sympy.gcd(lead_re, lead_im, t, extension=True)


def real_roots(polynomials: Iterable[sympy.Expr], t: sympy.Symbol) -> list[sympy.Expr]:
    """The distinct real zeros of all these polynomials in t, sorted, as exact numbers."""
    product = sympy.Poly(1, t)
    for expression in polynomials:
        poly = sympy.Poly(expression, t, extension=True)
        if poly.is_zero or poly.is_ground:
            continue
        # The norm has rational coefficients and all the zeros of a polynomial with surds in it.
        rational = poly if poly.domain.is_ZZ or poly.domain.is_QQ else poly.norm()
        product = product.lcm(rational.sqf_part())
    return list(product.real_roots()) if product.degree() > 0 else []


def between(low: sympy.Expr, high: sympy.Expr) -> sympy.Rational:
    """A rational number strictly between two exact ones, its denominator a small power of 2."""
    scale = 1
    while True:
        start = low if low.is_finite else (high - 1 if high.is_finite else sympy.Integer(-1))
        candidate = sympy.Rational(int(start * scale) + 1, scale)
        if candidate < high:
            return candidate
        scale *= 2
