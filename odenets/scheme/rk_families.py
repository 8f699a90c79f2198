"""Families of Runge-Kutta schemes, generated from what defines them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sympy

from .constructors import runge_kutta
from .errors import SchemeError
from .exact import Entries, exact_matrix
from .quadrature import integrals
from .scheme import Scheme


def shu_osher(name: str, alpha: Entries, beta: Entries, **options: Any) -> Scheme:
    """A Runge-Kutta scheme from its Shu-Osher form,

        Y_i = sum_j alpha_ij Y_j + h beta_ij F(Y_j),   i = 1, ..., s,   Y_0 = u_n,   u_{n+1} = Y_s,

    with j < i. ``alpha`` and ``beta`` have the rows i = 1 ... s, of lengths 1 ... s.
    Source: Shu & Osher (1988); Gottlieb, Ketcheson & Shu (2011).
    """
    s = len(alpha)
    padded = [[*row, *[0] * (s - len(row))] for row in alpha], [[*row, *[0] * (s - len(row))] for row in beta]
    a, b = (exact_matrix(rows, f"{name}.{letter}") for rows, letter in zip(padded, "ab", strict=True))
    rows = [sympy.zeros(1, s)]
    for i in range(s):
        rows.append(sum((a[i, j] * rows[j] for j in range(i + 1)), start=b.row(i)))
    return runge_kutta(name, [list(row) for row in rows[:s]], list(rows[s]), **options)


def unit_rows(count: int, value: Any, first: int = 0) -> list[list[Any]]:
    """Shu-Osher rows whose last entry alone is not 0: Euler steps one after the other."""
    return [[*[0] * i, value] for i in range(first, first + count)]


def collocation(name: str, nodes: Sequence[Any], **options: Any) -> Scheme:
    """The Runge-Kutta scheme whose stages collocate at the nodes: A_ij = int_0^{c_i} l_j, b_j = int_0^1 l_j.

    Source: Hairer, Norsett & Wanner (1993), II.7.
    """
    A = [integrals(nodes, 0, node) for node in nodes]
    return runge_kutta(name, A, integrals(nodes, 0, 1), nodes, **options)


def gauss_nodes(s: int) -> list[sympy.Expr]:
    """Zeros of the Legendre polynomial shifted to [0, 1]."""
    return _zeros(sympy.legendre(s, 2 * sympy.Symbol("x") - 1))


def radau_nodes(s: int, end: int) -> list[sympy.Expr]:
    """Radau nodes on [0, 1] that include the given end, 0 (left, I) or 1 (right, II)."""
    y = 2 * sympy.Symbol("x") - 1
    sign = 1 if end == 0 else -1
    return _zeros(sympy.legendre(s, y) + sign * sympy.legendre(s - 1, y))


def lobatto_nodes(s: int) -> list[sympy.Expr]:
    """Lobatto nodes on [0, 1]: both ends, and the zeros of P'_{s-1}."""
    y = 2 * sympy.Symbol("x") - 1
    return _zeros(sympy.legendre(s, y) - sympy.legendre(s - 2, y))


def _zeros(polynomial: sympy.Expr) -> list[sympy.Expr]:
    x = sympy.Symbol("x")
    return sorted((sympy.radsimp(root) for root in sympy.roots(sympy.expand(polynomial), x)), key=float)


def adjoint_collocation(name: str, nodes: Sequence[Any], **options: Any) -> Scheme:
    """Radau IA's kind: quadrature weights b, and A from sum_i b_i c_i^(q-1) A_ij = b_j (1 - c_j^q)/q, q = 1 ... s.

    Source: Hairer & Wanner (1996), IV.5, condition D(s).
    """
    s, c = len(nodes), [sympy.sympify(node) for node in nodes]
    b = integrals(nodes, 0, 1)
    left = sympy.Matrix(s, s, lambda q, i: b[i] * c[i] ** q)
    right = sympy.Matrix(s, s, lambda q, j: b[j] * (1 - c[j] ** (q + 1)) / (q + 1))
    return runge_kutta(name, (left.inv() * right).applyfunc(sympy.radsimp), b, **options)


def lobatto_iiic(name: str, nodes: Sequence[Any], **options: Any) -> Scheme:
    """Lobatto IIIC: A_i1 = b_1 and sum_j A_ij c_j^(q-1) = c_i^q / q, q = 1 ... s-1 (Chipman 1971)."""
    s, c = len(nodes), [sympy.sympify(node) for node in nodes]
    b = integrals(nodes, 0, 1)
    powers = sympy.Matrix(s - 1, s - 1, lambda q, j: c[j + 1] ** q)
    rows = []
    for node in c:
        moments = sympy.Matrix(s - 1, 1, lambda q, _, node=node: node ** (q + 1) / (q + 1) - b[0] * c[0] ** q)
        rows.append([b[0], *(powers.inv() * moments)])
    return runge_kutta(name, rows, b, nodes, **options)


def fractal(columns: int, learned: bool = False) -> Scheme:
    """FractalNet of any depth: f_{c+1} = w conv + (1 - w) f_c o f_c, every conv an Euler step of its own module.

    f_1 is an Euler step over the whole step; the deep path of f_{c+1} consists of two f_c over half
    of it each, so both paths reach the same time. 2^columns - 1 functions a step.

    Args:
        columns: C, at least 1.
        learned: joins w_2 ... w_C are learnable, starting from 1/2; otherwise they average.

    Source: Larsson, Maire & Shakhnarovich (2017); as a scheme: Lu et al. (2018).
    """
    if columns < 1:
        raise SchemeError(f"fractal: got {columns} columns, expected at least 1")
    rows: list[dict[int, Any]] = []

    def euler(theta: Any, start: dict[int, Any]) -> dict[int, Any]:
        rows.append(start)
        return {**start, len(rows) - 1: theta}

    def grow(c: int, theta: Any, start: dict[int, Any]) -> dict[int, Any]:
        short = euler(theta, start)
        if c == 1:
            return short
        deep = grow(c - 1, theta / 2, grow(c - 1, theta / 2, start))
        w = sympy.Symbol(f"w{c}", real=True) if learned else sympy.Rational(1, 2)
        return {j: sympy.expand(w * short.get(j, 0) + (1 - w) * deep.get(j, 0)) for j in {*short, *deep}}

    weights = grow(columns, sympy.Integer(1), {})
    s = len(rows)
    A = [[row.get(j, 0) for j in range(s)] for row in rows]
    init = {f"w{c}": (0.5, 0.5) for c in range(2, columns + 1)} if learned else {}
    name = f"fractal_{columns}_columns" + "_learned" * learned
    b = [weights.get(j, 0) for j in range(s)]
    return runge_kutta(name, A, b, modules=tuple(range(s)), init=init, reference="fractalnet2017")
