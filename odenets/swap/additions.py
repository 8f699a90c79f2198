"""Calls of torch that add two tensors, seen one by one: what a residual network's sums are made of."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

#: where a call is made: a function, and a line counted from its first
Source = tuple[str, int]
#: a function of torch, as torch.overrides shows it
Function = Callable[..., Any]

IN_PLACE: frozenset[Function] = frozenset({torch.Tensor.add_, torch.Tensor.__iadd__})
ADDITIONS: frozenset[Function] = IN_PLACE | {
    torch.add,
    torch.Tensor.add,
    torch.Tensor.__add__,
    torch.Tensor.__radd__,
}


def operands(func: Function, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Tensor, Tensor] | None:
    """Both operands of a plain sum of two tensors; None for any other call, and for one with alpha or out."""
    if func not in ADDITIONS or kwargs.keys() - {"other", "input"}:
        return None
    both = (*args, *(kwargs[name] for name in ("input", "other") if name in kwargs))
    return (both[0], both[1]) if len(both) == 2 and all(isinstance(x, Tensor) for x in both) else None


def added_to(state: Any, func: Function, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor | None:
    """What a call adds to ``state``, if that tensor itself is one of its two operands, or None."""
    both = operands(func, args, kwargs)
    if both is None:
        return None
    if both[0] is state:
        return None if both[1] is state else both[1]
    return both[0] if both[1] is state else None


def called_from(depth: int) -> Source:
    """Function and line, from its first, ``depth`` frames above the caller: above a mode, the code it watches."""
    frame = sys._getframe(depth + 1)
    return frame.f_code.co_name, frame.f_lineno - frame.f_code.co_firstlineno


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors in nested tuples, lists, mappings and objects with fields such as model outputs, in their order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from tensors_in(item)


#: where the state is among the arguments of a block: a position or a name
Place = int | str


def locate(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Place:
    """The first argument that is a floating-point tensor, by position, else by name; -1 for none."""
    places: list[tuple[Place, Any]] = [*enumerate(args), *kwargs.items()]
    return next((place for place, value in places if isinstance(value, Tensor) and value.is_floating_point()), -1)


def argument(args: Sequence[Any], kwargs: Mapping[str, Any], place: Place) -> Any:
    """The argument at a place."""
    return args[place] if isinstance(place, int) else kwargs[place]


def replaced(
    args: tuple[Any, ...], kwargs: dict[str, Any], place: Place, value: Tensor
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments with ``value`` at a place."""
    if isinstance(place, int):
        return (*args[:place], value, *args[place + 1 :]), kwargs
    return args, {**kwargs, place: value}
