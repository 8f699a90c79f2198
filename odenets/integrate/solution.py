"""What a solve returns: the solution at the times asked for, between them, and what it cost."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..fields import FieldError
from ..fields.numbers import learned, number
from ..program.transforms import eager_under_compile
from ..scheme.shown import Shown
from .event import Occurrences
from .packing import Packing
from .step import Step


@dataclass(frozen=True)
class Stats:
    """What a solve cost: steps accepted and rejected, evaluations of f, the smallest and the largest step size.

    Adaptive implicit steps also: Jacobians of f, and factorisations of matrices made of them. Numbers; of a solve with
    ``per_sample=True`` tensors with one for each sample, on the CPU.
    """

    accepted: Any
    rejected: Any
    evaluations: Any
    smallest_step: Any
    largest_step: Any
    jacobians: int = 0
    factorisations: int = 0

    def __str__(self) -> str:
        smallest, largest = _ends(self.smallest_step)[0], _ends(self.largest_step)[1]
        sizes = f", h from {smallest:.3g} to {largest:.3g}" if _ends(self.accepted)[1] else ""
        matrices = f", {self.jacobians} Jacobians, {self.factorisations} factorisations" if self.jacobians else ""
        counts = (_range(x) for x in (self.accepted, self.rejected, self.evaluations))
        return "{} steps, {} rejected, {} evaluations".format(*counts) + matrices + sizes


def _ends(x: Any) -> tuple[Any, Any]:
    """The smallest number and the largest one."""
    return (x.min().item(), x.max().item()) if isinstance(x, Tensor) else (x, x)


def _range(x: Any) -> str:
    low, high = _ends(x)
    return f"{low}" if low == high else f"{low} to {high}"


@dataclass(repr=False)  # not frozen: torch.compile cannot make a frozen one after a graph break
class Solution(Shown):
    """The solution of u' = f(t, u) at times.

    Args:
        t: the times, as many as were reached.
        y: the states at them, stacked in front: tensors of shape (len(t), ...), in a tuple or dict where y0 is one.
        status: "success"; "event", where one has ended the solve, whose time and state are then the last; or why it
            gave up, see :class:`IntegrationError`. With ``per_sample=True`` a list of these, one for each sample: t
            are all times then, and y is NaN at those that a sample does not reach.
        stats: what it cost.
        events: for each event that was looked for, its :class:`Occurrences`.

    Where it was made with ``dense=True`` it can be called: ``solution(t)`` is the state at any time between the first
    and the last, ``solution(times)`` are those at several, stacked.
    """

    t: Tensor
    y: Any
    status: Any
    stats: Stats
    events: tuple[Occurrences, ...]
    _inside: Inside | None

    def __call__(self, t: Any) -> Any:
        """The state at a time, a number or a tensor, or at times, a tensor of one dimension or a list.

        Raises:
            FieldError: a solution that was made without ``dense=True``, what is no time or none that it reaches.
        """
        if self._inside is None:
            raise FieldError("solution(t): got a solution at given times alone, expected one of solve(..., dense=True)")
        return self._inside(t)

    @property
    def steps(self) -> list[float]:
        """The times that steps end at, the first one included.

        Raises:
            FieldError: a solution that was made without ``dense=True``.
        """
        if self._inside is None:
            raise FieldError("solution.steps: got a solution at given times alone, expected solve(..., dense=True)")
        return self._inside.ends

    def __str__(self) -> str:
        span = f"t = {self.t[0].item():g} ... {self.t[-1].item():g}, {len(self.t)} times"
        return f"Solution({self._told_status()}: {span}; {self.stats})"

    def _told_status(self) -> str:
        if isinstance(self.status, str):
            return self.status
        counts = Counter(self.status)
        told = next(iter(counts)) if len(counts) == 1 else ", ".join(f"{n} {what}" for what, n in counts.items())
        return f"{len(self.status)} samples, {told}"


class Inside:
    """The solution between the steps, which are kept in the order they were taken in."""

    def __init__(self, packing: Packing, steps: Sequence[Step], end: float | None = None) -> None:
        self._packing, self._steps = packing, steps
        self._end = steps[-1].span.stop if end is None else end
        self._forward = steps[-1].span.stop > steps[0].span.start
        self._stops = [self._along(step.span.stop) for step in steps]

    @property
    def ends(self) -> list[float]:
        """The times that steps end at, the first one included."""
        return [self._steps[0].span.start, *(step.span.stop for step in self._steps)]

    def _along(self, t: float) -> float:
        return t if self._forward else -t

    @eager_under_compile
    def __call__(self, t: Any) -> Any:
        """The state at a time, or at times."""
        if isinstance(t, (list, tuple)) or getattr(t, "ndim", 0) == 1:
            if not len(t):
                raise FieldError("solution(t): got no times, expected at least one")
            return self._packing.split(torch.stack([self._at(one) for one in t]))
        return self._packing.split(self._at(t))

    def _at(self, t: Any) -> Tensor:
        value = number(t.detach() if learned(t) else t, "solution(t)")
        first, last = self._steps[0].span.start, self._end
        if not self._along(first) <= self._along(value) <= self._along(last):
            raise FieldError(f"solution(t): got t = {value:g}, expected a time between {first:g} and {last:g}")
        step = self._steps[bisect_left(self._stops, self._along(value))]
        return step.at(t.to(step.u0.device) if isinstance(t, Tensor) and t.requires_grad else value)
