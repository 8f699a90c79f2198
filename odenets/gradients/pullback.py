"""The gradient carried back through a segment of steps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor

from ..passes.segment import Segment
from ..program import Evaluate
from ..program.reverse import Reverse
from ..program.step import State, step
from ..program.vjp import Pull, vjp


class Pullback:
    """Takes cotangents back step by step, and sums up the gradients of the segment's tensors on the way.

    Args:
        segment: the steps.
        tensors: as ``segment.tensors``.
        needed: places of the tensors that require a gradient.

    ``gradients`` maps their places to what has been found so far; ``doubt``, if any, is what is to be added to all.
    """

    def __init__(self, segment: Segment, tensors: Sequence[Tensor], needed: Iterable[int]) -> None:
        self.segment, self.tensors, self.needed = segment, tensors, set(needed)
        self.gradients: dict[int, Tensor] = {}
        self.doubt: Tensor | None = None

    def run(self, start: int, stop: int, state: State, tensors: Sequence[Tensor] | None = None) -> State:
        """Steps start ... stop - 1 once more."""
        for n in range(start, stop):
            state = self.segment.advance(n, state, tensors or self.tensors, again=True)
        return state

    def taped(self, start: int, stop: int, state: State, cotangents: State) -> tuple[State, State]:
        """Steps run again from ``state`` with autograd's record: the state after them, cotangents of that before."""
        places = sorted(set().union(*(self.segment.places(n) for n in range(start, stop))) & self.needed)

        def again(*inputs: Tensor) -> State:
            return self.run(start, stop, inputs[: len(state)], self._with(places, inputs[len(state) :]))

        after, pull = vjp(again, *state, *self._values(places))
        found = pull(cotangents)
        self._add(places, found[len(state) :])
        return after, found[: len(state)]

    def undone(self, n: int, reverse: Reverse, after: State, cotangents: State) -> tuple[State, State]:
        """Undo step n: the carried values before it, and their cotangents."""
        learned = self.segment.learned(n, self.tensors)
        values: dict[int, Tensor] = {}
        pulls: dict[int, tuple[list[int], Pull]] = {}
        stage_bars: dict[int, Tensor] = {}

        def function(what: Evaluate, x: Tensor) -> Tensor:
            values[what.index], pulls[what.index] = self._evaluation(n, what, x)
            return values[what.index]

        def transposed(what: Evaluate, bar: Tensor) -> Tensor:
            places, pull = pulls.pop(what.index)
            stage_bars[what.index], *gradients = pull((bar,))
            self._add(places, gradients)
            return stage_bars[what.index]

        before = step(reverse.inverse, function, after, learned)
        back = step(reverse.transposed, transposed, cotangents, learned)
        for term in reverse.terms:
            place = self.segment.place_of(n, term.symbol)
            if place in self.needed:
                at_end, i = term.cotangent
                bar = cotangents[i] if at_end else stage_bars[i]
                self._add([place], [term.value(before, values, bar, learned)])
        return before, back

    def doubted(self, cotangents: State) -> State:
        """The cotangents that are found; with them ``gradients`` become nan where the steps back were too inexact."""
        doubt = self.doubt
        if doubt is None:
            return cotangents
        self.gradients = {place: gradient + doubt for place, gradient in self.gradients.items()}
        return tuple(bar + doubt for bar in cotangents)

    def _evaluation(self, n: int, what: Evaluate, x: Tensor) -> tuple[Tensor, tuple[list[int], Pull]]:
        places = sorted(self.segment.places(n, what) & self.needed)

        def function(x: Tensor, *values: Tensor) -> State:
            return (self.segment.evaluate(n, self._with(places, values), what, x, again=True),)

        (value,), pull = vjp(function, x, *self._values(places))
        return value, (places, pull)

    def _values(self, places: Sequence[int]) -> list[Tensor]:
        return [self.tensors[place] for place in places]

    def _with(self, places: Sequence[int], values: Sequence[Tensor]) -> list[Tensor]:
        found = list(self.tensors)
        for place, value in zip(places, values, strict=True):
            found[place] = value
        return found

    def _add(self, places: Sequence[int], gradients: Sequence[Tensor]) -> None:
        # Never in place: the gradient of one node may be held by another.
        for place, gradient in zip(places, gradients, strict=True):
            self.gradients[place] = self.gradients[place] + gradient if place in self.gradients else gradient
