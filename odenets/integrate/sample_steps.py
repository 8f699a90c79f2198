"""Steps of which each sample of a batch has its own, with its own time, size, controller and end."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from .sample_events import SampleWatch
from .sample_function import SampleFunction
from .sample_sizes import SampleSizes
from .sample_tries import Tried
from .samples import Samples, Spans, column
from .step import Step


@dataclass(frozen=True)
class Ended:
    """Samples that have left the batch together, and how many steps were tried and evaluations made for each."""

    samples: Samples
    tries: int
    calls: int


@dataclass
class SampleSteps:
    """The steps of a batch: tried for all samples at once, accepted or rejected by each. Who is done leaves the batch.

    What was rejected is never recorded: an infinite value in it would make NaN of the gradient, though multiplied by
    0. So a step is tried without a record, and taken once more, with it, by the samples that have accepted.

    Args:
        sizes: what chooses the step sizes.
        tries: of a state, the slope there and spans, what a step leads to.
        function: f.
        max_steps: of a sample, accepted or rejected.
        times: those asked for between the ends, in their order.
        watch: what looks for events, if anything.

    ``ended`` are samples as they left the batch, those last that have taken max_steps, if any; ``found`` is (number of
    the time, sample, state) of the times in between.
    """

    sizes: SampleSizes
    tries: Callable[[Tensor, Tensor, Spans], Tried]
    function: SampleFunction
    max_steps: int
    times: Tensor
    watch: SampleWatch | None = None
    ended: list[Ended] = field(default_factory=list, init=False)
    found: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list, init=False)

    def run(self, u: Tensor) -> None:
        """Take all steps from state u."""
        self.tried = 0
        self.now = self._begin(u)
        self.calls = self.function.evaluations
        while self.tried < self.max_steps and len(self.now.t):
            self._step()
        if len(self.now.t):
            self.ended.append(Ended(self.now, self.tried, self.calls))

    # -------------------------------------------------------------------------------------------------- the first step

    def _begin(self, u: Tensor) -> Samples:
        n, wide = len(u), self.times.dtype
        zeros, none = u.real.new_zeros(n, dtype=wide), u.new_zeros(n, dtype=torch.int64)
        t, sample = zeros + self.sizes.ends[0], torch.arange(n, device=u.device)
        slope = self.function(column(t, u), u)
        self.recording = slope.requires_grad or u.requires_grad
        with torch.no_grad():
            h = self.sizes.first(self.function, t, u, slope)
            g = zeros[:, None][:, :0] if self.watch is None else self.watch.values(t, u, sample)
        return Samples(
            sample=sample,
            t=t,
            u=u,
            slope=slope,
            to=self.sizes.limited(t, h)[0],
            h=h,
            most=zeros + math.inf,
            norm=zeros.masked_fill(h == 0, math.inf),
            past=(zeros + 1,) * (len(self.sizes.control.exponents) - 1),
            accepted=none,
            smallest=zeros + math.inf,
            largest=zeros,
            extra=none,
            reached=none,
            g=g,
            until=zeros + math.inf * self.sizes.direction,
        )

    # ---------------------------------------------------------------------------------------------------------- a step

    def _step(self) -> None:
        """One more step."""
        now = self.now
        self.function.samples = now.sample
        begun, self.tried = self.function.evaluations, self.tried + 1
        span = Spans(column(now.t, now.u), column(now.to, now.u))
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.recording):
            step, norm, extra = self.tries(now.u, now.slope, span)
        self.calls += self.function.evaluations - begun
        self.recording = self.recording or step.u1.requires_grad
        with torch.no_grad():
            now.extra = now.extra + extra
            fits = self.sizes.judge(now, norm)
            passed = self._passed() if self.times.numel() else None
            now.to, stops = self.sizes.limited(now.t, now.h)
            gone, crossed = stops | (now.t == self.sizes.ends[1]), None
            if self.watch is not None:
                crossed = self._look(self.watch, step, fits)
                gone = gone | (crossed & self.watch.terminal).any(1)
            masks = _Masks(fits, gone, passed, crossed)
            # The one transfer of a step.
            counts: list[int] = torch.stack(masks.columns()).sum(1).tolist()
        if counts[0]:
            self._move(step, span, masks, counts)
        if counts[1]:
            order = _ahead(masks.gone)
            self.ended.append(Ended(now.rows(order[: counts[1]]), self.tried, self.calls))
            self.now = now.rows(order[counts[1] :])

    def _look(self, watch: SampleWatch, step: Step, fits: Tensor) -> Tensor:
        """Which events each sample passes in the step, of shape (n, events)."""
        now = self.now
        after = watch.values(step.span.stop, step.u1, now.sample)  # type: ignore[arg-type]
        crossed = watch.crossed(now.g, after) & fits[:, None]
        now.g = torch.where(fits[:, None], after, now.g)
        return crossed

    def _move(self, step: Step, spans: Spans, masks: _Masks, counts: Sequence[int]) -> None:
        """On to the states and slopes of those that have accepted; keep the states at the times that they pass."""
        now, fits, rows = self.now, masks.fits, None
        if self.recording:
            rows, calls = _ahead(fits)[: counts[0]], self.function.evaluations
            spans, self.function.samples = spans.rows(rows), now.sample.index_select(0, rows)
            step, _, more = self.tries(now.u.index_select(0, rows), now.slope.index_select(0, rows), spans)
            now.extra = now.extra + fits * (self.function.evaluations - calls)
            if isinstance(more, Tensor):
                now.extra = now.extra.index_add(0, rows, more)
        if step.known_end is None:
            # An evaluation, which a sample does not need that is done and has passed nothing.
            now.extra = now.extra + (fits & masks.needs_end())
        if any(counts[2:]):
            place = torch.arange(len(fits), device=fits.device) if rows is None else fits.cumsum(0) - 1
            self._keep(step, spans, place, masks, counts)
        after = step.u1, step.end_slope()
        if counts[0] < fits.shape[0]:
            after = _put(now.u, after[0], fits, rows), _put(now.slope, after[1], fits, rows)
        now.u, now.slope = after

    def _passed(self) -> Tensor:
        """How many more of the times asked for are not after t."""
        t = self.now.t * self.sizes.direction
        return torch.searchsorted(self.times * self.sizes.direction, t, right=True) - self.now.reached

    def _keep(self, step: Step, spans: Spans, place: Tensor, masks: _Masks, counts: Sequence[int]) -> None:
        """What the step has passed; ``place`` is that of a sample in the step."""
        inside = list(counts[2:])
        if masks.passed is not None and (count := inside.pop(0)):
            self._keep_times(step, spans, place, masks.passed, count)
        for k, count in enumerate(inside):
            if self.watch is None or masks.crossed is None or not count:
                continue
            rows = _ahead(masks.crossed[:, k])[:count]
            index, now = place[rows], self.now
            t = self.watch.find(k, step.of_samples(index, spans.rows(index)), now.sample[rows])
            if self.watch.events[k].terminal:
                first = torch.minimum if self.sizes.direction > 0 else torch.maximum
                now.until = now.until.index_copy(0, rows, first(now.until[rows], t))

    def _keep_times(self, step: Step, spans: Spans, place: Tensor, passed: Tensor, count: int) -> None:
        now = self.now
        every = torch.arange(len(passed), device=passed.device).repeat_interleave(passed, output_size=count)
        k = torch.arange(count, device=passed.device) + (now.reached - passed.cumsum(0) + passed)[every]
        index = place[every]
        part = step.of_samples(index, spans.rows(index))
        self.found.append((k, now.sample[every], part.at(column(self.times[k], step.u0))))
        now.reached = now.reached + passed


class _Masks(NamedTuple):
    """Of each sample: if it has accepted the step, if it is done, how many times and which events it has passed."""

    fits: Tensor
    gone: Tensor
    passed: Tensor | None
    crossed: Tensor | None

    def columns(self) -> list[Tensor]:
        """All of them, one after the other."""
        passed = [] if self.passed is None else [self.passed]
        return [self.fits, self.gone, *passed, *([] if self.crossed is None else self.crossed.unbind(1))]

    def needs_end(self) -> Tensor:
        """Who needs the slope at the end."""
        needs = ~self.gone
        if self.passed is not None:
            needs = needs | (self.passed > 0)
        return needs if self.crossed is None else needs | self.crossed.any(1)


def _ahead(mask: Tensor) -> Tensor:
    """Those that the mask holds for, and after them the others; how many there are is not asked of the device."""
    return torch.argsort((~mask).to(torch.uint8), stable=True)


def _put(old: Tensor, new: Tensor, fits: Tensor, rows: Tensor | None) -> Tensor:
    """The new rows in their places: of all samples, those that fit, or those of some."""
    return torch.where(column(fits, old), new, old) if rows is None else old.index_copy(0, rows, new)
