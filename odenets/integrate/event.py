"""The first zero of a function of time and state along a solution."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from .step import Step

#: g(t, u): a single number
EventFunction = Callable[[Tensor, Tensor], Tensor]


def first_zero(steps: Iterable[Step], g: EventFunction, time: Tensor) -> tuple[float, Step] | None:
    """The first time after the start at which g(t, u(t)), positive at the start, is 0 or less, and the step it is in.

    One value of g a step is read from the device; where its sign has changed, the zero is found on the solution inside
    the step, to rounding. None where the steps end before.
    """
    for step in steps:
        with torch.no_grad():
            if float(g(time.new_full((), step.span.stop), step.u1)) <= 0:
                return _zero(step, g, time), step
    return None


def _zero(step: Step, g: EventFunction, time: Tensor) -> float:
    """Brent's method: bisection with interpolation, in float64."""
    from scipy.optimize import brentq  # noqa: PLC0415 - it takes longer to import than all of odenets

    start, stop = step.span.start, step.span.stop

    def value(t: float) -> float:
        u = step.u1 if t == stop else step.u0 if t == start else step.at(t)
        return float(g(time.new_full((), t), u))

    if value(stop) == 0:
        return stop
    if value(start) <= 0:  # the zero is where the step before has ended
        return start
    return float(brentq(value, start, stop, xtol=4 * math.ulp(max(abs(start), abs(stop))), rtol=1e-15))
