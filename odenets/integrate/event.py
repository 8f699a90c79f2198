"""Events: zeros of functions of time and state along a solution."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..fields import FieldError
from .function import Function
from .packing import Packing
from .step import Step

#: g(t, u): a single number
EventFunction = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Event:
    """Where g(t, u) = 0 along a solution.

    Args:
        g: callable ``g(t, u)`` of a 0-dimensional time and a state; returns one real number as a tensor. With
            ``per_sample=True`` of times and states of several samples, as f there; returns one number for each.
        terminal: whether the solve ends there, with ``per_sample=True`` that of the sample.
        direction: 1 for zeros at which g goes from negative to positive in the order of the solve, -1 for the others,
            0 for both.

    An event is seen if g has another sign at the end of a step than at its start. Two zeros within one step are not:
    ``StepControl(max_step=...)`` is for them. Where g is NaN it has no sign, and nothing is found.

    Raises:
        FieldError: g that is not callable, another direction.
    """

    g: Callable[[Tensor, Any], Tensor]
    terminal: bool = False
    direction: int = 0

    def __post_init__(self) -> None:
        if not callable(self.g):
            raise FieldError(f"Event: got g = {self.g!r}, expected a callable g(t, u)")
        if self.direction not in (-1, 0, 1):
            raise FieldError(f"Event: got direction = {self.direction!r}, expected 1, -1 or 0")


@dataclass(frozen=True)
class Occurrences:
    """The times t, of shape (n,), at which an event was found, and the states y then, stacked.

    With ``per_sample=True`` those of all samples, one after the other; ``sample``, of shape (n,), says which.
    """

    t: Tensor
    y: Any
    sample: Tensor | None = None


#: iterations of a search: at a triple zero Brent's method takes some 150, and scipy gives up after 100
MOST = 2000


class Watch:
    """Looks for events in the steps of a solve.

    Args:
        events: which.
        packing: how a state is one tensor.
        function: f.
        t, u: the start. What is 0 there is not found there.
    """

    def __init__(self, events: Sequence[Event], packing: Packing, function: Function, t: float, u: Tensor) -> None:
        self.events, self.packing, self.function = events, packing, function
        self.time = torch.zeros((), dtype=function.dtype, device=u.device)
        self._found: list[list[tuple[Tensor, Tensor]]] = [[] for _ in events]
        self._start = u
        self._values = [self._number(k, t, u) for k in range(len(events))]

    def g(self, k: int, sign: float = 1.0) -> EventFunction:
        """An event's function of a state that is one tensor."""
        return lambda t, u: self.events[k].g(t, self.packing.split(u)).reshape(()) * sign

    def _number(self, k: int, t: float, u: Tensor) -> float:
        with torch.no_grad():
            value = self.events[k].g(self.time.new_full((), t), self.packing.split(u))
        if not isinstance(value, Tensor) or value.numel() != 1 or value.is_complex():
            got = f"a tensor of shape {tuple(value.shape)} in {value.dtype}" if isinstance(value, Tensor) else value
            raise FieldError(f"Event {k}: got g(t, u) = {got}, expected one real number as a tensor")
        return float(value.detach())

    def look(self, step: Step) -> tuple[float, Tensor, Tensor] | None:
        """Keep the events of a step, up to the first terminal one; of that the time, and time and state as tensors."""
        after = [self._number(k, step.span.stop, step.u1) for k in range(len(self.events))]
        crossed = []
        for k, (a, b) in enumerate(zip(self._values, after, strict=True)):
            sign = math.copysign(1.0, a)
            if abs(a) > 0 and b * sign <= 0 and self.events[k].direction in (0, -sign):
                crossed.append((_zero(step, self.g(k, sign), self.time), k))
        self._values = after
        for t, k in sorted(crossed, reverse=step.span.stop < step.span.start):
            at, u = self._moving(k, t, step.u1 if t == step.span.stop else step.at(t))
            self._found[k].append((at, u))
            if self.events[k].terminal:
                return t, at, u
        return None

    def _moving(self, k: int, t: float, u: Tensor) -> tuple[Tensor, Tensor]:
        return moving(self.function, self.g(k), self.time.new_full((), t), u)

    def occurrences(self) -> tuple[Occurrences, ...]:
        """What was found of each event."""
        found = []
        for own in self._found:
            times = torch.stack([t for t, _ in own]) if own else self.time.new_zeros(0)
            states = torch.stack([u for _, u in own]) if own else self._start.new_zeros((0, *self._start.shape))
            found.append(Occurrences(times, self.packing.split(states)))
        return tuple(found)


