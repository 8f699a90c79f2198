"""solve(..., per_sample=True): what it takes, and the solution of samples that each have their own steps."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..fields import FieldError
from ..scheme import Scheme
from .control import StepControl, Tolerance
from .errors import WHY, Failure, IntegrationError, IntegrationWarning
from .event import Event, Occurrences
from .function import Function
from .packing import Packing
from .sample_events import SampleWatch
from .sample_function import SampleFunction
from .sample_sizes import SampleSizes
from .sample_steps import Ended, SampleSteps
from .sample_tries import tries_of
from .samples import column, row_norms
from .solution import Solution, Stats
from .times import Times

STATUSES = ("success", "event", "too many steps", "step too small", "not finite", "stages not found", "zero tolerance")
SUCCESS, EVENT, TOO_MANY, TOO_SMALL, NOT_FINITE, NOT_FOUND, ZERO = range(len(STATUSES))
#: so many failures are told in full
TOLD = 3


def solve_each(
    scheme: Scheme,
    function: Function,
    packing: Packing,
    times: Times,
    u: Tensor,
    *,
    control: StepControl,
    tolerances: Sequence[Any],
    max_steps: int,
    events: Sequence[Event],
    on_failure: str,
) -> Solution:
    """The solution at the times, each sample by its own steps.

    Raises:
        FieldError: options that are those of a solve whose samples share their steps.
        IntegrationError: samples that gave up, where that is not only to be flagged.
    """
    _check(control, times, tolerances, u)
    u = u.contiguous()
    t = torch.tensor(times.values, dtype=function.dtype, device=u.device)
    rows = SampleFunction(function, packing, t[:1].expand(len(u)), u)
    tolerance = Tolerance(tolerances[0], tolerances[1], row_norms)
    watch = SampleWatch(events, packing, rows, t[:1].expand(len(u)), u) if events else None
    tries = tries_of(scheme)(scheme, rows, tolerance)
    sizes = SampleSizes(tries.order, times.ends, control, tolerance, _stops(control, times.ends, t))
    steps = SampleSteps(sizes, tries, rows, max_steps, t[1:-1], watch)
    steps.run(u)
    ends = Ends(steps.ended, times.ends[1], max_steps, tolerance)
    states = _states(u, len(t), ends, steps.found)
    occurrences: tuple[Occurrences, ...] = ()
    if watch is not None:
        reached = t[:, None] * sizes.direction <= ends.until * sizes.direction
        states = torch.where(reached.reshape(len(t), -1, *[1] * (u.dim() - 1)), states, torch.nan)
        occurrences = watch.occurrences(ends.until, sizes.direction, u)
    y = packing.split(states)
    solution = Solution(times.tensor(len(t), u.device), y, ends.status, ends.stats, occurrences, None)
    _tell(ends.failures(packing, max_steps), solution, on_failure)
    return solution


class Ends:
    """What has become of each sample, in their order in the batch.

    Args:
        ended: the samples as they left it.
        stop: the last time.
        max_steps: of a sample.
        tolerance: of the steps.
    """

    def __init__(self, ended: Sequence[Ended], stop: float, max_steps: int, tolerance: Tolerance) -> None:
        self._ended, self.stop = ended, stop
        self._order = torch.argsort(self._together("sample"))
        self.u, self.until = (self._together(name)[self._order] for name in ("u", "until"))
        self.t, self.h, self.norm = (self._told(name) for name in ("t", "h", "norm"))
        tries, calls = (self._of_each(name) for name in ("tries", "calls"))
        accepted, smallest = self._told("accepted"), self._told("smallest")
        smallest = torch.where(accepted > 0, smallest, 0.0)
        self.stats = Stats(accepted, tries - accepted, calls + self._told("extra"), smallest, self._told("largest"))
        zero = tolerance.vanishes(self.u).reshape(len(self.u), self.u[0].numel()).any(1).cpu()
        lost = torch.where(zero, ZERO, torch.where(self.norm.isinf(), NOT_FINITE, NOT_FOUND))
        why = torch.where(self.norm.isfinite(), TOO_SMALL, lost)
        why = torch.where(self.norm.isinf() | (tries < max_steps), why, TOO_MANY)
        status = torch.where(self.t == stop, SUCCESS, why)
        self.status = [STATUSES[i] for i in torch.where(self.until.cpu().isfinite(), EVENT, status).tolist()]

    def _together(self, name: str) -> Tensor:
        return torch.cat([getattr(part.samples, name) for part in self._ended])

    def _told(self, name: str) -> Tensor:
        return self._together(name)[self._order].detach().cpu()

    def _of_each(self, name: str) -> Tensor:
        parts = [torch.full((len(part.samples.t),), getattr(part, name)) for part in self._ended]
        return torch.cat(parts)[self._order.cpu()]

    def failures(self, packing: Packing, max_steps: int) -> list[Failure]:
        """Those of the samples that have not reached the last time."""
        found = []
        for i, reason in enumerate(self.status):
            if reason in WHY:
                state, why = packing.split(self.u[i]), WHY[reason].format(max_steps=max_steps)
                t, h, norm = (float(x[i]) for x in (self.t, self.h, self.norm))
                found.append(Failure(reason, t, h, None if math.isnan(norm) else norm, state, why, sample=i))
        return found


def _check(control: StepControl, times: Times, tolerances: Sequence[Any], u: Tensor) -> None:
    if control.jump_t:
        raise FieldError(
            "per_sample: got a StepControl with jump_t, expected none; solve up to each of these times, and on from "
            "the state there"
        )
    if times.learned is not None:
        raise FieldError("per_sample: got times that require a gradient, expected times without; detach them")
    for tolerance in tolerances:
        if isinstance(tolerance, Tensor) and tolerance.dim() >= u.dim() and len(tolerance) != 1:
            raise FieldError(
                f"per_sample: got a tolerance of shape {tuple(tolerance.shape)} for a state of shape {tuple(u.shape)}, "
                "as one tensor, expected one that broadcasts to that of a single sample"
            )


def _stops(control: StepControl, ends: tuple[float, float], like: Tensor) -> Tensor | None:
    low, high = sorted(ends)
    inside = sorted({x for x in control.step_t if low < x < high}, reverse=ends[1] < ends[0])
    return like.new_tensor([*inside, ends[1]]) if inside else None


def _states(u: Tensor, count: int, ends: Ends, found: Sequence[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """The states of all samples at all times: (count, n, ...); NaN at those that a sample does not reach."""
    last = torch.where(column((ends.t == ends.stop).to(u.device), u), ends.u, torch.nan)
    if not found:
        return torch.stack([u, *[torch.full_like(u, torch.nan)] * (count - 2), last])
    places = torch.cat([k * len(u) + sample for k, sample, _ in found])
    inside = u.new_full(((count - 2) * len(u), *u.shape[1:]), torch.nan)
    inside = inside.index_copy(0, places, torch.cat([states for _, _, states in found]))
    return torch.cat([u[None], inside.reshape(count - 2, *u.shape), last[None]])


def _tell(failures: Sequence[Failure], solution: Solution, on_failure: str) -> None:
    """Raise or warn where samples have failed."""
    if not failures:
        return
    reasons = ", ".join(f"{count} {reason}" for reason, count in Counter(x.reason for x in failures).items())
    more = f"; and {len(failures) - TOLD} more" if len(failures) > TOLD else ""
    message = (
        f"solve gave up on {len(failures)} of {len(solution.status)} samples ({reasons}): "
        f"{'; '.join(map(str, failures[:TOLD]))}{more}. The solution, of the others to the end, is "
    )
    if on_failure == "flag":
        warnings.warn(f"{message}returned", IntegrationWarning, stacklevel=4)
        return
    raise IntegrationError(f"{message}in this error", failures[0], solution, tuple(failures))
