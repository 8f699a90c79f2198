"""Steps on a grid that is given: by explicit Runge-Kutta schemes, for any spacing, without a look at the device."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from .adaptive import Counts, Listeners
from .function import Function
from .method import Method
from .step import Span, Step, take
from .times import Times

#: a spacing that varies by no more of itself is that of equal steps, written down in float32 or so
EQUAL = 1e-4


@dataclass(frozen=True)
class Grid:
    """The times that steps begin and end at.

    Args:
        times: increasing or decreasing.
        h: the step size, where all are equal.
        learned: the times as tensors, where they are to get gradients.
        perturbed: of an f that jumps at all of these times: it is evaluated just inside of each step, not at its ends.
    """

    times: Sequence[float]
    h: float | None = None
    learned: Sequence[Tensor] | None = None
    perturbed: bool = False

    @property
    def equal(self) -> bool:
        """Whether the steps are equal but for rounding."""
        sizes = [b - a for a, b in itertools.pairwise(self.times)]
        return self.h is not None or max(sizes) - min(sizes) <= EQUAL * abs(sizes[0])

    def spans(self, function: Function) -> Iterator[Span]:
        """The intervals, one after the other."""
        for n, (start, stop) in enumerate(itertools.pairwise(self.times)):
            own = None if self.learned is None else (self.learned[n], self.learned[n + 1])
            ends = {}
            if self.perturbed:
                up = stop > start
                ends = {"first": function.beside(start, up), "last": function.beside(stop, not up)}
            yield Span(start, stop, h=self.h, learned=own, **ends)


def equal_steps(ends: tuple[float, float], steps: int, learned: tuple[Tensor, Tensor] | None) -> Grid:
    """So many equal steps from the first time to the last."""
    h = (ends[1] - ends[0]) / steps
    times = [*(ends[0] + n * h for n in range(steps)), ends[1]]
    if learned is None:
        return Grid(times, h)
    size = (learned[1] - learned[0]) / steps
    return Grid(times, h, [*(learned[0] + n * size for n in range(steps)), learned[1]])


def pinned(values: Sequence[float], times: Times) -> Grid:
    """A grid of any spacing, of which those times that get gradients move, and the others stay."""
    if times.learned is None:
        return Grid(values)
    own = dict(zip(times.values, times.learned, strict=True))
    return Grid(values, None, [own[x] if x in own else times.learned[0].new_full((), x) for x in values])


def steps_on(
    grid: Grid, method: Method, function: Function, u: Tensor, *, counts: Counts, listeners: Listeners
) -> Iterator[Step]:
    """The steps of a method from state u."""
    slope = None
    carried: Sequence[Tensor] = (u,) * (method.carried - 1)
    for span in grid.spans(function):
        if listeners.before is not None:
            listeners.before(span.start, u, span.h)
        slope = function(span.time(0.0), u) if slope is None or grid.perturbed else slope
        step, _ = take(method, function, span, u=u, slope=slope, carried=carried)
        counts.accept(span.h)
        yield step
        u, slope, carried = step.u1, step.known_end, step.carried