def first_zero(steps: Iterable[Step], g: EventFunction, time: Tensor) -> tuple[float, Step] | None:
    """The first time after the start at which g(t, u(t)), positive at the start, is 0 or less, and the step it is in.

    One value of g a step is read from the device; where its sign has changed, the zero is found on the solution inside
    the step, to rounding. None where the steps end before.
    """
    for step in steps:
        with torch.no_grad():
            passed = float(g(time.new_full((), step.span.stop), step.u1).detach()) <= 0
        if passed:
            return _zero(step, g, time), step
    return None


def _zero(step: Step, g: EventFunction, time: Tensor) -> float:
    """Brent's method: bisection with interpolation, in float64."""
    from scipy.optimize import brentq  # noqa: PLC0415 - it takes longer to import than all of odenets

    start, stop = step.span.start, step.span.stop
    step.prepare()  # with a record, which the values below do not need, but that of the solution there does

    @torch.no_grad()
    def value(t: float) -> float:
        u = step.u1 if t == stop else step.u0 if t == start else step.at(t)
        found = float(g(time.new_full((), t), u).detach())
        if math.isnan(found):
            raise nan_inside(t)
        return found

    if value(stop) == 0:
        return stop
    if value(start) <= 0:  # the zero is where the step before has ended
        return start
    return float(brentq(value, start, stop, xtol=4 * math.ulp(max(abs(start), abs(stop))), rtol=1e-15, maxiter=MOST))


def nan_inside(t: float) -> FieldError:
    """The error for g that is NaN between two of its values of different signs."""
    return FieldError(f"Event: got g(t, u) = nan at t = {t:.15g}, expected a number near a zero of g")


def moving(f: Callable[[Tensor, Tensor], Tensor], g: EventFunction, t: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """The time and state of an event as they move with all that g and u depend on; their values are t and u.

    By the implicit function theorem: dt = -dg / (g_t + g_u f). First derivatives. Of a 0-dimensional time; or of
    several samples, times of shape (n, 1, ..., 1), which are returned in shape (n,). Where nothing is recorded they
    stay as they are.

    Raises:
        FieldError: in the backward pass, g without a derivative, or of which it is 0 along the solution, as that of a
            sign is.
    """
    own = t.reshape(()) if t.dim() == 0 else t.reshape(-1)
    if not torch.is_grad_enabled() or not (u.requires_grad or g(t, u).requires_grad):
        return own, u
    with torch.enable_grad():
        at, near = t.clone().requires_grad_(), u.detach().requires_grad_()
        speed = f(at, near).detach()
        value = g(at, near).sum()
        ways = torch.autograd.grad(value, (at, near), allow_unused=True) if value.requires_grad else (None, None)
    along = own.new_zeros(()) if ways[1] is None else (ways[1].conj() * speed).real.reshape(*own.shape, -1).sum(-1)
    rate = along + own.new_zeros(own.shape) + (0 if ways[0] is None else ways[0].reshape(own.shape))
    still, missed = rate == 0, g(t, u)
    when = own - ((missed - missed.detach()) / torch.where(still, 1.0, rate)).to(t.dtype)
    if bool(still.any()):
        when = _Still.apply(when, u, still)
    return when, u + speed * (when - own).reshape(t.shape).to(u.dtype)


class _Still(torch.autograd.Function):
    """Times of events, of which some have no derivative: it is an error to ask for that, and none not to."""

    @staticmethod
    def forward(ctx: Any, when: Tensor, u: Tensor, still: Tensor) -> Tensor:
        """The times; as functions of the state, so that there is something to ask."""
        ctx.save_for_backward(when, still)
        return when.clone()

    @staticmethod
    def backward(ctx: Any, bar: Tensor) -> tuple[Tensor, None, None]:
        """The cotangent of the times; FieldError where it asks for what there is not."""
        when, still = ctx.saved_tensors
        asked = still & (bar != 0)
        if bool(asked.any()):
            raise FieldError(
                "Event: got g(t, u) that does not change along the solution at t = "
                f"{float(when[asked].reshape(-1)[0]):.15g}, to autograd, so that its time has no derivative, expected "
                "one that goes through 0 at some rate: a sign, detach() and float(t) have none"
            )
        return bar, None, None
