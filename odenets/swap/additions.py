"""Calls of torch that add two tensors, seen one by one: what a residual network's sums are made of."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

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


class Arguments(NamedTuple):
    """Arguments of a call, and which of them is the state: the first floating-point tensor; -1 where there is none."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    place: Place

    @property
    def state(self) -> Tensor:
        """The state."""
        found: Tensor = self.args[self.place] if isinstance(self.place, int) else self.kwargs[self.place]
        return found

    @property
    def others(self) -> list[Any]:
        """The other arguments."""
        return [value for place, value in [*enumerate(self.args), *self.kwargs.items()] if place != self.place]

    def at(self, x: Tensor) -> Arguments:
        """The arguments with x as the state."""
        if isinstance(self.place, int):
            return self._replace(args=(*self.args[: self.place], x, *self.args[self.place + 1 :]))
        return self._replace(kwargs={**self.kwargs, self.place: x})


def arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
    """The arguments of a call; those by position come first."""
    places: list[tuple[Place, Any]] = [*enumerate(args), *kwargs.items()]
    found = (place for place, value in places if isinstance(value, Tensor) and value.is_floating_point())
    return Arguments(args, kwargs, next(found, -1))
