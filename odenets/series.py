"""The order of a scheme, derived from its matrices.

Every carried value of a scheme of order p stands for something: a past solution value, h f at a
past step, a velocity. Its B-series s_i in terms of the solution is not declared, but solved for,
tree by tree, from the demand that a step maps the carried values at t to those at t + h:

    eta(t)   = A eta'(t) + U s(t),                 eta'([t1 ... tm]) = eta(t1) ... eta(tm)
    (E s)(t) = B eta'(t) + V s(t)                  E: the exact flow over one step

with s_1 the solution itself. There is one equation more than unknowns; what is left over is the
local error of the scheme on that tree (Butcher 2008, section 53; Hairer, Norsett & Wanner 1993, III.8).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import prod
from typing import TYPE_CHECKING, Any

import sympy

from .errors import SchemeError
from .exact import independent_rows, is_zero
from .trees import Tree, exact_weight, rooted_cuts, tall, trees_of_order

if TYPE_CHECKING:
    from .scheme import Scheme


def _plain(matrix: sympy.MatrixBase) -> list[list[Any]]:
    """Entries as Fractions where all are rational (ten times faster than sympy), else as they are."""
    rows = matrix.tolist()
    if all(x.is_Rational for row in rows for x in row):
        return [[Fraction(int(x.p), int(x.q)) for x in row] for row in rows]
    return rows


def _dot(row: Sequence[Any], values: Sequence[Any]) -> Any:
    return sum((a * b for a, b in zip(row, values, strict=True)), start=Fraction(0))


def _tidy(value: Any) -> Any:
    if isinstance(value, Fraction):
        return value
    return sympy.cancel(sympy.sympify(value))


class Series:
    """B-series of the stages and carried values of one scheme, computed tree by tree on demand.

    ``carried(t)`` and ``stages(t)`` are the coefficients s(t) and eta(t); ``residual(t)`` is what
    the equation left over says, exact minus numerical.
    """

    def __init__(self, scheme: Scheme) -> None:
        self._A, self._U, self._B, self._V = map(_plain, (scheme.A, scheme.U, scheme.B, scheme.V))
        r = scheme.V.rows
        shifted = (scheme.V - sympy.eye(r))[:, 1:]
        # The rows that define the carried values come first; the solution's own row is the last
        # resort, so that the local error is left over there.
        self._rows = independent_rows(shifted, [*range(1, r), 0]) if r > 1 else []
        if len(self._rows) < r - 1:
            raise SchemeError(
                f"{scheme.name}: the {r} carried values are not determined by the solution "
                f"(rank {len(self._rows)} of {r - 1}); every carried value must depend on the solution or on f"
            )
        self._left = next(i for i in [0, *range(1, r)] if i not in self._rows)
        self._solve = _plain(shifted.extract(self._rows, list(range(r - 1))).inv()) if r > 1 else []
        self._shifted = _plain(shifted)[self._left] if r > 1 else []
        self._stages: dict[Tree, list[Any]] = {}
        self._carried: dict[Tree, list[Any]] = {}
        self._residual: dict[Tree, Any] = {}
        start = [Fraction(1), *[Fraction(0)] * (r - 1)]
        rest, self.preconsistency = self._balance(start, [row[0] for row in self._V])
        self.constant = [Fraction(1), *rest]

    def _balance(self, exact: list[Any], numerical: list[Any]) -> tuple[list[Any], Any]:
        """Solve (V - I)[:, 2:] x = exact - numerical for x = (s_2, ..., s_r); s_1 is known.

        Returns x and the residual of the one row that x was not solved from.
        """
        gap = [_tidy(e - n) for e, n in zip(exact, numerical, strict=True)]
        rest = [_tidy(_dot(row, [gap[i] for i in self._rows])) for row in self._solve]
        return rest, _tidy(gap[self._left] - _dot(self._shifted, rest))

    def stages(self, tree: Tree) -> list[Any]:
        """eta_i(t) of every stage i."""
        if tree not in self._stages:
            derivative, carried = self.derivatives(tree), self.carried(tree)
            self._stages[tree] = [
                _tidy(_dot(a, derivative) + _dot(u, carried)) for a, u in zip(self._A, self._U, strict=True)
            ]
        return self._stages[tree]

    def derivatives(self, tree: Tree) -> list[Any]:
        """Coefficients of h F(Y_i) on a tree: the product of eta_i over its subtrees."""
        children = [self.stages(child) for child in tree]
        return [prod((c[i] for c in children), start=Fraction(1)) for i in range(len(self._A))]

    def carried(self, tree: Tree) -> list[Any]:
        """s_i(t) of every carried value i; the first is the solution, so 0."""
        if tree not in self._carried:
            numerical = [_dot(row, self.derivatives(tree)) for row in self._B]
            exact = [self._flow(tree, i) for i in range(len(self._V))]
            rest, self._residual[tree] = self._balance(exact, numerical)
            self._carried[tree] = [Fraction(0), *rest]
        return self._carried[tree]

    def residual(self, tree: Tree) -> Any:
        """Exact minus numerical solution after one step, on one tree."""
        self.carried(tree)
        return self._residual[tree]

    def _flow(self, tree: Tree, i: int) -> Any:
        """(E s_i)(t) less s_i(t) itself."""
        value = self.constant[i] * exact_weight(tree)
        if i == 0:
            return value  # the solution's own series is the identity: nothing but the flow itself
        for rest, weight in rooted_cuts(tree).items():
            if rest != tree:
                value += weight * self.carried(rest)[i]
        return value


def conditions(series: Series, order: int) -> Iterator[tuple[Tree, Any]]:
    """The residual of every tree with the given number of vertices."""
    return ((tree, series.residual(tree)) for tree in trees_of_order(order))


def derive_order(series: Series) -> int:
    """Largest p for which every tree with at most p vertices has residual 0.

    A scheme with s stages has order at most 2s (+ what it carries), so the search ends.
    """
    order = 0
    while all(is_zero(residual) for _, residual in conditions(series, order + 1)):
        order += 1
    return order


def derive_error_constant(series: Series, order: int) -> sympy.Expr:
    """Coefficient of z^(p+1) in exact minus numerical on u' = lambda u, z = h lambda."""
    return sympy.sympify(series.residual(tall(order + 1)))
