"""Order conditions: what the elementary weights of a scheme must be."""

from __future__ import annotations

from dataclasses import dataclass

import sympy

from odenets.scheme.trees import Tree, density, trees_of_order, vertices

from ..linear.resolve import HIGHEST_ORDER, check_order
from .tree_text import differential_text, weight_text


@dataclass(frozen=True)
class OrderCondition:
    """One condition: the elementary weight of a tree equals 1/gamma(t).

    Attributes:
        tree: the rooted tree.
        differential: its elementary differential, e.g. ``f''(f,f)``.
        weight: the weight of a Runge-Kutta scheme, to be summed over all indices, e.g. ``b_i c_i^2``.
        value: 1/gamma(t), e.g. 1/3.
    """

    tree: Tree
    differential: str
    weight: str
    value: sympy.Rational

    def __str__(self) -> str:
        return f"sum {self.weight} = {self.value}"


def order_conditions(order: int) -> list[OrderCondition]:
    """The conditions for order p, one for each rooted tree with at most p vertices: 1, 2, 4, 8, 17, 37, 85, ...

    What a scheme makes of them is :func:`odenets.analysis.b_series`.

    Args:
        order: p, at least 1.

    Raises:
        SchemeError: an order below 1 or above 12.

    Source: Butcher (1963); Hairer, Norsett & Wanner, Solving Ordinary Differential Equations I (1993), II.2.
    """
    order = check_order(order, "order conditions", HIGHEST_ORDER)
    found = [tree for n in range(1, order + 1) for tree in reversed(trees_of_order(n))]
    return [
        OrderCondition(tree, differential_text(tree), weight_text(tree), sympy.Rational(1, density(tree)))
        for tree in sorted(found, key=vertices)
    ]
