"""Adams schemes as torchdiffeq has them: the order grows with the history, up to a limit; begun by the 3/8 rule."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from ..scheme.quadrature import integrals
from ..zoo import schemes
from .adaptive import Counts, Listeners
from .control import Tolerance
from .errors import Failure, GaveUp
from .function import Function
from .grid import Grid
from .method import method_of
from .step import Span, Step, take

#: with so many slopes of the past the formula of their order takes over
LEAST = 3


@dataclass(frozen=True)
class Adams:
    """Adams-Bashforth steps, or Adams-Moulton steps solved for by functional iteration from these.

    u_{n+1} = u_n + h_n sum_j b_j f_{n-j}: the weights are those of equal steps. On a grid that is not equal the scheme
    has order 1, as in torchdiffeq.

    Args:
        implicit: whether there is a corrector.
        most_order: limit of the order.
        most_iterations: of the corrector.
        tolerance: of its last correction.
    """

    implicit: bool
    most_order: int
    most_iterations: int
    tolerance: Tolerance

    def steps(
        self, grid: Grid, function: Function, u: Tensor, *, counts: Counts, listeners: Listeners
    ) -> Iterator[Step]:
        """The steps from state u; GaveUp where a corrector does not converge."""
        past: deque[Tensor] = deque(maxlen=max(1, self.most_order - 1))
        start = method_of(schemes["rk38"], False)
        for span in grid.spans(function):
            if listeners.before is not None:
                listeners.before(span.start, u, span.h)
            slope = function(span.time(0.0), u)
            past.appendleft(slope)
            if len(past) < LEAST:
                step, _ = take(start, function, span, u=u, slope=slope)
            else:
                step = Step(function, span, u, self._after(function, span, u, past), start=slope)
            counts.accept(span.h)
            yield step
            u = step.u1

    def _after(self, function: Function, span: Span, u: Tensor, past: Sequence[Tensor]) -> Tensor:
        """u_{n+1}."""
        known = len(past)
        after = u + _times_h(span, _weighted(bashforth(known), past))
        if not self.implicit:
            return after
        new, *weights = moulton(known + 1)
        fixed = u + _times_h(span, _weighted(weights, past))
        for _ in range(self.most_iterations):
            before, after = after, fixed + _times_h(span, function(span.time(1.0), after) * new)
            with torch.no_grad():
                if float(self.tolerance(after - before, before, after)) < 1:
                    return after
        why = f"functional iteration for the implicit step did not converge in {self.most_iterations} iterations"
        raise GaveUp(Failure("stages not found", span.start, span.h, None, u, why))


@lru_cache(maxsize=64)
def bashforth(order: int) -> list[float]:
    """Weights of f_n, f_{n-1}, ...: integrals over the step of the polynomial through them."""
    return [float(x) for x in integrals([-j for j in range(order)], 0, 1)]


@lru_cache(maxsize=64)
def moulton(order: int) -> list[float]:
    """Weights of f_{n+1}, f_n, ..."""
    return [float(x) for x in integrals([1 - j for j in range(order)], 0, 1)]


def _weighted(weights: Sequence[float], values: Sequence[Tensor]) -> Tensor:
    found = values[0] * weights[0]
    for weight, value in zip(weights[1:], list(values)[1:], strict=True):
        found = torch.add(found, value, alpha=weight)
    return found


def _times_h(span: Span, value: Tensor) -> Tensor:
    if span.learned is None:
        return value * span.h
    return value * (span.learned[1] - span.learned[0]).to(value.dtype)
