"""Rosenbrock schemes: linearly implicit, a linear equation for each stage in the place of an iteration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sympy

from .errors import SchemeError
from .exact import Entries, exact, exact_matrix, rounded_digits
from .scheme import Scheme


def rosenbrock(
    name: str,
    A: Entries,
    Gamma: Entries,
    b: Sequence[Any],
    *,
    embedded: Sequence[Any] | None = None,
    inside: Entries | None = None,
    digits: int | None = None,
    reference: str = "",
) -> Scheme:
    """A Rosenbrock scheme from its coefficients, alpha (here A), gamma (Gamma) and b,

        K_i = f(t_n + alpha_i h, u_n + h sum_j A_ij K_j) + h f_u sum_j Gamma_ij K_j + gamma_i h f_t,
        u_{n+1} = u_n + h sum_i b_i K_i,

    f_u and f_t at (t_n, u_n), alpha_i and gamma_i the sums of the rows of A and Gamma. :func:`odenets.solve` runs it.

    Args:
        name: name of the scheme.
        A: the s x s matrix, zero on its diagonal and above it.
        Gamma: the s x s matrix, zero above its diagonal. Where the diagonal is constant, one matrix serves all stages.
        b: the s weights.
        embedded: weights of a second solution, for an error estimate.
        inside: rows d_k of the solution inside a step, which is a straight line from u_n to u_{n+1} and
            h theta (1 - theta) sum_k theta^k sum_i d_ki K_i; derived where none are given.
        digits: the entries are decimals, right to so many digits.
        reference: key of the bibliography, or free text.

    Raises:
        SchemeError: matrices of another shape or form, weights that do not sum to 1.

    Source: Rosenbrock (1963); Hairer & Wanner (1996), IV.7.
    """
    ones = [[1]] * len(list(b))
    digits = digits or rounded_digits(A, Gamma, b, embedded, inside)
    options: dict[str, Any] = {"embedded": embedded, "digits": digits, "Gamma": Gamma, "inside": inside}
    return Scheme(name, A, ones, [list(b)], [[1]], reference=reference, **options)


def in_transformed_variables(
    name: str,
    gamma: Any,
    a: Entries,
    C: Entries,
    m: Sequence[Any],
    *,
    embedded: Sequence[Any],
    inside: Entries | None = None,
    digits: int | None = None,
    **options: Any,
) -> Scheme:
    """The scheme of the coefficients that codes print, in the variables W = h Gamma K:

        (I/(h gamma) - f_u) W_i = f(u_n + sum_j a_ij W_j) + sum_j C_ij W_j / h,    u_{n+1} = u_n + sum_i m_i W_i

    with Gamma^-1 = I/gamma - C, A = a Gamma, b = m Gamma.

    Args:
        name: name of the scheme.
        gamma: the diagonal of Gamma.
        a: an s x s matrix, zero on the diagonal and above it.
        C: another one.
        m: the s weights.
        embedded: those of the second solution.
        inside: the rows d_k of the solution inside a step, as weights of W.
        digits: the entries are decimals, right to so many digits; five more of A, Gamma and b are kept.
        **options: as for :func:`rosenbrock`.

    Raises:
        SchemeError: matrices of another shape.

    Source: Hairer & Wanner (1996), IV.7, (7.25).
    """
    stages, coupling = exact_matrix(a, f"{name}.a"), exact_matrix(C, f"{name}.C")
    s = stages.rows
    if (stages.shape, coupling.shape) != ((s, s), (s, s)):
        raise SchemeError(f"{name}: got a of shape {stages.shape} and C of {coupling.shape}, expected s x s both")

    def settled(x: sympy.Expr) -> sympy.Expr:
        return sympy.radsimp(x) if digits is None else sympy.Rational(round(x * 10 ** (digits + 5)), 10 ** (digits + 5))

    Gamma = (sympy.eye(s) / exact(gamma, f"{name}.gamma") - coupling).inv()
    rows = [stages, *(exact_matrix([list(x)], f"{name}.m") for x in (m, embedded))]
    A, b, second = ((row * Gamma).applyfunc(settled) for row in rows)
    within = None if inside is None else (exact_matrix(inside, f"{name}.inside") * Gamma).applyfunc(settled).tolist()
    options |= {"embedded": list(second), "inside": within, "digits": digits}
    return rosenbrock(name, A, Gamma.applyfunc(settled), list(b), **options)
