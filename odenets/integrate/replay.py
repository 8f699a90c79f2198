"""Accepted steps taken once more: gradients in the memory of the square root of their number."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .errors import GaveUp
from .method import Method
from .run import Run
from .step import Span, Step, take


@dataclass(frozen=True)
class Replay:
    """The steps of an adaptive solve without a record, and once more with one, a checkpoint every sqrt(N) steps.

    How many steps there will be is not known before. The rejected alternative is to choose the steps inside of the
    checkpoints: what is recorded must be the same when a checkpoint runs again, and rejected steps are not. So the
    steps are chosen first, at the cost of one forward pass more; N numbers are what is kept of them.

    Args:
        method: of the steps.
        run: what the solution at the times asked for is collected by.
        jumps: times at which f jumps.
    """

    method: Method
    run: Run
    jumps: Sequence[float]

    def parts(self, u: Tensor, steps: Iterable[Step]) -> Iterator[Sequence[Tensor]]:
        """The states at the times that each part passes; GaveUp at the end where the steps did not reach theirs."""
        spans, failed = accepted(steps)
        known, size = 1, max(1, math.ceil(math.sqrt(len(spans))))
        slope = self._slope(spans[0], u) if spans else u
        for n in range(0, len(spans), size):
            more = n + size < len(spans)
            part = partial(self._part, spans[n : n + size], known, more)
            u, slope, *found = checkpoint(part, u, slope, use_reentrant=False)
            known += len(found)
            yield found
        if failed is not None:
            raise failed

    def _slope(self, span: Span, u: Tensor) -> Tensor:
        return self.run.function(span.time(0.0), u)

    def _part(self, spans: Sequence[Span], known: int, more: bool, u: Tensor, slope: Tensor) -> tuple[Any, ...]:
        """The state and the slope after some steps, and the states at the times that they pass."""
        function, found = self.run.function, list[Tensor]()
        for n, span in enumerate(spans):
            if span.start in self.jumps:
                slope = function(function.beside(span.start, span.stop > span.start), u)
            step, _ = take(self.method, function, span, u=u, slope=slope)
            found += self.run.passed(step, known + len(found), span.stop)
            u = step.u1
            if more or n + 1 < len(spans):
                slope = step.end_slope()
        return u, slope, *found


def accepted(steps: Iterable[Step]) -> tuple[list[Span], GaveUp | None]:
    """The intervals of steps that are taken without a record, and why they do not reach their end, where that is so."""
    spans: list[Span] = []
    with torch.no_grad():
        try:
            for step in steps:
                spans.append(step.span)
        except GaveUp as end:
            return spans, end
    return spans, None
