"""The two ways back through a stretch: run its steps again, or undo them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

from ..passes import Stretch
from ..reverse import Reverse
from ..step import State
from .monitor import Monitor, check
from .schedule import Schedule
from .way_back import WayBack


class Sweep(Protocol):
    """A stretch and the way back through it; ``needs_end`` where that starts from the state after the steps."""

    needs_end: ClassVar[bool]

    @property
    def stretch(self) -> Stretch:
        """The steps."""

    def walk(self, way: WayBack, state: State, end: State, bars: State) -> State:
        """Cotangents of the carried values before the steps, from those after (``bars``).

        ``state`` holds the values before, ``end`` those after, where they are needed.
        """


@dataclass(frozen=True)
class Recompute:
    """Run the steps again, holding some states on the way as ``schedule`` says (:func:`schedule_of`)."""

    stretch: Stretch
    schedule: Schedule = None
    needs_end: ClassVar[bool] = False

    def walk(self, way: WayBack, state: State, end: State, bars: State) -> State:
        """By the optimal schedule: run to the split, come back to it from the end, then go back to the start."""
        return self._walk(way, self.stretch.start, self.stretch.stop, self.schedule, (state, bars))

    def _walk(self, way: WayBack, start: int, stop: int, schedule: Schedule, ends: tuple[State, State]) -> State:
        state, bars = ends
        if schedule is None:
            return way.taped(start, stop, state, bars)
        length, right, left = schedule
        middle = start + length
        bars = self._walk(way, middle, stop, right, (way.run(start, middle, state), bars))
        return self._walk(way, start, middle, left, (state, bars))


@dataclass(frozen=True)
class Undo:
    """Undo the steps from the state after the last; at the first, measure by how much its state is missed."""

    stretch: Stretch
    reverse: Reverse
    monitor: Monitor
    needs_end: ClassVar[bool] = True

    def walk(self, way: WayBack, state: State, end: State, bars: State) -> State:
        """The inverse step gives states and stages, the transposed one cotangents."""
        for n in reversed(range(self.stretch.start, self.stretch.stop)):
            end, bars = way.undone(n, self.reverse, end, bars)
        check(self.monitor, state, end)
        return bars
