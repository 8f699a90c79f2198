"""How large the next step of each sample is: the error norms, the first steps and the controllers of a batch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .adaptive import ROUNDINGS, STRETCH
from .arithmetic import most
from .control import StepControl, Tolerance, first_size, trial_step
from .sample_function import SampleFunction
from .samples import Samples, column


@dataclass(frozen=True)
class SampleSizes:
    """The step sizes of a batch, by the formulas of :class:`StepControl`. Nothing is read from the device.

    Args:
        order: of the error estimate.
        ends: the first time and the last.
        control, tolerance: of the step sizes; the norm is that of each row.
        stops: times that steps end at, in their order, the last one included, where there are others.
    """

    order: int
    ends: tuple[float, float]
    control: StepControl
    tolerance: Tolerance
    stops: Tensor | None = None

    @property
    def direction(self) -> float:
        """Of time: 1 or -1."""
        return math.copysign(1.0, self.ends[1] - self.ends[0])

    def first(self, function: SampleFunction, t: Tensor, u: Tensor, slope: Tensor) -> Tensor:
        """As :func:`.control.first_step`, for each sample; 0, which is no step, where f is not finite."""
        if self.control.first_step is not None:
            return torch.full_like(t, self.control.first_step)
        length = abs(self.ends[1] - self.ends[0])
        size, speed = (self.tolerance(x, u).to(t.dtype) for x in (u, slope))
        h = trial_step(size, speed, length)
        forward = column(h * self.direction, u)
        after = function(column(t, u) + forward, u + slope * forward.to(u.real.dtype))
        bend = self.tolerance(after - slope, u).to(t.dtype) / h
        return first_size(h, most(speed, bend), length, self.order).detach().nan_to_num(0.0)

    def judge(self, now: Samples, tried: Tensor) -> Tensor:
        """Which samples accept the step of these norms; their times go on, and the sizes of all are chosen anew."""
        control, order = self.control, self.order
        size = (now.to - now.t).abs()
        # A step of no size is none, and has no error: what was known before it stays.
        norm = torch.where(size > 0, tried.nan_to_num(math.inf, math.inf), math.inf)
        tried = torch.where(size > 0, tried, now.norm)
        fits = norm <= 1
        if control.min_step:
            fits = fits | (control.least(size, now.t, now.to) & norm.isfinite())
        factor = control.size(norm, order)
        grown = torch.minimum(now.most, size * control.accepted([factor, *now.past]))
        now.h = torch.where(fits, grown, size * control.rejected(factor))
        # No growth right after a rejection.
        now.most = torch.where(fits, math.inf, now.h)
        if now.past:
            kept = control.past(factor, order), *now.past[:-1]
            now.past = tuple(torch.where(fits, new, old) for new, old in zip(kept, now.past, strict=True))
        now.t, now.norm = torch.where(fits, now.to, now.t), tried
        now.accepted = now.accepted + fits
        taken = torch.where(fits, size, math.nan)
        now.smallest, now.largest = torch.fmin(now.smallest, taken), torch.fmax(now.largest, taken)
        return fits

    def _stop(self, t: Tensor) -> Any:
        """Where the step from t must not lead beyond: the next time of ``step_t``, or the end."""
        if self.stops is None:
            return self.ends[1]
        after = torch.searchsorted(self.stops * self.direction, t * self.direction, right=True)
        return self.stops[after.clamp(max=len(self.stops) - 1)]

    def limited(self, t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Where the next step leads, and whether it would be none."""
        control, stop, direction = self.control, self._stop(t), self.direction
        if control.min_step or control.max_step < math.inf:
            h = h.clamp(control.min_step, control.max_step)
        inside = (stop - t).abs() > h * STRETCH
        # h / 20 is lost where h is 10 units of rounding of t.
        none = torch.add(t, h, alpha=direction / (2 * ROUNDINGS)) == t
        return torch.where(inside, torch.add(t, h, alpha=direction), stop), none & inside
