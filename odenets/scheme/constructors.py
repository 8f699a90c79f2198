"""Runge-Kutta and linear multistep schemes from the coefficients of their textbooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sympy

from .errors import SchemeError
from .exact import Entries, exact, exact_matrix, rounded_digits, tolerance
from .scheme import Scheme

Init = Mapping[str, tuple[float, float]]


def runge_kutta(
    name: str,
    A: Entries,
    b: Sequence[Any],
    c: Sequence[Any] | None = None,
    *,
    embedded: Sequence[Any] | None = None,
    third: Sequence[Any] | None = None,
    fsal: bool = False,
    modules: Sequence[int] = (),
    digits: int | None = None,
    reference: str = "",
    init: Init | None = None,
) -> Scheme:
    """A Runge-Kutta scheme from its Butcher tableau,

        Y_i = u_n + h sum_j A_ij F(Y_j),   u_{n+1} = u_n + h sum_i b_i F(Y_i).

    Args:
        name: name of the scheme.
        A: the s x s matrix.
        b: the s weights.
        c: the nodes, if at hand: they are checked against the row sums of A, never trusted (a
            published Gauss tableau with both nodes equal is of order 1 on u' = cos(t) u).
        embedded: weights of a second solution, for an error estimate; s, or s + 1 with ``fsal``.
        fsal: first same as last: one stage more, at u_{n+1}, which is the next step's first. Only
            the embedded weights use it, so no network evaluates it.
        third: weights of a third solution, see :class:`Scheme`.
        modules: for each stage, which of a layer's modules it evaluates.
        digits: the entries are decimals, right to so many digits; 15 where one is a float that stands for no
            short number, such as sqrt(3)/6 computed by NumPy.
        reference: key of the bibliography, or free text.
        init: ranges of the learnable coefficients, see :class:`Scheme`.

    Raises:
        SchemeError: A not square, b or c of another length, a node that is not its row's sum,
            weights that do not sum to 1.
    """
    matrix = exact_matrix(A, f"{name}.A")
    weights = exact_matrix([list(b)], f"{name}.b")
    s = matrix.rows
    if matrix.cols != s or weights.cols != s:
        raise SchemeError(f"{name}: got A of shape {matrix.shape} and {weights.cols} weights, expected s x s and s")
    digits = digits or rounded_digits(A, b, embedded, third)
    if c is not None:
        _check_nodes(name, matrix, c, digits or rounded_digits(c))
    if fsal:
        matrix = matrix.col_join(weights).row_join(sympy.zeros(s + 1, 1))
        weights = weights.row_join(sympy.zeros(1, 1))
    ones = [[1]] * matrix.rows
    options: dict[str, Any] = {"embedded": embedded, "third": third, "modules": tuple(modules), "digits": digits}
    return Scheme(name, matrix, ones, weights, [[1]], reference=reference, init=init or {}, **options)


def lower_triangular(*rows: Sequence[Any]) -> list[list[Any]]:
    """The matrix A of an explicit tableau from the entries below its diagonal: rows of lengths 0, 1, 2, ...

    Raises:
        SchemeError: a row of another length.
    """
    if wrong := [i for i, row in enumerate(rows) if len(row) != i]:
        raise SchemeError(f"got {len(rows[wrong[0]])} entries in row {wrong[0]} of A, expected {wrong[0]}")
    return [[*row, *[0] * (len(rows) - i)] for i, row in enumerate(rows)]


def _check_nodes(name: str, A: sympy.MatrixBase, c: Sequence[Any], digits: int | None) -> None:
    if len(c) != A.rows:
        raise SchemeError(f"{name}: got {len(c)} nodes, expected one for each of the {A.rows} stages")
    for i, node in enumerate(c):
        total = sum(A.row(i))
        gap = sympy.simplify(exact(node, f"{name}.c[{i}]") - total)
        if gap != 0 and not (digits and gap.is_number and abs(gap) < tolerance(digits)):
            raise SchemeError(
                f"{name}: got node c[{i}] = {node}, expected the row sum of A, {total}; "
                "with other nodes the scheme loses its order on u' = f(t, u)"
            )


def multistep(
    name: str,
    a: Sequence[Any],
    b: Sequence[Any],
    *,
    b_next: Any = 0,
    reference: str = "",
    init: Init | None = None,
) -> Scheme:
    """A linear multistep scheme, written as it is used in a network:

        u_{n+1} = sum_j a_j u_{n-j} + h b_next f(u_{n+1}) + h sum_j b_j f(u_{n-j}),   j = 0, 1, ...

    Args:
        name: name of the scheme.
        a: factors of u_n, u_{n-1}, ...
        b: factors of h f(u_n), h f(u_{n-1}), ...
        b_next: factor of h f(u_{n+1}); not 0 makes the scheme implicit.
        reference: key of the bibliography, or free text.
        init: ranges of the learnable coefficients, see :class:`Scheme`.

    Adams-Bashforth 2 is ``a=[1], b=["3/2", "-1/2"]``; LM (Lu et al. 2018) ``a=[1 - k, k], b=[1]``.
    The carried values are u_n, u_{n-1}, ... and h f(u_{n-1}), h f(u_{n-2}), ...

    Raises:
        SchemeError: no a or b, entries that are not exact, coefficients that are inconsistent.
    """
    if not len(a) or not len(b):
        raise SchemeError(f"{name}: got {len(a)} coefficients a and {len(b)} b, expected at least one of each")
    past_u = [exact(x, f"{name}.a[{j}]") for j, x in enumerate(a)]
    past_f = [exact(x, f"{name}.b[{j}]") for j, x in enumerate(b)]
    new = exact(b_next, f"{name}.b_next")
    A, U, B, V = _multistep_matrices(past_u, past_f, new)
    digits = rounded_digits(a, b, [b_next])
    return Scheme(name, A, U, B, V, reference=reference, init=init or {}, digits=digits)


def _trimmed(slopes: list[Any]) -> list[Any]:
    """Without trailing zeros, which would make the scheme carry slopes it never uses."""
    last = max((j for j, slope in enumerate(slopes) if slope != 0), default=-1)
    return slopes[: last + 1]


def _multistep_matrices(a: list[Any], b: list[Any], new: Any) -> tuple[Any, Any, Any, Any]:
    """(A, U, B, V): one stage, at u_n or, for an implicit scheme, at u_{n+1}.

    The function of an implicit scheme's stage is f(u_{n+1}), so all of b is carried; an explicit
    one evaluates f(u_n) itself.
    """
    implicit = new != 0
    slopes = _trimmed(b) if implicit else _trimmed(b[1:])
    steps, carried = len(a), len(a) + len(slopes)
    V = [[0] * carried for _ in range(carried)]
    V[0] = [*a, *slopes]
    for j in range(1, steps):
        V[j][j - 1] = 1
    for j in range(steps + 1, carried):
        V[j][j - 1] = 1
    B = [[0] for _ in range(carried)]
    B[0][0] = new if implicit else b[0]
    if slopes:
        B[steps][0] = 1
    if implicit:
        return [[new]], [V[0]], B, V
    return [[0]], [[1] + [0] * (carried - 1)], B, V
