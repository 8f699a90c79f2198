"""What a block's forward has called, to be handed out again."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .additions import Function, tensors_in
from .kept import version
from .watch import Called


class Tape:
    """The calls of a block's forward from one sum to the next, so that they need not be made again.

    Args:
        calls: functions and what they have returned.
        called: the function that made the sum; ``target`` is what it wrote to, if that was not the state.
        hollow: whether tensors are kept without their values.
    """

    def __init__(self, calls: list[Called], called: Function, target: Tensor | None, hollow: bool) -> None:
        self.called, self.calls = called, calls
        # Where the sum was written in place, what it was written to is to hold what takes the sum's place.
        self.targets = frozenset(i for i, (_, value) in enumerate(calls) if target is not None and value is target)
        if hollow:
            self.calls = [(func, _hollow(value)) for func, value in calls]
        self.tensors = {id(x): x for x in tensors_in([value for _, value in self.calls])}
        self.versions = {number: version(x) for number, x in self.tensors.items()}

    def replay(self, value: Tensor) -> list[Called]:
        """The calls, and the sum with ``value`` in its place; copies of what the forward has written to since."""
        compiling = torch.compiler.is_compiling()
        written = [k for k, x in self.tensors.items() if compiling or version(x) != self.versions[k]]
        copies = {number: self.tensors[number].clone() for number in written}
        calls = [
            (func, value if i in self.targets else _swapped(old, copies)) for i, (func, old) in enumerate(self.calls)
        ]
        return [*calls, (self.called, value)]


def _swapped(value: Any, copies: dict[int, Tensor]) -> Any:
    if isinstance(value, Tensor):
        return copies.get(id(value), value)
    return type(value)(_swapped(x, copies) for x in value) if type(value) in (tuple, list) and copies else value


def _hollow(value: Any) -> Any:
    """A value whose tensors have shape, dtype and device, and no memory: enough where nothing will read them."""
    if isinstance(value, Tensor):
        return value.new_zeros(()).expand(value.shape)
    return type(value)(map(_hollow, value)) if type(value) in (tuple, list) else value
