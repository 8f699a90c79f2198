"""Rooted trees, as far as B-series need them; vertices may have colours.

A tree is (colour, subtrees), the subtrees sorted: ``(0, ())`` is the single vertex. A colour stands
for one of the functions a step evaluates, each a map from one component of the state to one: a
vertex of colour g may have children whose function yields the component that g takes.
Formulas: Hairer, Lubich & Wanner, Geometric Numerical Integration (2006), chapter III.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from functools import cache
from itertools import groupby
from math import factorial, prod
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
def symmetry(tree: Tree) -> int:
    """Symmetry sigma(t): the order of its group of symmetries (1 for tall trees, 6 for three leaves on a root)."""
    runs = [(child, len(list(run))) for child, run in groupby(tree[1])]
    return prod(symmetry(child) ** count * factorial(count) for child, count in runs)


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


def grow(colour: int, children: Iterable[Tree]) -> Tree:
    """The tree with that root and these subtrees, in whatever order they come."""
    return colour, tuple(sorted(children, key=_key, reverse=True))


def graft(trunk: Tree, branch: Tree) -> Tree:
    """The Butcher product: ``branch`` becomes one more child of the root of ``trunk``."""
    return grow(trunk[0], (*trunk[1], branch))


@cache
def edge_cuts(tree: Tree) -> dict[tuple[Tree, Tree], int]:
    """The pairs (trunk, branch) that cutting one edge leaves, and how many edges leave them.

    With it the derivative of a B-series c along a field with coefficients b is
    (d_b c)(t) = c(empty) b(t) + sum over cuts of c(trunk) b(branch) (HLW IX.9.1).
    """
    colour, children = tree
    cuts: dict[tuple[Tree, Tree], int] = {}
    for child in dict.fromkeys(children):
        count, others = children.count(child), list(children)
        others.remove(child)
        whole = ((colour, tuple(others)), child)
        cuts[whole] = cuts.get(whole, 0) + count
        for (trunk, branch), ways in edge_cuts(child).items():
            pair = grow(colour, (*others, trunk)), branch
            cuts[pair] = cuts.get(pair, 0) + count * ways
    return cuts


@cache
def prunings(tree: Tree) -> dict[tuple[Tree, tuple[Tree, ...]], int]:
    """The pairs (subtree that keeps the root, pieces cut off), and in how many ways each arises.

    Pieces are sorted; nothing cut off is among them. With it the composition of two B-series is
    (a after b)(t) = a(empty) b(t) + sum of a(subtree) product of b(pieces) (HLW III.1.4).
    """
    colour, children = tree
    kept: dict[tuple[tuple[Tree, ...], tuple[Tree, ...]], int] = {((), ()): 1}
    for child in children:
        options = [((), (child,), 1), *(((rest,), pieces, ways) for (rest, pieces), ways in prunings(child).items())]
        grown: dict[tuple[tuple[Tree, ...], tuple[Tree, ...]], int] = {}
        for (branches, pieces), count in kept.items():
            for more, cut, ways in options:
                key = grow(colour, (*branches, *more))[1], grow(colour, (*pieces, *cut))[1]
                grown[key] = grown.get(key, 0) + count * ways
        kept = grown
    return {((colour, branches), pieces): count for (branches, pieces), count in kept.items()}


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
    weights: dict[Tree, Fraction] = {}
    for (rest, pieces), ways in prunings(tree).items():
        weight = ways * prod(map(exact_weight, pieces), start=Fraction(1))
        weights[rest] = weights.get(rest, Fraction(0)) + weight
    return weights
