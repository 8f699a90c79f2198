"""Terms c h^m F as people write them: ``- (1 - k) h/(2 (1 + k)^3) f'f``."""

from __future__ import annotations

import sympy

from ..text.expressions import ascending, by_degree, split_sign

LARGEST = 10**9  # numerators and denominators beyond are those of schemes known in decimals
DIGITS = 10


def text_term(coefficient: sympy.Expr, power: int, factor: str) -> str:
    """One term of a sum, with a leading minus where it is negative."""
    negative, number, rest = split_sign(coefficient)
    above, below = sympy.fraction(rest)
    p, q = _parts(number)
    top = [*p, *filter(None, map(_factor, sympy.Mul.make_args(above)))]
    top += [] if power == 0 else ["h" if power == 1 else f"h^{power}"]
    bottom = [*q, *filter(None, map(_factor, sympy.Mul.make_args(below)))]
    divisor = "" if not bottom else f"/{bottom[0]}" if len(bottom) == 1 else f"/({' '.join(bottom)})"
    sign = "-" if negative else ""
    return f"{sign}{' '.join(top)}{divisor} {factor}" if top else f"{sign}{factor}{divisor}"


def latex_term(coefficient: sympy.Expr, power: int, factor: str) -> str:
    """The same for LaTeX's mathematics mode."""
    negative, number, rest = split_sign(coefficient)
    above, below = sympy.fraction(rest)
    p, q = _parts(number)
    h = [] if power == 0 else [sympy.latex(sympy.Symbol("h") ** power)]
    top = [*p, *filter(None, map(_latex_factor, sympy.Mul.make_args(above))), *h]
    bottom = [*q, *filter(None, map(_latex_factor, sympy.Mul.make_args(below)))]
    sign = "-" if negative else ""
    if not bottom:
        return sign + " ".join([*top, factor])
    if len(bottom) == 1 and below.is_Add:
        bottom = [sympy.latex(below, order=by_degree)]
    over = rf"\frac{{{' '.join(top) or factor}}}{{{' '.join(bottom)}}}"
    return f"{sign}{over} {factor}" if top else sign + over


def _parts(number: sympy.Rational) -> tuple[list[str], list[str]]:
    """Numerator and denominator, none for 1; a decimal where they are long."""
    if max(number.p, number.q) > LARGEST:
        return [f"{float(number):.{DIGITS}g}"], []
    return [] if number.p == 1 else [str(number.p)], [] if number.q == 1 else [str(number.q)]


def _power(part: sympy.Expr) -> tuple[sympy.Expr, sympy.Expr]:
    return part.as_base_exp() if part.free_symbols else (part, sympy.Integer(1))


def _factor(part: sympy.Expr) -> str:
    """One factor, in brackets if it is a sum; empty for 1."""
    base, exponent = _power(part)
    name = ascending(base).replace("**", "^").replace("*", " ")
    name = f"({name})" if base.is_Add else name
    return "" if part == 1 else name if exponent == 1 else f"{name}^{exponent}"


def _latex_factor(part: sympy.Expr) -> str:
    base, exponent = _power(part)
    name = sympy.latex(base, order=by_degree)
    name = rf"\left({name}\right)" if base.is_Add else name
    return "" if part == 1 else name if exponent == 1 else f"{name}^{{{exponent}}}"
