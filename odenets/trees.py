"""Rooted trees, as far as order conditions need them; vertices may have colours.

A tree is (colour, subtrees), the subtrees sorted: ``(0, ())`` is the single vertex. A colour stands
for one of the functions a step evaluates, each a map from one component of the state to one: a
vertex of colour g may have children whose function yields the component that g takes.
Formulas: Hairer, Lubich & Wanner, Geometric Numerical Integration (2006), chapter III.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from math import prod
from typing import Any

Tree = tuple[int, tuple[Any, ...]]  # recursive: (colour, tuple of trees)
#: per colour the component its function takes and the one it yields
Maps = tuple[tuple[int, int], ...]

#: one function of the whole state: u' = f(u)
PLAIN: Maps = ((0, 0),)


@cache
def vertices(tree: Tree) -> int:
    """Order |t|: the number of vertices."""
    return 1 + sum(vertices(child) for child in tree[1])


@cache
def density(tree: Tree) -> int:
    """Density gamma(t): |t| times the product over the subtrees."""
    return vertices(tree) * prod(density(child) for child in tree[1])


@cache
def exact_weight(tree: Tree) -> Fraction:
    """Coefficient 1/gamma(t) of the exact flow over one step."""
    return Fraction(1, density(tree))


@cache
def trees_of_order(order: int, maps: Maps = PLAIN) -> tuple[Tree, ...]:
    """All rooted trees with the given number of vertices (one colour: 1, 1, 2, 4, 9, 20, 48, 115, ...)."""
    return tuple(
        (colour, forest) for colour, (takes, _) in enumerate(maps) for forest in _forests(order - 1, takes, maps)
    )


def _forests(total: int, component: int, maps: Maps, below: Tree | None = None) -> list[tuple[Tree, ...]]:
    """Multisets of trees with ``total`` vertices whose functions yield ``component``, sorted descending."""
    if total == 0:
        return [()]
    found: list[tuple[Tree, ...]] = []
    for size in range(min(total, total if below is None else vertices(below)), 0, -1):
        for tree in trees_of_order(size, maps):
            if maps[tree[0]][1] == component and (below is None or _key(tree) <= _key(below)):
                found += [(tree, *rest) for rest in _forests(total - size, component, maps, tree)]
    return found


def _key(tree: Tree) -> tuple[int, Tree]:
    return vertices(tree), tree


def tall(order: int) -> Tree:
    """The chain of ``order`` vertices of colour 0, whose elementary differential is f'f'...f."""
    return (0, ()) if order == 1 else (0, (tall(order - 1),))


@cache
def rooted_cuts(tree: Tree) -> dict[Tree, Fraction]:
    """For each subtree that keeps the root: the sum over cuts of the exact flow on what is cut off.

    With it the series of a carried value one step later is
    (E s)(t) = s(empty)/gamma(t) + sum over remaining subtrees r of rooted_cuts(t)[r] s(r)
    (composition of B-series, HLW III.1.4). The tree itself has weight 1.
    """
    colour, children = tree
    kept: dict[tuple[Tree, ...], Fraction] = {(): Fraction(1)}
    for child in children:
        options = [(None, exact_weight(child)), *rooted_cuts(child).items()]
        grown: dict[tuple[Tree, ...], Fraction] = {}
        for branches, weight in kept.items():
            for branch, factor in options:
                key = branches if branch is None else tuple(sorted([*branches, branch], key=_key, reverse=True))
                grown[key] = grown.get(key, Fraction(0)) + weight * factor
        kept = grown
    return {(colour, branches): weight for branches, weight in kept.items()}
