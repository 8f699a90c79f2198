"""Exact numbers: what may stand in a scheme, and the small linear algebra the schemes need."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import sympy
from sympy.polys.constructor import construct_domain

from .errors import SchemeError
from .given_numbers import DOUBLE_DIGITS, as_python, cut_fraction, is_float, short_fraction

Entries = Sequence[Sequence[Any]]
#: Larger in its 15 decimals, an exact number is not 0.
ROUNDING = 1e-9


def exact(value: Any, where: str = "coefficient") -> sympy.Expr:
    """``value`` as an exact sympy number or expression.

    Takes int, Fraction, a string such as ``"1/4"``, NumPy's integers, or a sympy expression: an algebraic
    number, or a rational function of free symbols, which are the learnable coefficients. A float stands
    for the short decimal, or the fraction, that it is but for rounding: 0.1 for 1/10, and 1/3 computed by Python
    for 1/3. One that is neither is read digit by digit, and :func:`rounded_digits` says so. 0.333 is refused: it is
    not 1/3, and a scheme whose order is derived from its entries would silently become one of order 0. So are
    pi, exp(k) and the like: conditions on them cannot be decided exactly. An expression that is
    identically 0 becomes 0.

    Raises:
        SchemeError: for a NaN, an infinity, a complex number, or anything else.
    """
    value = value if is_float(value) else as_python(value)
    if is_float(value):
        return _exact_float(value, where)
    if isinstance(value, bool) or not isinstance(value, (int, Fraction, str, sympy.Expr)):
        raise SchemeError(
            f"{where}: got {value!r} of type {type(value).__name__}, expected an exact entry; "
            'write an int, a Fraction, a string such as "1/3", or a sympy expression'
        )
    try:
        number = sympy.Rational(value) if isinstance(value, str) else sympy.sympify(value)
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise SchemeError(f"{where}: got {value!r}, expected a finite fraction such as '1/3'") from error
    # 0.5 in 1 - 0.5 k is read as 0.5 alone is.
    floats = [x for x in number.atoms(sympy.Float) if short_fraction(float(x)) is not None]
    number = number.xreplace({x: _exact_float(float(x), where) for x in floats})
    if number.is_Rational:
        return number
    if number.has(sympy.nan, sympy.oo, sympy.zoo, sympy.Float, sympy.I) or number.is_real is False:
        raise SchemeError(f"{where}: got {value!r}, expected a finite, real, exact entry")
    if number.has(sympy.NumberSymbol, sympy.Function) or not number.is_rational_function(*number.free_symbols):
        raise SchemeError(
            f"{where}: got {value!r}, expected an algebraic number or a rational function of the learnable "
            "coefficients; put such a function where the coefficient's value is computed"
        )
    if number.free_symbols:
        return sympy.cancel(number)
    # The exact test simplifies, which takes half of the time in which the zoo is made: only where decimals say 0.
    return sympy.Integer(0) if abs(number.n()) < ROUNDING and number.equals(0) else number


def _exact_float(value: Any, where: str) -> sympy.Rational:
    plain = as_python(value)
    if not math.isfinite(plain):
        raise SchemeError(f"{where}: got {value!r}, expected a finite, real, exact entry")
    found = short_fraction(value)
    if found is None and isinstance(value, float):  # a double: NumPy's is a subclass of Python's
        found = Fraction(repr(plain))
    if found is None:
        raise SchemeError(
            f"{where}: got {value!r}, a number of single precision or less, expected one of 15 digits (float64) or "
            "an exact one; compute the entries in float64"
        )
    if (simple := cut_fraction(found)) is not None:
        raise SchemeError(
            f'{where}: got {plain!r}, expected an exact entry; write "{simple}" if that is meant, else "{plain!r}"'
        )
    return sympy.Rational(found.numerator, found.denominator)


def rounded_digits(*blocks: Any) -> int | None:
    """15 where an entry of these matrices or rows is a float that stands for no short number; None where none is."""
    for block in blocks:
        if isinstance(block, (str, sympy.Basic, sympy.MatrixBase, type(None))):
            continue
        if getattr(block, "ndim", 0) or isinstance(block, (list, tuple)):
            if any(rounded_digits(entry) for entry in block):
                return DOUBLE_DIGITS
        elif is_float(block) and math.isfinite(as_python(block)) and short_fraction(block) is None:
            return DOUBLE_DIGITS
    return None


def tolerance(digits: int) -> sympy.Rational:
    """What a condition on decimals may miss: 100 units of the last digit."""
    return sympy.Rational(100, 10**digits)


def exact_matrix(entries: Entries | sympy.MatrixBase, where: str) -> sympy.ImmutableDenseMatrix:
    """``entries`` (rows of equal length) as an immutable exact matrix."""
    rows = entries.tolist() if isinstance(entries, sympy.MatrixBase) else [list(row) for row in entries]
    if not rows or any(len(row) != len(rows[0]) for row in rows) or not rows[0]:
        raise SchemeError(
            f"{where}: got rows of lengths {[len(row) for row in rows]}, expected at least one row, all of one length"
        )
    return sympy.ImmutableDenseMatrix(
        [[exact(x, f"{where}[{i}][{j}]") for j, x in enumerate(row)] for i, row in enumerate(rows)]
    )


def is_zero(value: sympy.Expr) -> bool:
    """Whether an exact number or expression is identically zero."""
    if value.is_Rational:
        return bool(value == 0)
    return bool(sympy.simplify(sympy.cancel(value)) == 0)


def rational(value: Any, where: str) -> sympy.Rational:
    """A user's number for a symbol as an exact rational; a float as the short number that it is but for rounding."""
    plain, expected = as_python(value), "expected a finite real number"
    if isinstance(plain, bool) or (isinstance(plain, float) and not math.isfinite(plain)):
        raise SchemeError(f"{where}: got {value!r}, {expected}")
    # In the digits of its own type: NumPy's float32 0.1 is 1/10.
    text = str(short_fraction(value) or repr(plain)) if isinstance(plain, float) else plain
    try:
        number = sympy.Rational(text)
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise SchemeError(f"{where}: got {value!r}, {expected}") from error
    if number.has(sympy.nan, sympy.oo, sympy.zoo):
        raise SchemeError(f"{where}: got {value!r}, {expected}")
    return number


