"""Numbers, sets and sums as people write them: ascending powers, signs between the terms."""

from __future__ import annotations

from collections.abc import Sequence

import sympy

DIGITS = 10  # of a number without a short exact form
SHORT = 16  # characters of an exact form
LONGEST = 4000  # characters of displayed LaTeX


def show(number: sympy.Expr) -> str:
    """An exact number or expression for people: as it is where that is short, else its decimals."""
    if number == sympy.oo:
        return "inf"
    exact = ascending(number)
    decimal = not number.free_symbols and (len(exact) > SHORT or number.has(sympy.CRootOf, sympy.Float))
    return f"{float(number):.{DIGITS}g}" if decimal else exact


def show_set(values: sympy.Set) -> str:
    """A set of real numbers in the usual brackets, e.g. (-1, 1]."""
    if isinstance(values, sympy.Interval):
        left, right = "(" if values.left_open else "[", ")" if values.right_open else "]"
        return f"{left}{values.start}, {values.end}{right}"
    if isinstance(values, sympy.Union):
        return " or ".join(show_set(part) for part in values.args)
    return str(values)


def starts_negative(polynomial: sympy.Expr) -> bool:
    """Whether the lowest term of a polynomial in its free symbols, or a number, is negative."""
    symbols = sorted(polynomial.free_symbols, key=str)
    lowest = sympy.Poly(polynomial, *symbols).terms()[-1][1] if symbols else polynomial
    return bool(lowest < 0)


def split_sign(coefficient: sympy.Expr) -> tuple[bool, sympy.Rational, sympy.Expr]:
    """(negative, positive rational factor, rest in factors without one).

    The lowest term of every factor of the rest is made positive: (1 - k), not -(k - 1).
    """
    number, rest = sympy.factor(coefficient).as_coeff_Mul()
    positive = []
    for factor in sympy.Mul.make_args(rest):
        base, exponent = factor.as_base_exp() if factor.free_symbols else (factor, sympy.Integer(1))
        flip = starts_negative(base)
        positive.append((sympy.expand(-base) if flip else base) ** exponent)
        number = -number if flip and exponent % 2 else number
    return bool(number < 0), abs(number), sympy.Mul(*positive)


def ascending(expression: sympy.Expr) -> str:
    """1 + k1 + 2*k2 where sympy prints k1 + 2*k2 + 1: by degree, then by name; 2/3 - sqrt(2)/2."""
    return str(sympy.sstr(expression, order=by_degree if expression.free_symbols else "rev-lex"))


def by_degree(exponents: tuple[int, ...]) -> tuple[int, ...]:
    """A monomial order, the largest first."""
    return (-sum(exponents), *exponents)


def join_terms(terms: Sequence[str]) -> str:
    """Terms, each with a leading minus where it is negative, as one sum."""
    total = terms[0]
    for term in terms[1:]:
        total += f" - {term[1:]}" if term.startswith("-") else f" + {term}"
    return total


def displayed(latex: str) -> str | None:
    """LaTeX, a line for each equation, as a notebook displays it; None where it is too long for that."""
    if len(latex) > LONGEST:
        return None  # a notebook then takes the text
    lines = latex.split("\n")
    body = lines[0] if len(lines) == 1 else r"\begin{gathered} " + r" \\ ".join(lines) + r" \end{gathered}"
    return f"$\\displaystyle {body}$"
