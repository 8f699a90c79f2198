"""The gradient carried back through a segment of steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from ..passes.segment import Segment
from ..program import Evaluate
from ..program.reverse import Reverse
from ..program.step import State, step
from ..program.transforms import plain

Pull = Callable[[State], State]


def vjp(function: Callable[..., State], *inputs: Tensor) -> tuple[State, Pull]:
    """As torch.func.vjp of a function with several values; the cotangents take their dtypes.

    Where nothing is to be differentiated again, plain autograd does it in less time. Grad mode is on in
    a backward pass exactly if its results may be differentiated.
    """
    if torch.is_grad_enabled() or not plain():
        values, pull, *_ = torch.func.vjp(function, *inputs)
    else:
        values, pull = _plain_vjp(function, *inputs)
    return values, lambda cotangents: pull(tuple(bar.to(v.dtype) for bar, v in zip(cotangents, values, strict=True)))


def _plain_vjp(function: Callable[..., State], *inputs: Tensor) -> tuple[State, Pull]:
    with torch.enable_grad():
        at = [x if _may_stay(x, inputs) else x.detach().requires_grad_() for x in inputs]
        values = function(*at)

    def pull(cotangents: State) -> State:
        ends = [(value, bar) for value, bar in zip(values, cotangents, strict=True) if value.requires_grad]
        found: Sequence[Tensor | None] = [None] * len(at)
        if ends:
            found = torch.autograd.grad([v for v, _ in ends], at, [bar for _, bar in ends], allow_unused=True)
        return tuple(torch.zeros_like(x) if g is None else g for g, x in zip(found, at, strict=True))

    return tuple(value.detach() for value in values), pull


def _may_stay(x: Tensor, inputs: Sequence[Tensor]) -> bool:
    """Whether a parameter may be differentiated by as it is, so that its module need not be given another.

    Not with hooks: they would be called here, and once more when the gradient arrives at the parameter.
    Not if it is the state as well: the gradients of the two uses are to be told apart.
    """
    return x.is_leaf and x.requires_grad and not x._backward_hooks and sum(x is other for other in inputs) == 1


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
