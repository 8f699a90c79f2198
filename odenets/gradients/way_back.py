"""The gradient carried back through a stretch of steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from ..passes import Stretch
from ..program import Evaluate
from ..reverse import Reverse
from ..step import State, step

Pull = Callable[[Tensor], tuple[Tensor, ...]]


class WayBack:
    """Takes cotangents back step by step, and sums up the gradients of the stretch's tensors on the way.

    Args:
        stretch: the steps.
        tensors: as ``stretch.tensors``.
        needed: places of the tensors that require a gradient.

    ``gradients`` maps their places to what has been found so far.
    """

    def __init__(self, stretch: Stretch, tensors: Sequence[Tensor], needed: Iterable[int]) -> None:
        self.stretch, self.tensors, self.needed = stretch, tensors, set(needed)
        self.gradients: dict[int, Tensor] = {}

    def run(self, start: int, stop: int, state: State, tensors: Sequence[Tensor] | None = None) -> State:
        """Steps start ... stop - 1 once more."""
        for n in range(start, stop):
            state = self.stretch.advance(n, state, tensors or self.tensors, again=True)
        return state

    def taped(self, start: int, stop: int, state: State, bars: State) -> State:
        """Back through steps that are run again from ``state`` with autograd's record of them."""
        places = sorted(set().union(*(self.stretch.places(n) for n in range(start, stop))) & self.needed)

        def again(state: State, *values: Tensor) -> State:
            return self.run(start, stop, state, self._with(places, values))

        after, pull, *_ = torch.func.vjp(again, state, *self._values(places))
        before, *gradients = pull(tuple(bar.to(w.dtype) for bar, w in zip(bars, after, strict=True)))
        self._add(places, gradients)
        return before

    def undone(self, n: int, reverse: Reverse, after: State, bars: State) -> tuple[State, State]:
        """Undo step n: the carried values before it, and their cotangents."""
        learned = self.stretch.learned(n, self.tensors)
        values: dict[int, Tensor] = {}
        pulls: dict[int, tuple[list[int], Pull]] = {}
        stage_bars: dict[int, Tensor] = {}

        def function(what: Evaluate, x: Tensor) -> Tensor:
            values[what.index], pulls[what.index] = self._evaluation(n, what, x)
            return values[what.index]

        def transposed(what: Evaluate, bar: Tensor) -> Tensor:
            places, pull = pulls.pop(what.index)
            stage_bars[what.index], *gradients = pull(bar.to(values[what.index].dtype))
            self._add(places, gradients)
            return stage_bars[what.index]

        before = step(reverse.inverse, function, after, learned)
        back = step(reverse.transposed, transposed, bars, learned)
        for term in reverse.terms:
            place = self.stretch.place_of(n, term.symbol)
            if place in self.needed:
                at_end, i = term.cotangent
                bar = bars[i] if at_end else stage_bars[i]
                self._add([place], [term.value(before, values, bar, learned)])
        return before, back

    def _evaluation(self, n: int, what: Evaluate, x: Tensor) -> tuple[Tensor, tuple[list[int], Pull]]:
        places = sorted(self.stretch.places(n, what) & self.needed)

        def function(x: Tensor, *values: Tensor) -> Tensor:
            return self.stretch.evaluate(n, self._with(places, values), what, x, again=True)

        value, pull, *_ = torch.func.vjp(function, x, *self._values(places))
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
