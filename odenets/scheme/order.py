"""The order of a scheme, from its rooted trees, and from the simplifying assumptions that spare most of them.

There are 10^8 rooted trees with 24 vertices, the order of Gauss with twelve stages. Two theorems make one
tree of each order do:

- where all stages are right to order q, F(Y_i) = u'(t + c_i h) + O(h^(q+1)) for every f, and a tree t with at
  most q + 1 vertices asks for nothing but what each other one of its order does, divided by gamma(t);
- of a Runge-Kutta scheme B(p), C(eta) and D(zeta) imply order min(p, eta + zeta + 1, 2 eta + 2) (Butcher 1964),
  and there is no order above p.

Source: Butcher (1964), Implicit Runge-Kutta processes; Hairer, Norsett & Wanner (1993), II.7, theorem 7.4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import count, islice, takewhile
from math import factorial
from operator import mul
from typing import Any

import sympy

from .b_series import BSeries
from .errors import SchemeError
from .trees import Tree, tall, trees_of_order

Vanishes = Callable[[Any], bool]

#: There are 4766 rooted trees with so many vertices, and three times as many for each vertex more.
MOST_VERTICES = 12


def derive_order(series: BSeries, linear: bool, tolerance: sympy.Expr) -> int:
    """Largest p for which every tree with at most p vertices has residuals 0.

    ``linear``: for linear f only the tall trees count. ``tolerance``: 0, or what the rounding of
    coefficients known as decimals leaves. A scheme with s stages and r carried values has order at
    most 2 s + r, so the search ends.

    Raises:
        SchemeError: trees with more than 12 vertices would have to be looked at.
    """
    vanishes = _vanishes(series, tolerance)
    if not series.preconsistent:
        return 0
    stages, carried = series.size
    order, limit = 0, 2 * stages + carried
    plain = len(series.maps) == 1 and not linear and not series.linearly_implicit
    if plain and carried == 1:
        order, limit = _from_assumptions(series, vanishes)
    right = takewhile(bool, _stages_right(series, vanishes) if plain else ())
    reached = sum(1 for _ in islice(right, order))
    while order < limit:
        one_tree = linear or (plain and reached == order)
        trees = (tall(order + 1),) if one_tree else _all_trees(series, order + 1)
        if not all(vanishes(residual) for tree in trees for residual in series.residuals(tree)):
            break
        order += 1
        reached += sum(1 for _ in islice(right, 1))
    return order


def order_of_difference(series: BSeries, weights: sympy.MatrixBase, tolerance: sympy.Expr) -> int:
    """Largest q for which sum_i weights_i Phi_i(t) is 0 for every tree with at most q vertices."""
    vanishes, own = _vanishes(series, tolerance), [series.field.from_sympy(x) for x in weights]
    zero = series.field.zero

    def holds(vertices: int) -> bool:
        trees = _all_trees(series, vertices)
        return all(vanishes(sum(map(mul, own, series.slopes(tree)), zero)) for tree in trees)

    return sum(1 for _ in takewhile(holds, count(1)))


def _vanishes(series: BSeries, tolerance: sympy.Expr) -> Vanishes:
    """Whether a number of the series' field is 0, or within what decimals tell."""

    def vanishes(value: Any) -> bool:
        if value == series.field.zero:
            return True
        found = series.to_sympy(value)
        return bool(tolerance) and found.is_number and bool(abs(found) < tolerance)

    return vanishes


def _all_trees(series: BSeries, vertices: int) -> tuple[Tree, ...]:
    if vertices > MOST_VERTICES:
        raise SchemeError(
            f"got a scheme of order {vertices - 1} or more, expected at most {MOST_VERTICES - 1} where its stages and "
            "the simplifying assumptions do not decide: there are three times as many rooted trees for each order more"
        )
    return trees_of_order(vertices, series.maps)


def _stages_right(series: BSeries, vanishes: Vanishes) -> Iterator[bool]:
    """Whether all stages are right to order 1, 2, ...: eta_i = c_i^n / n! on the tall tree with n vertices."""
    nodes = powers = series.stages(tall(1))
    for n in count(1):
        factor = series.number(Fraction(1, factorial(n)))
        yield all(vanishes(x - c * factor) for x, c in zip(series.stages(tall(n)), powers, strict=True))
        powers = [power * c for power, c in zip(powers, nodes, strict=True)]


def _from_assumptions(series: BSeries, vanishes: Vanishes) -> tuple[int, int]:
    """(order that the simplifying assumptions give, that of the quadrature formula) of a Runge-Kutta scheme:

    B(p):     sum_i b_i c_i^(q-1) = 1/q,                             q = 1 ... p
    C(eta):   sum_j A_ij c_j^(q-1) = c_i^q / q,                      q = 1 ... eta
    D(zeta):  sum_i b_i c_i^(q-1) A_ij = b_j (1 - c_j^q) / q,        q = 1 ... zeta
    """
    s, zero = series.size[0], series.field.zero
    A, (b, *_) = series.dense
    nodes = [sum(row, zero) for row in A]
    powers = [[series.field.one] * s]  # powers[q][i] = c_i^q
    for _ in range(2 * s):
        powers.append([x * c for x, c in zip(powers[-1], nodes, strict=True)])

    def dot(left: Sequence[Any], right: Sequence[Any]) -> Any:
        return sum(map(mul, left, right), zero)

    def quadrature(q: int) -> bool:
        return vanishes(dot(b, powers[q - 1]) - series.number(Fraction(1, q)))

    def stages(q: int) -> bool:
        one = series.number(Fraction(1, q))
        return all(vanishes(dot(row, powers[q - 1]) - x * one) for row, x in zip(A, powers[q], strict=True))

    def weights(q: int) -> bool:
        one, moments = series.number(Fraction(1, q)), list(map(mul, b, powers[q - 1]))
        columns = zip(*A, strict=True)
        gaps = (dot(moments, a) - w * (1 - x) * one for a, w, x in zip(columns, b, powers[q], strict=True))
        return all(map(vanishes, gaps))

    p, eta, zeta = (sum(1 for _ in takewhile(holds, range(1, 2 * s + 1))) for holds in (quadrature, stages, weights))
    return min(p, eta + zeta + 1, 2 * eta + 2), p
