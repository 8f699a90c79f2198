"""Strong stability preservation: how large a step stays a convex combination of Euler steps."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import sympy
from sympy.polys.matrices import DomainMatrix

from odenets import Scheme

from .resolve import numeric
from .root_condition import between, real_roots
from .value_form import Form, value_form

r = sympy.Dummy("r", real=True)
Fractions = set[tuple[sympy.Poly, sympy.Poly]]


def ssp_coefficient(scheme: Scheme | str, **values: Any) -> sympy.Expr:
    """The radius of absolute monotonicity: the largest r for which, with N = (I + r A)^-1,

        N U >= 0,   N A >= 0,   V - r B N U >= 0,   B N >= 0,

    entry by entry. If Euler steps up to tau do not increase a convex functional, the scheme does
    not for h <= r tau. For Runge-Kutta schemes this is Kraaijevanger's radius, for linear multistep
    schemes (read through rho and sigma) min alpha_j / beta_j with all coefficients nonnegative.
    Carried slopes are replaced by the values they were taken at. The entries are rational functions
    of r; their zeros and poles are found exactly, and one point between each two is tested.

    Args:
        scheme: a Scheme or a name of the zoo.
        values: exact numbers for all its symbols, e.g. ``k="1/2"``.

    Returns:
        An exact number, 0 where no step is contractive, or oo (backward Euler); a Float of the
        known digits where the coefficients are decimals. With several functions of one state (way2)
        tau is the step every one of them allows by itself.

    Raises:
        SchemeError: a symbol without a value; or a scheme whose values are no convex combinations
            whatever the step: partitioned, u' = 0 not kept, PolyNet's stages, a velocity.

    Source: Kraaijevanger (1991), Contractivity of Runge-Kutta Methods; Spijker (2007), Stepsize
        Conditions for General Monotonicity in Numerical Initial Value Problems.
    """
    found = numeric(scheme, values, "the SSP coefficient", "")
    form = value_form(found)
    if found.digits is not None:
        form = _without_rounding(form, found.tolerance)
    if any(x.is_negative for block in form for x in block):
        return sympy.Integer(0)  # the limits r -> 0 of the entries
    coefficient = _first_negative(_entries(form))
    known = found.digits is None or coefficient in (0, sympy.oo)
    return coefficient if known else sympy.Float(coefficient, found.digits)


def _without_rounding(form: Form, tolerance: sympy.Expr) -> Form:
    """Entries that are 0 but for the rounding of published decimals become 0."""
    A, U, B, V = (block.applyfunc(lambda x: sympy.Integer(0) if abs(x) < tolerance else x) for block in form)
    return A, U, B, V


def _entries(form: Form) -> Fractions:
    """The distinct entries of the four matrices as (numerator, denominator) in r."""
    size = form[0].rows
    blocks = [DomainMatrix.from_Matrix(block, extension=True) for block in (*form, r * sympy.eye(size))]
    A, U, B, V, scale = (block.to_field() for block in DomainMatrix.unify(*blocks, fmt="sparse"))
    inverse = (DomainMatrix.eye(size, A.domain) + scale * A).inv()
    matrices = [inverse * U, inverse * A, V - B * scale * inverse * U, B * inverse]
    distinct = {x for matrix in matrices for row in matrix.to_dense().rep.to_list() for x in row}
    return {_polynomials(A.domain.to_sympy(x)) for x in distinct}


def _polynomials(entry: sympy.Expr) -> tuple[sympy.Poly, sympy.Poly]:
    top, bottom = sympy.fraction(entry)
    return sympy.Poly(top, r, extension=True), sympy.Poly(bottom, r, extension=True)


def _first_negative(entries: Fractions) -> sympy.Expr:
    """The least r >= 0 beyond which some entry is negative."""
    factors = {part.as_expr() for entry in entries for part in entry}
    points = [x for x in real_roots(sorted(factors, key=sympy.default_sort_key), r) if x > 0]
    for low, high in pairwise([sympy.Integer(0), *points, sympy.oo]):
        point = between(low, high)
        if any(top.eval(point) * bottom.eval(point) < 0 for top, bottom in entries):
            return low
    return sympy.oo
