"""How large the next step is: the error in units of the tolerance, the first step, and the controller."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..fields import FieldError
from ..scheme.given_numbers import real
from .arithmetic import choose, least, most, power, within
from .function import Function

#: of the steps before the last, an error far below the tolerance says no more than that (Hairer's DOPRI5)
LEAST_ERROR = 1e-4
#: in place of a divisor that is 0, whose quotient is not used
TINY = 1e-100
#: in which the square of a ratio of 300 is infinite, or 3 digits are all
NARROW = (torch.float16, torch.bfloat16)


@dataclass(frozen=True, kw_only=True)
class StepControl:
    """The control of the step size.

    After a step with error norm E_n (at most 1: accepted) the next one is h times

        D_n^(-b1/k) D_{n-1}^(-b2/k) D_{n-2}^(-b3/k),    D = E / safety^k,    k = order of the estimate + 1,

    within [shrink, grow]; after a rejected one, h times D_n^(-1/k), at most 1.

    Args:
        safety: at most 1: the step aimed at, over the one whose error norm is 1.
        shrink, grow: limits of the change from one step to the next.
        exponents: (b1, b2, b3). (1,) is integral control; two make a PI controller, which rejects fewer steps where
            stability limits them, the default that of Hairer & Wanner's DOPRI5, (0.7, -0.4) Gustafsson's (1991); three
            make a PID controller (Soederlind 2003).
        first_step: the first step; None is that of Hairer, Norsett & Wanner, II.4, for one evaluation more.
        min_step, max_step: limits of a step. A step of min_step is accepted whatever its error is.
        step_t, jump_t: times that steps end at. At a jump of f in time, f is evaluated just before and just after it.

    Raises:
        FieldError: an option out of range.

    Source: Hairer, Norsett & Wanner (1993), II.4; Hairer & Wanner (1996), IV.2; Soederlind (2003).
    """

    safety: float = 0.9
    shrink: float = 0.2
    grow: float = 10.0
    exponents: Sequence[float] = (0.85, -0.2)
    first_step: float | None = None
    min_step: float = 0.0
    max_step: float = math.inf
    step_t: Sequence[float] = ()
    jump_t: Sequence[float] = ()

    def __post_init__(self) -> None:
        for name, low, high in (("safety", 0, 1), ("shrink", 0, 1), ("grow", 1, math.inf)):
            self._check(name, getattr(self, name), low < getattr(self, name) <= high, f"a number in ({low}, {high}]")
        self._check("min_step", self.min_step, 0 <= self.min_step <= self.max_step, "0 <= min_step <= max_step")
        first = self.first_step
        self._check("first_step", first, first is None or 0 < first < math.inf, "a positive number, or None")
        count = len(self.exponents)
        self._check("exponents", self.exponents, count in (1, 2, 3) and self.exponents[0] > 0, "1 to 3, b1 > 0")
        for name in ("step_t", "jump_t"):
            object.__setattr__(self, name, tuple(real(t, name, FieldError) for t in getattr(self, name)))

    def _check(self, name: str, value: Any, holds: bool, expected: str) -> None:
        if not holds:
            raise FieldError(f"StepControl: got {name} = {value!r}, expected {expected}")

    def least(self, size: Any, start: Any, stop: Any) -> Any:
        """Whether a step is no longer than ``min_step``, but for the rounding of its ends."""
        return size <= self.min_step + sys.float_info.epsilon * most(abs(start), abs(stop))

    def size(self, error: Any, order: int) -> Any:
        """D^(-1/k) of a step: a number, or a tensor with one for each sample, as all that follows."""
        return self.safety * power(error, -1 / (order + 1))

    def past(self, size: Any, order: int) -> Any:
        """The size of an accepted step as the steps after it look back at it."""
        return least(size, self.safety * LEAST_ERROR ** (-1 / (order + 1)))

    def accepted(self, sizes: Sequence[Any]) -> Any:
        """The factor of h after an accepted step, of its size and of those of the accepted steps before it."""
        factor = power(sizes[0], self.exponents[0])
        for size, b in zip(sizes[1:], self.exponents[1:], strict=False):
            factor = factor * power(size, b)
        return within(factor, self.shrink, self.grow)

    def rejected(self, size: Any) -> Any:
        """The factor of h after a rejected step; one whose error is not finite shrinks it most."""
        return most(self.shrink, size)


class Tolerance:
    """The norm of an error in units of atol + rtol max(|u_n|, |u_{n+1}|): the root mean square over the state.

    Args:
        rtol, atol: numbers, or tensors that broadcast to the state.
        norm: of a tensor of the state's shape, in place of the root mean square.
    """

    def __init__(self, rtol: Any, atol: Any, norm: Callable[[Tensor], Any] | None = None) -> None:
        self.rtol, self.atol, self.norm = rtol, atol, norm

    def vanishes(self, u: Tensor) -> Tensor:
        """Where it is 0: an error of 0 over it is no number."""
        return self.atol + self.rtol * u.abs() == 0

    def __call__(self, error: Tensor, *states: Tensor) -> Any:
        """The norm, on the state's device."""
        size = states[0].abs() if len(states) == 1 else torch.maximum(states[0].abs(), states[1].abs())
        if size.dtype in NARROW:
            size, error = size.float(), error.float()
        if self.norm is not None:
            return self.norm(error / (size * self.rtol + self.atol))
        # The root of the number of entries goes with the tolerances, which are numbers, so that it costs nothing.
        root = math.sqrt(max(1, error.numel()))
        return torch.linalg.vector_norm(error / (size * (self.rtol * root) + self.atol * root))


def first_step(
    function: Function, tolerance: Tolerance, at: tuple[float, float], u: Tensor, slope: Tensor, *, order: int
) -> float:
    """The size of the first step from at[0] towards at[1], for one evaluation; NaN where f is not finite there.

    Source: Hairer, Norsett & Wanner (1993), II.4, algorithm (4.14); as in scipy's solvers.
    """
    start, stop = at
    length = abs(stop - start)
    size, speed = _numbers(tolerance(u, u), tolerance(slope, u))
    h = trial_step(size, speed, length)
    if h == 0:  # the norm of f is infinite
        return math.nan
    forward = math.copysign(h, stop - start)
    after = function(start + forward, torch.add(u, slope, alpha=forward))
    bend = _numbers(tolerance(after - slope, u))[0] / h
    if math.isnan(speed + bend):
        return math.nan
    return first_size(h, max(speed, bend), length, order)


def trial_step(size: Any, speed: Any, length: float) -> Any:
    """The step of the evaluation for the first step: h_0 of the norms of u and f. Numbers or tensors."""
    small = (size < 1e-5) | (speed < 1e-5)
    return least(choose(small, 1e-6, 0.01 * size / most(speed, TINY)), length)


def first_size(h: Any, largest: Any, length: float, order: int) -> Any:
    """The first step of the trial step and the larger of the norms of f and of the second derivative there."""
    flat = most(h * 1e-3, 1e-6)
    second = choose(largest <= 1e-15, flat, power(0.01 / most(largest, TINY), 1 / (order + 1)))
    return least(least(100 * h, second), length)


def _numbers(*values: Any) -> list[float]:
    """As numbers, in one transfer."""
    if all(isinstance(value, Tensor) for value in values):
        return torch.stack([value.reshape(()) for value in values]).tolist()
    return [float(value) for value in values]
