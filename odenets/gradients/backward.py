"""The two ways back through a segment: run its steps again, or undo them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

from torch import Tensor

from ..passes.segment import Segment
from ..program.reverse import Reverse
from ..program.step import State
from .checkpoint_schedule import Splits
from .defect import Monitor, changed, check, fingerprint, relative_defect
from .errors import ReversalError
from .pullback import Pullback


class End(NamedTuple):
    """The state after the steps: its fingerprint, or the carried values themselves where those are needed."""

    fingerprint: Tensor
    values: State


class Backward(Protocol):
    """A segment and the way back through it; ``needs_end`` where that starts from the state after the steps."""

    needs_end: ClassVar[bool]

    @property
    def segment(self) -> Segment:
        """The steps."""

    def walk(self, pullback: Pullback, state: State, end: End, cotangents: State) -> State:
        """Cotangents of the carried values before the steps, from those after (``cotangents``); ``state`` is before."""


@dataclass(frozen=True)
class Recompute:
    """Run the steps again: all at once with autograd's record, or by ``splits`` (:func:`splits_of`), one at a time.

    By splits so many states are held as there are rows of them.

    ``monitor`` judges whether they come out as they did before, as only functions of their arguments do:
    by a fingerprint, which takes no memory.
    """

    segment: Segment
    monitor: Monitor
    splits: Splits | None = None
    needs_end: ClassVar[bool] = False

    def walk(self, pullback: Pullback, state: State, end: End, cotangents: State) -> State:
        """Run to the split, come back to it from the end; so on, until a single step is left."""
        if self.splits is None:
            return self._taped(pullback, (self.segment.start, self.segment.stop), (state, cotangents), end)
        return self._walk(pullback, (self.segment.start, self.segment.stop), len(self.splits), (state, cotangents), end)

    def _walk(
        self, pullback: Pullback, steps: tuple[int, int], slots: int, ends: tuple[State, State], end: End | None
    ) -> State:
        assert self.splits is not None
        (start, stop), (state, cotangents) = steps, ends
        while stop - start > 1:
            middle = start + self.splits[min(slots, stop - start) - 1][stop - start]
            there = pullback.run(start, middle, state), cotangents
            cotangents = self._walk(pullback, (middle, stop), max(slots - 1, 1), there, end)
            stop, end = middle, None
        return self._taped(pullback, (start, stop), (state, cotangents), end)

    def _taped(self, pullback: Pullback, steps: tuple[int, int], ends: tuple[State, State], end: End | None) -> State:
        after, cotangents = pullback.taped(*steps, *ends)
        if end is not None:
            pullback.doubt = check(self.monitor, changed(fingerprint(after), end.fingerprint))
        return cotangents


@dataclass(frozen=True)
class Undo:
    """Undo the steps from the state after the last; at the first, measure by how much its state is missed.

    ``instead`` makes the way back to take where that is too much; None raises.
    """

    segment: Segment
    reverse: Reverse
    monitor: Monitor
    scales: Sequence[float]
    learned: bool
    instead: Callable[[], Recompute] | None = None
    needs_end: ClassVar[bool] = True

    def walk(self, pullback: Pullback, state: State, end: End, cotangents: State) -> State:
        """The inverse step gives states and stages, the transposed one cotangents."""
        found, back = end.values, cotangents
        for n in reversed(range(self.segment.start, self.segment.stop)):
            found, back = pullback.undone(n, self.reverse, found, back)
        try:
            defect = relative_defect(found, state, end.values, self.scales, self.learned)
            pullback.doubt = check(self.monitor, defect)
        except ReversalError:
            if self.instead is None:
                raise
            pullback.gradients.clear()  # a way back belongs to one segment
            return self.instead().walk(pullback, state, End(fingerprint(end.values), ()), cotangents)
        return back
