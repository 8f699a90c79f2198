"""What a block's forward has called, to be handed out again."""

from __future__ import annotations

import weakref
from typing import Any

from torch import Tensor

from .module_state import version
from .sums import Function, tensors_in

#: a call and what it has returned
Called = tuple[Function, Any]


class Reel:
    """Calls that are being made. ``hollow``: without the values of tensors, and without keeping these alive."""

    def __init__(self, hollow: bool) -> None:
        self.hollow = hollow
        self.calls: list[Called] = []
        self._refs: list[Any] = []

    def append(self, func: Function, value: Any) -> None:
        """A call was made."""
        if self.hollow:
            self._refs.append(weakref.ref(value) if isinstance(value, Tensor) else None)
        self.calls.append((func, _hollow(value) if self.hollow else value))

    def places(self, target: Tensor | None) -> frozenset[int]:
        """The calls that have returned that tensor."""
        if target is None:
            return frozenset()
        if self.hollow:
            return frozenset(i for i, ref in enumerate(self._refs) if ref is not None and ref() is target)
        return frozenset(i for i, (_, value) in enumerate(self.calls) if value is target)


class Tape:
    """The calls of a block's forward from one sum to the next, so that they need not be made again.

    Args:
        reel: functions and what they have returned.
        called: the function that made the sum; ``target`` is what it wrote to, if that was not the state.
    """

    def __init__(self, reel: Reel, called: Function, target: Tensor | None) -> None:
        self.called, self.calls = called, reel.calls
        # Where the sum was written in place, what it was written to is to hold what takes the sum's place.
        self.targets = reel.places(target)
        held = [value for i, (_, value) in enumerate(reel.calls) if i not in self.targets and not reel.hollow]
        self.tensors = list(tensors_in(held))
        self.versions = [version(x) for x in self.tensors]

    @property
    def rewritten(self) -> bool:
        """Whether one of the tensors has been written to since."""
        return any(version(x) != before for x, before in zip(self.tensors, self.versions, strict=True))

    def replay(self, value: Tensor) -> list[Called]:
        """The calls, and the sum with ``value`` in its place."""
        calls = [(func, value if i in self.targets else old) for i, (func, old) in enumerate(self.calls)]
        return [*calls, (self.called, value)]


class Hollow(Tensor):
    """A tensor of shape, dtype and device, and no value: that of the example was not used again."""


def _hollow(value: Any) -> Any:
    """A value whose tensors take no memory; a call made with one of them is refused (:class:`PartialForward`)."""
    if isinstance(value, Tensor):
        return value.new_zeros(()).expand(value.shape).as_subclass(Hollow)
    return type(value)(map(_hollow, value)) if type(value) in (tuple, list) else value
