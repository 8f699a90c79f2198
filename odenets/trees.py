"""Rooted trees, as far as order conditions need them.

A tree is the sorted tuple of its subtrees: ``()`` is the single vertex, ``((), ())`` the cherry.
Formulas: Hairer, Lubich & Wanner, Geometric Numerical Integration (2006), chapter III.1.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from math import prod
from typing import Any

Tree = tuple[Any, ...]  # recursive: a tuple of trees


def vertices(tree: Tree) -> int:
    """Order |t|: the number of vertices."""
    return 1 + sum(vertices(child) for child in tree)


@cache
def density(tree: Tree) -> int:
    """Density gamma(t): |t| times the product over the subtrees."""
    return vertices(tree) * prod(density(child) for child in tree)


def exact_weight(tree: Tree) -> Fraction:
    """Coefficient 1/gamma(t) of the exact flow over one step."""
    return Fraction(1, density(tree))


@cache
def trees_of_order(order: int) -> tuple[Tree, ...]:
    """All rooted trees with the given number of vertices (1, 1, 2, 4, 9, 20, 48, 115, ...)."""
    return tuple(_forests(order - 1, order - 1))


def _forests(total: int, largest: int, below: Tree | None = None) -> list[Tree]:
    """Multisets of trees with ``total`` vertices, none larger than ``largest``, sorted descending."""
    if total == 0:
        return [()]
    found: list[Tree] = []
    for size in range(min(largest, total), 0, -1):
        for tree in trees_of_order(size):
            if below is None or (size, tree) <= (vertices(below), below):
                found += [(tree, *rest) for rest in _forests(total - size, size, tree)]
    return found


def tall(order: int) -> Tree:
    """The chain of ``order`` vertices, whose elementary differential is f'f'...f."""
    return () if order == 1 else (tall(order - 1),)


@cache
def rooted_cuts(tree: Tree) -> dict[Tree, Fraction]:
    """For each subtree that keeps the root: the sum over cuts of the exact flow on what is cut off.

    With it the series of a carried value one step later is
    (E s)(t) = s(empty)/gamma(t) + sum over remaining subtrees r of rooted_cuts(t)[r] s(r)
    (composition of B-series, HLW III.1.4). The tree itself has weight 1.
    """
    kept: dict[Tree, Fraction] = {(): Fraction(1)}
    for child in tree:
        options = [(None, exact_weight(child)), *rooted_cuts(child).items()]
        grown: dict[Tree, Fraction] = {}
        for branches, weight in kept.items():
            for branch, factor in options:
                key = branches if branch is None else _insert(branches, branch)
                grown[key] = grown.get(key, Fraction(0)) + weight * factor
        kept = grown
    return kept


def _insert(branches: Tree, branch: Tree) -> Tree:
    return tuple(sorted([*branches, branch], key=lambda t: (vertices(t), t), reverse=True))
