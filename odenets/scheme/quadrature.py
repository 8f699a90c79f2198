"""Integrals of Lagrange polynomials: what Adams, Nystrom, BDF and collocation schemes are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sympy

x = sympy.Symbol("x")


def lagrange(nodes: Sequence[Any]) -> list[sympy.Poly]:
    """The Lagrange polynomials of distinct nodes."""
    points = [sympy.sympify(node) for node in nodes]
    polys = []
    for i, own in enumerate(points):
        others = [p for j, p in enumerate(points) if j != i]
        poly = sympy.Poly(sympy.prod(x - p for p in others), x, extension=True)
        polys.append(sympy.Poly(poly.as_expr() / sympy.prod(own - p for p in others), x, extension=True))
    return polys


def integrals(nodes: Sequence[Any], lower: Any, upper: Any) -> list[sympy.Expr]:
    """Integral of each Lagrange polynomial from lower to upper: weights of the quadrature formula."""
    antiderivatives = [poly.integrate(x) for poly in lagrange(nodes)]
    return [_tidy(primitive.eval(upper) - primitive.eval(lower)) for primitive in antiderivatives]


def derivatives(nodes: Sequence[Any], point: Any) -> list[sympy.Expr]:
    """Derivative of each Lagrange polynomial at a point: weights of the differentiation formula."""
    return [_tidy(poly.diff(x).eval(point)) for poly in lagrange(nodes)]


def _tidy(value: sympy.Expr) -> sympy.Expr:
    return sympy.radsimp(sympy.expand(value))
