"""Calls of torch that add two tensors, seen one by one: what a residual network's sums are made of."""

from __future__ import annotations

import dataclasses
import inspect
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
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for entry in dataclasses.fields(value):
            yield from tensors_in(getattr(value, entry.name))


#: where the state is among the arguments of a block: a position or a name
Place = int | str


class Arguments(NamedTuple):
    """Arguments of a call, and which of them is the state; -1 where none is."""

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


class Slot(NamedTuple):
    """The parameter of a forward that takes the state: its position and its name, where it has them."""

    position: int | None
    name: str | None


def in_order(forward: Callable[..., Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Named arguments in the order of the forward's parameters."""
    names = [p.name for p in _parameters(forward) if p.name in kwargs]
    return {name: kwargs[name] for name in [*names, *kwargs]}


def _parameters(forward: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(forward).parameters.values())
    except (TypeError, ValueError):  # a forward that is no function of Python
        return []


def slot_of(forward: Callable[..., Any], place: Place) -> Slot:
    """The parameter that takes the argument at a place."""
    plain = [p.name if p.kind is p.POSITIONAL_OR_KEYWORD else None for p in _parameters(forward)]
    if isinstance(place, str):
        return Slot(plain.index(place) if place in plain else None, place)
    return Slot(place, plain[place] if place < len(plain) and None not in plain[: place + 1] else None)


def arguments(args: tuple[Any, ...], kwargs: dict[str, Any], slot: Slot | None = None) -> Arguments:
    """The arguments of a call; the state is in ``slot``, or the first floating-point tensor, positions first."""
    places: list[tuple[Place, Any]] = [*enumerate(args), *kwargs.items()]
    if slot is not None:
        places = [(place, value) for place, value in places if place in (slot.position, slot.name)]
    found = (place for place, value in places if isinstance(value, Tensor) and value.is_floating_point())
    return Arguments(args, kwargs, next(found, -1))
