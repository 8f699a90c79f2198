"""Sums as people write them: ascending powers, signs between the terms."""

from __future__ import annotations

from collections.abc import Sequence

import sympy

from .resolve import zeta


def starts_negative(polynomial: sympy.Expr) -> bool:
    """Whether the lowest term of a polynomial in its free symbols, or a number, is negative."""
    symbols = sorted(polynomial.free_symbols, key=str)
    lowest = sympy.Poly(polynomial, *symbols).terms()[-1][1] if symbols else polynomial
    return bool(lowest < 0)


def ascending(expression: sympy.Expr) -> str:
    """1 + k where sympy prints k + 1."""
    return str(sympy.sstr(expression, order="rev-lex"))


def join_terms(terms: Sequence[str]) -> str:
    """Terms, each with a leading minus where it is negative, as one sum."""
    total = terms[0]
    for term in terms[1:]:
        total += f" - {term[1:]}" if term.startswith("-") else f" + {term}"
    return total


def polynomial_text(poly: sympy.Poly) -> str:
    """A stability polynomial by descending powers of zeta, e.g. ``zeta**2 - (1 + 3*z/2)*zeta + z/2``."""
    terms = []
    for (power,), coefficient in sympy.Poly(poly.as_expr(), zeta).terms():
        sign = "-" if starts_negative(sympy.expand(coefficient)) else ""
        positive = sympy.expand(-coefficient if sign else coefficient)
        factor = f"({ascending(positive)})" if positive.is_Add else ascending(positive)
        factors = [] if positive == 1 and power else [factor]
        factors += [] if power == 0 else ["zeta"] if power == 1 else [f"zeta**{power}"]
        terms.append(sign + "*".join(factors))
    return join_terms(terms)
