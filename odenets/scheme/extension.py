"""The continuous extension of a Runge-Kutta scheme: the solution inside a step, from the stages the step has anyway.

    u(t_n + theta h) = u_n + h sum_i b_i(theta) F_i

has order q exactly if sum_i b_i(theta) Phi_i(t) = theta^|t| / gamma(t) for all trees t with at most q vertices. Here

    b(theta) = that of cubic Hermite interpolation + theta^2 (1 - theta)^2 sum_k theta^k d_k

which meets the solution and its slope at both ends. Hermite interpolation leaves theta^2 (1 - theta)^2 times
r_t(theta) / gamma(t), r_t(theta) = sum_k (|t| - 3 - k) theta^k, so that the order q asks of the vectors d_k

    sum_i d_ki Phi_i(t) = max(0, |t| - 3 - k) / gamma(t),    |t| <= q,    k = 0 ... q - 4.

The largest q for which there are such d_k is the order. No other extension has a higher one, for any b(theta) asks for
vectors as these on the powers theta^4 and up. What freedom is left goes into the least error: the conditions of the
trees of one vertex more, each divided by its symmetry, are met in the sense of least squares over the trees and over
the step; where several do that equally well, by the shortest d_k. For dopri5 it is the extension of Shampine (1986).

The slopes of a Rosenbrock scheme are no values of f, and f at the ends is much too large where the solution is a little
off and the problem stiff. So for these

    u(t_n + theta h) = (1 - theta) u_n + theta u_{n+1} + h theta (1 - theta) sum_k theta^k sum_i d_ki K_i,

which asks sum_i d_ki Phi_i(t) = -1 / gamma(t) for k <= |t| - 2, else 0, k = 0 ... q - 2; or d_k that are given.

Source: Hairer, Norsett & Wanner (1993), II.6; Shampine (1986), Some practical Runge-Kutta formulas; Hairer & Wanner
(1996), VI.4.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from operator import add, mul
from typing import Any

import sympy

from .b_series import BSeries
from .general_linear_method import GeneralLinearMethod
from .trees import Tree, density, symmetry, trees_of_order, vertices

#: of cubic Hermite interpolation, and of a straight line
HERMITE, STRAIGHT = 3, 1

Rows = list[list[Any]]


@dataclass(frozen=True)
class Extension:
    """The order of a continuous extension and its d_k, exact; () where it is cubic Hermite interpolation.

    Each d_k has a weight for each stage, and where ``appended`` one more for f(u_{n+1}), which is no stage of the
    scheme: the next step's first. ``base`` is the order of what they are added to, HERMITE or STRAIGHT.
    """

    order: int
    terms: tuple[tuple[sympy.Expr, ...], ...]
    appended: bool
    base: int = HERMITE


def extension(scheme: GeneralLinearMethod, order: int) -> Extension:
    """The continuous extension of highest order of an explicit Runge-Kutta scheme of that order."""
    series, appended = _with_end(scheme)
    found = Extension(min(HERMITE, order), (), appended)
    for q in range(HERMITE + 1, order + 1):
        terms = _Conditions(series, q, scheme.digits).terms()
        if terms is None:
            break
        found = Extension(q, terms, appended)
    return found


def straight_extension(scheme: GeneralLinearMethod, order: int) -> Extension:
    """That of a Rosenbrock scheme of that order: of highest order, or by the d_k that it gives, and their order."""
    series, found = BSeries(scheme), Extension(STRAIGHT, (), False, STRAIGHT)
    for q in range(STRAIGHT + 1, order + 1):
        conditions = _Conditions(series, q, scheme.digits, STRAIGHT)
        terms = conditions.terms() if scheme.inside is None else conditions.met_by(scheme.inside.tolist())
        if terms is None:
            break
        found = Extension(q, terms, False, STRAIGHT)
    return found


def _with_end(scheme: GeneralLinearMethod) -> tuple[BSeries, bool]:
    """The series of the stages and of f(u_{n+1}), and whether that had to be added to them."""
    A, b, s = scheme.A, scheme.B.row(0), scheme.stages
    if any(A.row(i) == b for i in range(s)):
        return BSeries(scheme), False
    grown = A.col_join(b).row_join(sympy.zeros(s + 1, 1))
    weights = b.row_join(sympy.zeros(1, 1))
    ended = GeneralLinearMethod(scheme.name, grown, [[1]] * (s + 1), weights, [[1]], digits=scheme.digits)
    return BSeries(ended), True


class _Conditions:
    """What order q asks of the d_k, and what their freedom is chosen by."""

    def __init__(self, series: BSeries, q: int, digits: int | None, base: int = HERMITE) -> None:
        self.series, self.q, self.size, self.decimals = series, q, series.size[0], digits is not None
        self.base, self.count = base, q - base
        # Of decimals, products have many more digits than mean anything; half of theirs tell what is 0.
        self.field = sympy.RealField(dps=3 * digits) if digits else series.field
        limit = self.field.convert(sympy.Rational(1, 10 ** (digits // 2)) if digits else 0)
        self.missing = _projected(q - base, base + 1)
        self.vanishes: Callable[[Any], bool] = lambda x: abs(x) < limit if digits else x == limit

    def terms(self) -> tuple[tuple[sympy.Expr, ...], ...] | None:
        """The d_k, or None where there are none."""
        trees = [tree for n in range(1, self.q + 1) for tree in trees_of_order(n)]
        found = solutions([self._row(tree) for tree in trees], self.size, self.vanishes, self.field)
        if found is None:
            return None
        particular, free = found
        return tuple(tuple(map(self._expression, d)) for d in self._best(particular, free))

    def met_by(self, given: Rows) -> tuple[tuple[sympy.Expr, ...], ...] | None:
        """The d_k that are given, or None where they do not meet the conditions."""
        n, zero = self.size, self.field.zero
        rows = [[self.field.from_sympy(x) for x in d] for d in given]
        rows += [[zero] * n] * (self.count - len(rows))
        for row in (self._row(tree) for m in range(1, self.q + 1) for tree in trees_of_order(m)):
            wanted = [*row[n:], *[zero] * (len(rows) - self.count)]
            if not all(self.vanishes(_dot(row[:n], d, zero) - x) for d, x in zip(rows, wanted, strict=True)):
                return None
        return tuple(map(tuple, given))

    def _above(self, vertices: int, k: int) -> int:
        """The right-hand side of a tree for the k-th vector, times its density."""
        if self.base == HERMITE:
            return max(0, vertices - HERMITE - k)
        return -1 if k <= vertices - 2 else 0

    def _row(self, tree: Tree) -> list[Any]:
        """Phi_i(t) of all stages, and the right-hand sides of all k."""
        above = [Fraction(self._above(vertices(tree), k)) for k in range(self.count)]
        if vertices(tree) > self.q:
            last = self._above(vertices(tree), self.count)
            above = [x + last * y for x, y in zip(above, self.missing, strict=True)]
        slopes = self.series.slopes(tree)
        if self.decimals:
            slopes = [self.field.convert(x, self.series.field) for x in slopes]
        return [*slopes, *(self._number(value / density(tree)) for value in above)]

    def _number(self, value: Fraction) -> Any:
        return self.field.convert(sympy.QQ(value.numerator, value.denominator), sympy.QQ)

    def _expression(self, value: Any) -> sympy.Expr:
        return self.field.to_sympy(value) if self.decimals else self.series.to_sympy(value)

    def _best(self, particular: Rows, free: Rows) -> Rows:
        """The d_k that miss the conditions of the next trees least; where several do, the shortest."""
        zero, n = self.field.zero, self.size
        rows = [self._row(tree) for tree in trees_of_order(self.q + 1)]
        weights = [self._number(Fraction(1, symmetry(tree) ** 2)) for tree in trees_of_order(self.q + 1)]
        images = [[_dot(row[:n], way, zero) for row in rows] for way in free]
        missed = [[row[n + k] - _dot(row[:n], d, zero) for row in rows] for k, d in enumerate(particular)]
        found, free = self._moved(particular, free, images, missed, weights)
        away = [[-x for x in d] for d in found]
        return self._moved(found, free, free, away, [self.field.one] * n)[0]

    def _moved(
        self, particular: Rows, free: Rows, images: Rows, missed: Rows, weights: Sequence[Any]
    ) -> tuple[Rows, Rows]:
        """What is nearest to the goal among particular + combinations of free, and the ways left free.

        ``images`` are what the ways do to the distance, ``missed`` the distances; by the normal equations.
        """
        zero = self.field.zero
        if self.decimals:  # so that what is 0 can be told in products as well
            sizes = [max(map(abs, image)) or self.field.one for image in images]
            free, images = ([[x / size for x in v] for v, size in zip(vs, sizes, strict=True)] for vs in (free, images))
        normal = [
            [_dot(list(map(mul, weights, image)), other, zero) for other in [*images, *missed]] for image in images
        ]
        if not normal:
            return particular, free
        found = solutions(normal, len(free), self.vanishes, self.field)
        if found is None:  # but for the rounding of published decimals they have; without them, nothing is moved
            return particular, free
        steps, left = found

        def combined(step: Sequence[Any]) -> list[Any]:
            return [_dot(step, column, zero) for column in zip(*free, strict=True)]

        return [list(map(add, d, combined(step))) for d, step in zip(particular, steps, strict=True)], [
            combined(step) for step in left
        ]


def _projected(m: int, power: int) -> list[Fraction]:
    """Coefficients of the polynomial of degree m - 1 nearest to theta^m.

    In the mean square of (theta (1 - theta))^(power / 2) times the difference, over the step: so the difference is the
    m-th orthogonal polynomial for that weight, a Jacobi polynomial. For m = 1 it is 1/2.
    """
    theta = sympy.Symbol("theta")
    orthogonal = sympy.Poly(sympy.jacobi(m, power, power, 2 * theta - 1), theta).monic()
    return [Fraction(int(c.p), int(c.q)) for c in reversed((-orthogonal).all_coeffs()[1:])]


def _dot(left: Sequence[Any], right: Sequence[Any], zero: Any) -> Any:
    return sum(map(mul, left, right), zero)


def solutions(rows: Rows, size: int, vanishes: Callable[[Any], bool], field: Any) -> tuple[Rows, Rows] | None:
    """Solutions of linear equations in ``size`` unknowns: one for each right-hand side, and those of the equations = 0.

    Args:
        rows: each the coefficients of the unknowns, and then its right-hand sides.
        size: number of unknowns.
        vanishes: whether a number counts as 0.
        field: that of the numbers.

    Returns:
        One solution for each right-hand side, and a basis of the null space; None where there is no solution.
    """
    basis: dict[int, list[Any]] = {}
    for row in rows:
        left = list(row)
        for pivot, other in basis.items():
            left = _less(left, left[pivot], other)
        columns = [j for j in range(size) if not vanishes(left[j])]
        if not columns:
            if not all(map(vanishes, left)):
                return None
            continue
        # Exact numbers of a field have no size; of decimals the largest is the one that is known best.
        pivot = max(columns, key=lambda j: abs(left[j])) if field.is_RR else columns[0]
        scaled = [x / left[pivot] for x in left]
        basis = {column: _less(other, other[pivot], scaled) for column, other in basis.items()} | {pivot: scaled}
    count = len(rows[0]) - size if rows else 0
    particular = [[basis[j][size + k] if j in basis else field.zero for j in range(size)] for k in range(count)]
    unknown = [j for j in range(size) if j not in basis]
    null = [
        [-basis[j][f] if j in basis else (field.one if j == f else field.zero) for j in range(size)] for f in unknown
    ]
    return particular, null


def _less(row: list[Any], factor: Any, other: list[Any]) -> list[Any]:
    return [x - factor * y for x, y in zip(row, other, strict=True)] if factor else row
