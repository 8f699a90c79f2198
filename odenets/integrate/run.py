"""The steps of a solve taken one after the other, and what is kept of them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor

from ..program.transforms import plain, recorded
from .adaptive import Counts
from .errors import Failure, GaveUp, IntegrationError, IntegrationWarning
from .event import EventFunction, Watch, first_zero
from .function import Function
from .packing import Packing
from .solution import Inside, Solution, Stats
from .step import Step
from .times import Times


class Run:
    """Collects the solution at the times asked for.

    Args:
        packing: how a state is one tensor.
        times: those asked for.
        function: f.
        on_failure: "raise" or "flag".
        dense: whether the steps are kept.

    ``watch``, where it is given one, looks for events.
    """

    watch: Watch | None = None

    def __init__(self, packing: Packing, times: Times, function: Function, on_failure: str, dense: bool) -> None:
        self.packing, self.times, self.function = packing, times, function
        self.on_failure, self.dense = on_failure, dense
        self.counts = Counts()
        self._kept: list[Step] = []
        self._found: list[Tensor] = []

    def collect(self, u: Tensor, steps: Iterable[Step]) -> Solution:
        """The solution, from state u.

        Raises:
            IntegrationError: it does not reach the last time, and that is not only to be flagged.
        """
        self._found = [u]
        try:
            for step in steps:
                end = None if self.watch is None else self.watch.look(step)
                self._take(step, step.span.stop if end is None else end[0])
                if end is not None:
                    return self._ended(*end)
            self._refuse_not_finite()
        except GaveUp as end:
            return self._failed(end.failure)
        return self._solution("success")

    def collect_parts(self, u: Tensor, parts: Iterable[Sequence[Tensor]]) -> Solution:
        """As :meth:`collect`, of the states at the times that each of several parts of the solve passes."""
        self._found = [u]
        try:
            for found in parts:
                self._found += found
            self._refuse_not_finite()
        except GaveUp as end:
            return self._failed(end.failure)
        return self._solution("success")

    @property
    def states(self) -> Tensor:
        """The solution at the times that were reached, each state one tensor, stacked."""
        return torch.stack(self._found)

    def event(self, u: Tensor, steps: Iterable[Step], g: EventFunction, time: Tensor) -> tuple[float, Tensor]:
        """The time at which g is first 0, and the state then.

        Raises:
            IntegrationError: the steps end before.
        """
        self._found = [u]
        try:
            if (found := first_zero(steps, g, time)) is None:
                why = f"no event in {self.counts.accepted} steps"
                raise GaveUp(Failure("too many steps", self.times.values[0], self.counts.largest, None, u, why))
        except GaveUp as end:
            self._failed(end.failure)
            raise
        t, step = found
        return t, step.u1 if t == step.span.stop else step.at(t)

    def _ended(self, t: float, at: Tensor, u: Tensor) -> Solution:
        """The solution up to a terminal event, its time and state the last."""
        # The event may be at a time asked for, where a step ends, or to rounding where it starts.
        self._found[self.times.before(t) :] = [u]
        solution = self._solution("event")
        times = torch.cat([solution.t[:-1], at.reshape(1).to(solution.t.dtype)])
        inside = Inside(self.packing, self._kept, t) if self._kept else None
        return replace(solution, t=times, _inside=inside)

    def _take(self, step: Step, stop: float) -> None:
        self._found += self.passed(step, len(self._found), stop)
        if self.dense:
            step.prepare()
            self._kept.append(step)

    def passed(self, step: Step, known: int, stop: float) -> list[Tensor]:
        """The states at the times that a step passes until it stops, where the first ``known`` have been passed."""
        values, forward = self.times.values[known:], step.span.stop > step.span.start
        inside = takewhile(lambda t: t <= stop if forward else t >= stop, values)
        return [self._value(k, step) for k, _ in enumerate(inside, known)]

    def _value(self, k: int, step: Step) -> Tensor:
        t = self.times.values[k]
        if self.times.learned is None:
            return step.u1 if t == step.span.stop else step.at(t)
        own = self.times.learned[k]
        # The step may end there without being moved by this time: its gradient is that of the solution inside.
        moved = step.span.learned is not None and step.span.learned[1] is own
        if not moved and step.linear and t == step.span.stop:
            # Where two straight pieces meet, the slope is that of the solution, which is about the mean of theirs.
            past = own - (step.span.learned[1] if step.span.learned else t)
            return step.u1 + past.to(step.u1.real.dtype) * step.end_slope()
        return step.u1 if moved else step.at(own)

    def _refuse_not_finite(self) -> None:
        """GaveUp where the last state is not finite: on a grid nothing has looked at it before."""
        if recorded() or not plain() or bool(torch.isfinite(self._found[-1]).all()):
            return
        good = [bool(torch.isfinite(u).all()) for u in self._found]
        first = good.index(False)
        self._found = self._found[: max(1, first)]
        t = self.times.values[len(self._found) - 1]
        why = f"the solution is not finite at t = {self.times.values[first]:.6g}"
        raise GaveUp(Failure("not finite", t, self.counts.largest, None, self._found[-1], why))

    def _solution(self, status: str) -> Solution:
        counts, t = self.counts, self.times.tensor(len(self._found), self._found[0].device)
        smallest = counts.smallest if counts.accepted else 0.0
        stats = Stats(
            counts.accepted,
            counts.rejected,
            self.function.evaluations,
            smallest,
            counts.largest,
            counts.jacobians,
            counts.factorisations,
        )
        y: Any = self.packing.split(self.states)
        inside = Inside(self.packing, self._kept) if self._kept else None
        events = () if self.watch is None else self.watch.occurrences()
        return Solution(t, y, status, stats, events, inside)

    def _failed(self, end: Failure) -> Solution:
        solution = self._solution(end.reason)
        message = f"solve gave up {end}. The solution so far, after {solution.stats}, is "
        if self.on_failure == "flag":
            warnings.warn(f"{message}returned", IntegrationWarning, stacklevel=4)
            return solution
        failure = replace(end, state=self.packing.split(end.state))
        raise IntegrationError(f"{message}in this error", failure, solution) from None
