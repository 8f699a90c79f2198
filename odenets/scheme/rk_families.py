"""Families of Runge-Kutta schemes, generated from what defines them."""

from __future__ import annotations

from typing import Any

import sympy

from .collocation import adjoint_collocation, collocation, gauss_nodes, lobatto_iiic, lobatto_nodes, radau_nodes
from .constructors import runge_kutta
from .exact import Entries, exact_matrix
from .given_numbers import integer
from .scheme import Scheme
from .stabilised import rkc2, rock4

__all__ = [
    "adjoint_collocation",
    "collocation",
    "fractal",
    "gauss_nodes",
    "lobatto_iiic",
    "lobatto_nodes",
    "radau_nodes",
    "rkc2",
    "rock4",
    "shu_osher",
    "unit_rows",
]


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


def fractal(columns: int, learned: bool = False) -> Scheme:
    """FractalNet of any depth: f_{c+1} = w conv + (1 - w) f_c o f_c, every conv an Euler step of its own module.

    f_1 is an Euler step over the whole step; the deep path of f_{c+1} consists of two f_c over half
    of it each, so both paths reach the same time. 2^columns - 1 functions a step.

    Args:
        columns: C, at least 1.
        learned: joins w_2 ... w_C are learnable, starting from 1/2; otherwise they average.

    Source: Larsson, Maire & Shakhnarovich (2017); as a scheme: Lu et al. (2018).
    """
    columns = integer(columns, "fractal: columns")
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
