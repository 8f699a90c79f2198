"""A scheme written so that every carried value is a solution at some time, as monotonicity needs it."""

from __future__ import annotations

import sympy

from odenets import Scheme, SchemeError
from odenets.scheme.multistep_form import stage_shift

from .generating_polynomials import multistep_polynomials
from .irreducible import Form, irreducible
from .resolve import zeta


def value_form(scheme: Scheme) -> Form:
    """(A, U, B, V) of an equivalent scheme whose stages and carried values are all approximations of u.

    Carried slopes h f(u_{n-j}) are replaced by the values they were taken at, f being evaluated
    there again: a slope is no approximation of u, and no convex combination can hold it. Stages
    that nothing depends on are left out.

    Raises:
        SchemeError: several components, u' = 0 not kept, stages that do not start from u (PolyNet),
            or a carried value that is neither a solution nor a slope that was merely kept (ALF's
            velocity).
    """
    _refuse(scheme)
    if stage_shift(scheme) is not None:
        form = _from_polynomials(scheme)
        return irreducible(form, [0] * form[0].rows)[0]
    form = _merged(_slopes_as_values(scheme))
    added = form[0].rows - scheme.stages
    # What a carried slope was taken of is not followed: with several functions an added stage stays by itself.
    colours = [*scheme.colours, *(range(-added, 0) if scheme.several else [0] * added)]
    return irreducible(form, colours)[0]


def _refuse(scheme: Scheme) -> None:
    got = ""
    if scheme.components > 1:
        got = f"{scheme.components} components, each moved by a function of another"
    elif not scheme.series.preconsistent:
        got = "a step that does not keep u' = 0"
    elif scheme.linear_only:
        got = "a stage that does not start from u"
    elif scheme.Gamma is not None:
        got = "slopes with f'(u) in them"
    if got:
        raise _undefined(scheme, got)


def _undefined(scheme: Scheme, got: str) -> SchemeError:
    return SchemeError(
        f"{scheme.name}: the SSP coefficient got {got}, expected a scheme whose values can be convex combinations "
        "of Euler steps; use real_interval or is_stable for its linear stability"
    )


def _from_polynomials(scheme: Scheme) -> Form:
    """u_{n+k} = sum_j -rho_j u_{n+j} + h sum_j sigma_j f(u_{n+j}), a stage for each u_{n+k-1} ... u_n and one ahead."""
    rho, sigma = multistep_polynomials(scheme)
    k = max(int(rho.degree()), int(sigma.degree()))
    a = [-rho.coeff_monomial(zeta**j) for j in reversed(range(k))]
    b = [sigma.coeff_monomial(zeta**j) for j in reversed(range(k))]
    new = sigma.coeff_monomial(zeta**k)
    ahead, past = sympy.Matrix([[*b, new]]), sympy.Matrix([a])
    A = sympy.zeros(k, k + 1).col_join(ahead)
    U = sympy.eye(k).col_join(past)
    B = ahead.col_join(sympy.zeros(k - 1, k + 1))
    V = past.col_join(sympy.eye(k)[: k - 1, :])
    return A, U, B, V


def _slopes_as_values(scheme: Scheme) -> Form:
    """For each carried slope the value it was taken at, and a stage that evaluates f there."""
    constants = [scheme.series.to_sympy(c) for c in scheme.series.constants[0]]
    slopes = [i for i, c in enumerate(constants) if c == 0]
    if any(c not in (0, 1) for c in constants):
        raise _undefined(scheme, f"carried values that are {constants} times the solution")
    s, r, extra = scheme.stages, scheme.carried, len(slopes)

    def split(weights: sympy.MatrixBase, carried: sympy.MatrixBase) -> tuple[sympy.Matrix, sympy.Matrix]:
        left = sympy.Matrix(carried)
        moved = left.extract(list(range(left.rows)), slopes) if slopes else sympy.zeros(left.rows, 0)
        for j in slopes:
            left[:, j] = sympy.zeros(left.rows, 1)
        return sympy.Matrix(weights).row_join(moved), left

    (A, U), (B, V) = split(scheme.A, scheme.U), split(scheme.B, scheme.V)
    for j in slopes:
        kind, i = _origin(scheme, j, slopes)
        B[j, :] = A[i, :] if kind == "stage" else sympy.zeros(1, s + extra)
        V[j, :] = U[i, :] if kind == "stage" else sympy.eye(r)[i, :]
    at_slopes = sympy.Matrix(extra, r, lambda i, j: int(slopes[i] == j))
    return A.col_join(sympy.zeros(extra, s + extra)), U.col_join(at_slopes), B, V


def _origin(scheme: Scheme, j: int, slopes: list[int]) -> tuple[str, int]:
    """Which stage's slope, or which carried slope, the carried value j is a copy of."""
    stages = [(i, w) for i, w in enumerate(scheme.B.row(j)) if w != 0]
    carried = [(i, w) for i, w in enumerate(scheme.V.row(j)) if w != 0]
    if len(stages) == 1 and not carried and stages[0][1] == 1:
        return "stage", stages[0][0]
    if len(carried) == 1 and not stages and carried[0][1] == 1 and carried[0][0] in slopes:
        return "carried", carried[0][0]
    raise _undefined(scheme, f"a velocity as carried value {j + 1}, which mixes slopes of several steps")


def _merged(form: Form) -> Form:
    """Carried values with the same update are the same value: one is enough, with both columns' weights."""
    A, U, B, V = form
    for i in range(V.rows):
        for j in range(i + 1, V.rows):
            if B.row(i) == B.row(j) and V.row(i) == V.row(j):
                for matrix in (U, V):
                    matrix[:, i] += matrix[:, j]
                    matrix.col_del(j)
                for matrix in (B, V):
                    matrix.row_del(j)
                return _merged((A, U, B, V))
    return form
