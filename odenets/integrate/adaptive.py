"""Steps as long as the tolerance allows for, by schemes with embedded weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .control import StepControl, Tolerance, first_step
from .errors import APART, WHY, Failure, GaveUp
from .function import Function
from .method import Method
from .step import Span, Step, error_norm, take
from .stiffness import StabilityWatch, real_interval

#: steps of fewer units of rounding of t are no steps
ROUNDINGS = 10
#: at t = 0, which has none to speak of: 1/h is a number still
LEAST = 1e-290
#: what is left to the end is taken in one step where it is so little more than the step
STRETCH = 1.01


@dataclass
class Counts:
    """Steps so far, and the sizes of those that were accepted."""

    accepted: int = 0
    rejected: int = 0
    smallest: float = math.inf
    largest: float = 0.0
    jacobians: int = 0
    factorisations: int = 0

    def accept(self, h: float) -> None:
        """One more."""
        self.accepted += 1
        self.smallest, self.largest = min(self.smallest, abs(h)), max(self.largest, abs(h))


@dataclass(frozen=True)
class Listeners:
    """What is called with (t, u, h): before a step, and after one that was accepted or rejected."""

    before: Callable[[float, Tensor, float], None] | None = None
    accepted: Callable[[float, Tensor, float], None] | None = None
    rejected: Callable[[float, Tensor, float], None] | None = None


@dataclass
class Adaptive:
    """The accepted steps from one time to another.

    Time, step size and controller are Python's numbers. The error norm is the only value of a step that is read from
    the device. The step size is a constant to the gradient.

    Args:
        method: with an error estimate.
        function: f.
        ends: the first time and the last.
        learned: the same as tensors, where one of them is to get a gradient, else None.
        control, tolerance: of the step size.
        max_steps: after which, accepted or rejected, the solve gives up.
        listeners: what is told of each step.
    """

    method: Method
    function: Function
    ends: tuple[float, float]
    learned: tuple[Tensor, Tensor] | None
    control: StepControl
    tolerance: Tolerance
    max_steps: int
    listeners: Listeners = Listeners()
    counts: Counts = field(default_factory=Counts)
    #: whether gradients are wanted: asked now, for the steps may be taken without a record
    _recording: bool = field(default_factory=torch.is_grad_enabled, init=False)
    _norm: float | None = field(default=None, init=False)
    _sizes: list[float] = field(default_factory=list, init=False)
    #: the time just after a jump, where the next step starts with one
    _begin: float | None = field(default=None, init=False)

    def steps(self, u: Tensor) -> Iterator[Step]:
        """The steps from state u; GaveUp where there is no next one."""
        self._t, self._u = self.ends[0], u
        self._carried: Sequence[Tensor] = (u,) * (self.method.carried - 1)
        self._direction = math.copysign(1.0, self.ends[1] - self.ends[0])
        self._slope = self.function(self._t if self.learned is None else self.learned[0], u)
        watch = self._watch()
        self._h = self._first()
        for stop, jump in self._stops():
            while self._t != stop:
                step = self._accepted(stop, jump)
                yield step
                self._t, self._u, self._carried, self._begin = step.span.stop, step.u1, step.carried, None
                if self._t != stop or not (jump or stop == self.ends[1]):
                    self._slope = step.end_slope()
                    if watch is not None:
                        watch.look(step, self._slope)
            if jump:
                self._begin = self.function.beside(stop, self._direction > 0)
                self._slope = self.function(self._begin, self._u)

    def _watch(self) -> StabilityWatch | None:
        """What tells of steps that are too long for a gradient, where one may be wanted."""
        interval = real_interval(self.method.scheme) if self._recording else None
        return None if interval is None else StabilityWatch(self.function, self.method.scheme.name, interval)

    def _stops(self) -> list[tuple[float, bool]]:
        """Times that a step ends at, and whether f jumps there."""
        low, high = sorted(self.ends)
        jumps = {t for t in self.control.jump_t if low < t < high}
        inside = jumps | {t for t in self.control.step_t if low < t < high}
        return [*((t, t in jumps) for t in sorted(inside, reverse=self._direction < 0)), (self.ends[1], False)]

    def _first(self) -> float:
        if self.control.first_step is not None:
            return self.control.first_step
        with torch.no_grad():
            h = first_step(self.function, self.tolerance, self.ends, self._u, self._slope, order=self.method.order)
        if math.isnan(h):
            raise self._gave_up("not finite", 0.0)
        return h

    def _accepted(self, stop: float, jump: bool) -> Step:
        """The next step that is accepted; the size of the one after it is chosen."""
        most, t, u, tell = math.inf, self._t, self._u, self.listeners
        while True:
            span = self._span(stop, jump)
            size = abs(span.h)
            if tell.before is not None:
                tell.before(t, u, span.h)
            step, self._norm = self._try(span)
            norm, order = self._norm, self.method.order
            factor = self.control.size(norm, order)
            least = self.control.min_step and self.control.least(size, t, span.stop)
            if step is not None and (norm <= 1 or (least and math.isfinite(norm))):
                if step.carried:
                    self._refuse_apart(step)
                self.counts.accept(span.h)
                if tell.accepted is not None:
                    tell.accepted(t, u, span.h)
                self._h = min(most, self._grown(size, self.control.accepted([factor, *self._sizes])))
                self._sizes = [self.control.past(factor, order), *self._sizes[:1]]
                return step
            self.counts.rejected += 1
            if tell.rejected is not None:
                tell.rejected(t, u, span.h)
            # No growth right after a rejection.
            most = self._h = size * self.control.rejected(factor)

    def _try(self, span: Span) -> tuple[Step | None, float]:
        """A step and its error norm; None for one that cannot be made, with a norm that is not finite."""
        now: dict[str, Any] = {"u": self._u, "slope": self._slope, "carried": self._carried}
        step, values = take(self.method, self.function, span, **now)
        return step, self._error(step, values)

    def _refuse_apart(self, step: Step) -> None:
        """GaveUp where a value that is carried besides the solution is no longer near to it: one transfer more.

        The error estimate does not see it: what they differ by grows as fast as solutions contract.
        """
        with torch.no_grad():
            gaps = [torch.as_tensor(self.tolerance(x - step.u1, step.u0, step.u1)) for x in step.carried]
            if float(torch.stack(gaps).max()) > APART:
                raise self._gave_up("carried values apart", abs(step.span.h))

    def _grown(self, size: float, factor: float) -> float:
        """The next step size, after an accepted step of this one."""
        return size * factor

    def _span(self, stop: float, jump: bool) -> Span:
        """The interval of the next step; GaveUp where there is none."""
        t, left = self._t, abs(stop - self._t)
        h = max(self.control.min_step, min(self._h, self.control.max_step))
        ends = left <= h * STRETCH
        if self.counts.accepted + self.counts.rejected >= self.max_steps:
            raise self._gave_up("too many steps", h)
        if h < max(LEAST, ROUNDINGS * math.ulp(t)) and not ends:
            finite = self._norm is None or math.isfinite(self._norm)
            raise self._gave_up("step too small" if finite else "not finite", h)
        to = stop if ends else t + h * self._direction
        last = self.function.beside(stop, self._direction < 0) if ends and jump else None
        return Span(t, to, learned=self._learned(t, to), first=self._begin, last=last)

    def _learned(self, t: float, to: float) -> tuple[Tensor, Tensor] | None:
        """The ends of a step as tensors where it is the first one or the last, and the times are to get gradients."""
        if self.learned is None or (t != self.ends[0] and to != self.ends[1]):
            return None
        fixed = (self.learned[0].new_full((), x) for x in (t, to))
        return tuple(  # type: ignore[return-value]
            mine if x == end else number
            for x, end, mine, number in zip((t, to), self.ends, self.learned, fixed, strict=True)
        )

    def _error(self, step: Step, values: Sequence[Tensor]) -> float:
        if torch.is_grad_enabled():
            with torch.no_grad():
                return self._error(step, values)
        return abs(step.span.h) * float(error_norm(self.method, self.tolerance, step, values))

    def _gave_up(self, reason: str, h: float) -> GaveUp:
        if reason == "not finite" and bool(self.tolerance.vanishes(self._u).any()):
            reason = "zero tolerance"
        why = WHY[reason].format(max_steps=self.max_steps)
        return GaveUp(Failure(reason, self._t, h, self._norm, self._u, why))
