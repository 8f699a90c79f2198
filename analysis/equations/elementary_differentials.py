"""Elementary differentials of torch functions, by nested products with Jacobians."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from odenets import FieldError
from odenets.program.transforms import plain
from odenets.scheme.trees import Maps, Tree

Function = Callable[[Tensor], Tensor]


def derivative(f: Function, u: Tensor, *directions: Tensor) -> Tensor:
    """f^(m)(u)(v_1, ..., v_m), the m-th directional derivative; f(u) itself without directions.

    For a piecewise linear f (ReLU) everything from m = 2 on is 0 where it exists.

    Args:
        f: a torch function of one tensor. It gets a copy, which it may change in place.
        u: the state.
        directions: m tensors of the shape of u.

    Returns:
        A tensor of the shape of f(u); differentiable once more where gradients are recorded.
    """
    return Derivatives(f, u)(*directions)


class Derivatives:
    """f at u, evaluated once, and its directional derivatives; those that begin alike share what is recorded.

    J v of g = f^(m-1)(u)(v_1, ..., v_(m-1)) is the derivative of p = J^T w by w, so two backward passes through the
    record of g. m nested products of torch.func.jvp evaluate f 2^m times, and take ten times as long where a factor has
    no tangent: they are left to calls inside of torch.func, where nothing can be kept.
    """

    def __init__(self, f: Function, u: Tensor) -> None:
        self._f, self._u = f, u
        #: whether what is found may be differentiated once more: by u, or by parameters of f
        self._recorded = torch.is_grad_enabled() and (u.requires_grad or f(u.clone()).requires_grad)
        #: directions, by identity -> themselves, w and p of the derivative by them
        self._known: dict[tuple[int, ...], tuple[tuple[Tensor, ...], Tensor, Tensor]] = {}

    def __call__(self, *directions: Tensor) -> Tensor:
        """The derivative of that order; see :func:`derivative`."""
        if not directions:
            return self._f(self._u.clone())
        if not plain():
            first, *rest = directions
            return torch.func.jvp(lambda x: derivative(self._f, x, *rest), (self._u,), (first,))[1]
        if self._recorded:
            self._known = {}  # directions that depend on the same x would be differentiated by it as well
        with torch.enable_grad():
            _, w, p = self._pulled(directions[:-1])
            value = _gradient(p, w, directions[-1], again=self._recorded)
        return value if self._recorded else value.detach()

    def _pulled(self, directions: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
        key = tuple(map(id, directions))
        if key not in self._known:
            if directions:
                _, before, p = self._pulled(directions[:-1])
                value = _gradient(p, before, directions[-1])
            else:
                u = self._u
                self._x = u.view_as(u) if self._recorded and u.requires_grad else u.detach().requires_grad_()
                value = self._f(self._x.clone())
            w = torch.zeros_like(value, requires_grad=True)
            self._known[key] = directions, w, _gradient(value, self._x, w)
        return self._known[key]


def _gradient(value: Tensor, by: Tensor, cotangent: Tensor, again: bool = True) -> Tensor:
    """autograd.grad, of what may not depend on ``by``; ``again``: whether the result is differentiated."""
    if not value.requires_grad:
        return torch.zeros_like(by)
    options = {"create_graph": again, "retain_graph": True, "materialize_grads": True}
    return torch.autograd.grad(value, by, cotangent, **options)[0]


class Differentials:
    """F(t)(u) of every tree asked for, each computed once; one function and one component a colour.

    Raises:
        FieldError: functions, components or shapes that do not fit the trees' colours, a state
            that is not of floating point.
    """

    def __init__(self, f: Function | Sequence[Function], u: Tensor | Sequence[Tensor], maps: Maps) -> None:
        functions = _as_tuple(f, len(maps), "functions")
        self._state = _as_tuple(u, 1 + max(map(max, maps)), "components of the state")
        self._maps = maps
        for part in self._state:
            if not isinstance(part, Tensor) or not part.is_floating_point():
                raise FieldError(f"elementary differentials: got a state {part!r}, expected tensors of floating point")
        self._known: dict[Tree, Tensor] = {}
        self._derivatives = [Derivatives(f, self._state[takes]) for f, (takes, _) in zip(functions, maps, strict=True)]

    def __call__(self, tree: Tree) -> Tensor:
        """F(t)(u), of the shape of the component it changes."""
        if tree not in self._known:
            colour, children = tree
            _, yields = self._maps[colour]
            value = self._derivatives[colour](*map(self, children))
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
