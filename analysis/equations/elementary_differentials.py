"""Elementary differentials of torch functions, by nested Jacobian-vector products."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from odenets import FieldError
from odenets.scheme.trees import Maps, Tree

Function = Callable[[Tensor], Tensor]


def derivative(f: Function, u: Tensor, *directions: Tensor) -> Tensor:
    """f^(m)(u)(v_1, ..., v_m), the m-th directional derivative; f(u) itself without directions.

    m nested Jacobian-vector products (torch.func.jvp), so about 2^m evaluations of f, whatever the
    dimension. For a piecewise linear f (ReLU) everything from m = 2 on is 0 where it exists.

    Args:
        f: a torch function of one tensor. It gets a copy, which it may change in place.
        u: the state.
        directions: m tensors of the shape of u.

    Returns:
        A tensor of the shape of f(u).
    """
    if not directions:
        return f(u.clone())
    first, *rest = directions
    found = torch.func.jvp(lambda x: derivative(f, x, *rest), (u,), (first,))[1]
    return found


class Differentials:
    """F(t)(u) of every tree asked for, each computed once; one function and one component a colour.

    Raises:
        FieldError: functions, components or shapes that do not fit the trees' colours, a state
            that is not of floating point.
    """

    def __init__(self, f: Function | Sequence[Function], u: Tensor | Sequence[Tensor], maps: Maps) -> None:
        self._functions = _as_tuple(f, len(maps), "functions")
        self._state = _as_tuple(u, 1 + max(map(max, maps)), "components of the state")
        self._maps = maps
        for part in self._state:
            if not isinstance(part, Tensor) or not part.is_floating_point():
                raise FieldError(f"elementary differentials: got a state {part!r}, expected tensors of floating point")
        self._known: dict[Tree, Tensor] = {}

    def __call__(self, tree: Tree) -> Tensor:
        """F(t)(u), of the shape of the component it changes."""
        if tree not in self._known:
            colour, children = tree
            takes, yields = self._maps[colour]
            value = derivative(self._functions[colour], self._state[takes], *map(self, children))
            if value.shape != self._state[yields].shape:
                raise FieldError(
                    f"elementary differentials: got a function of values {tuple(value.shape)}, expected the shape "
                    f"{tuple(self._state[yields].shape)} of the component it is the derivative of"
                )
            self._known[tree] = value
        return self._known[tree]

    def total(self, weights: dict[Tree, float]) -> tuple[Tensor, ...]:
        """Per component the sum of weights(t) F(t)(u) over the trees that yield it."""
        sums = [torch.zeros_like(part) for part in self._state]
        for tree, weight in weights.items():
            if weight != 0:
                sums[self._maps[tree[0]][1]] += weight * self(tree)
        return tuple(sums)


def _as_tuple(given: Any, number: int, what: str) -> tuple[Any, ...]:
    found = tuple(given) if isinstance(given, (tuple, list)) else (given,)
    if len(found) != number:
        raise FieldError(f"elementary differentials: got {len(found)} {what}, expected {number}; pass a tuple of them")
    return found
