"""What a block's forward has called, to be handed out again."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .additions import Function
from .watch import Called


class Tape:
    """The calls of a block's forward from one sum to the next, so that they need not be made again."""

    def __init__(self, calls: list[Called], called: Function, target: Tensor | None, hollow: bool) -> None:
        self.called, self.calls = called, calls
        # Where the sum was written in place, what it was written to is to hold what takes the sum's place.
        self.targets = frozenset(i for i, (_, value) in enumerate(calls) if target is not None and value is target)
        if hollow:
            self.calls = [(func, _hollow(value)) for func, value in calls]

    def replay(self, value: Tensor) -> list[Called]:
        """The calls, and the sum with ``value`` in its place."""
        calls = [(func, value if i in self.targets else old) for i, (func, old) in enumerate(self.calls)]
        return [*calls, (self.called, value)]


def _hollow(value: Any) -> Any:
    """A value whose tensors have shape, dtype and device, and no memory: enough where nothing will read them."""
    if isinstance(value, Tensor):
        return value.new_zeros(()).expand(value.shape)
    return type(value)(map(_hollow, value)) if type(value) in (tuple, list) else value