def independent_rows(matrix: sympy.MatrixBase, order: Sequence[int]) -> list[int]:
    """Indices of linearly independent rows, taken greedily in the given order."""
    chosen: list[int] = []
    for row in order:
        if matrix.extract([*chosen, row], list(range(matrix.cols))).rank() == len(chosen) + 1:
            chosen.append(row)
    return chosen


def common_field(entries: Sequence[sympy.Expr]) -> tuple[Any, list[Any]]:
    """The smallest field that holds all entries, and the entries as its elements.

    The rationals, an algebraic number field, or rational functions of the free symbols over one of
    these. sympy finds them but for surds beside symbols, where it falls back on expressions, whose
    zero test is a heuristic; there the field is put together here.

    Raises:
        SchemeError: entries in no such field.
    """
    symbols = sorted(set().union(*(x.free_symbols for x in entries)), key=str)
    powers = set().union(*(x.atoms(sympy.Pow) for x in entries))
    surds = sorted((x for x in powers if not x.free_symbols and not x.is_rational), key=sympy.default_sort_key)
    if symbols and surds:
        base, _ = construct_domain(surds, extension=True, field=True)
        field = base.frac_field(*symbols)
        return field, [field.from_sympy(x) for x in entries]
    field, elements = construct_domain(list(entries), extension=True, field=True)
    if field.is_EX:
        raise SchemeError(f"got entries {list(entries)}, expected algebraic numbers and rational functions of symbols")
    return field, elements


def spectral_radius(matrix: sympy.MatrixBase) -> sympy.Expr:
    """Largest modulus of an eigenvalue: exact where it belongs to a factor of degree 1 or 2, else to 20 digits.

    With free symbols, the largest of all as an expression in them.

    Raises:
        SchemeError: with free symbols, where the eigenvalues have no formula.
    """
    zeta = sympy.Symbol("zeta")
    poly = matrix.charpoly(zeta)
    if poly.as_expr().free_symbols - {zeta}:
        roots = sympy.roots(poly)
        if sum(roots.values()) < poly.degree():
            raise SchemeError(
                f"got eigenvalues without a formula in {sorted(map(str, poly.free_symbols_in_domain))}, expected "
                "numbers; put numbers in their place with substitute()"
            )
        return sympy.Max(*(sympy.Abs(root) for root in roots))
    moduli: list[sympy.Expr] = []
    for factor, _ in poly.factor_list()[1]:
        if factor.degree() <= 2:
            moduli += [sympy.sqrt(sympy.expand(root * sympy.conjugate(root))) for root in sympy.roots(factor)]
        else:
            moduli += [abs(root) for root in factor.nroots(n=20)]
    return max(moduli, key=float)
