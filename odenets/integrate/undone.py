"""Accepted steps of a reversible scheme run as a network, which undoes them in the backward pass."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from itertools import pairwise

from torch import Tensor

from ..gradients import Reversible, Runner
from ..gradients.anchors import SegmentPlan
from ..gradients.reversible import REHEARSALS, ReversibleRun
from ..passes import Network, Pass
from ..program.step import State
from ..scheme import Scheme
from .grid import pinned
from .network_steps import as_complex, network_on, real
from .replay import accepted
from .run import Run
from .step import Step

#: A solve is cut into at most so many pieces, each of at least so many steps, that begin with a state that is kept: the
#: memory of a long one does not grow, but where rounding asks for more states (:mod:`odenets.gradients.anchors`). A
#: piece that is not undone exactly enough is run again, so one piece of all would not do.
PIECES, SHORTEST = 10, 100


@dataclass(frozen=True)
class Undone:
    """The steps of an adaptive solve without a record, and once more by a network that keeps a few states.

    The steps end at all times that are asked for: the states there are kept anyway.

    Args:
        scheme: reversible.
        options: of the way to gradients.
        run: what the solution is collected by.
    """

    scheme: Scheme
    options: Reversible
    run: Run

    def parts(self, u: Tensor, steps: Iterable[Step]) -> Iterator[Sequence[Tensor]]:
        """The states at the times asked for; GaveUp at the end where the steps did not reach theirs."""
        spans, failed = accepted(steps)
        if spans:
            ends, times = [spans[0].start, *(span.stop for span in spans)], self.run.times
            wanted = set(times.values[1:])
            after = [n for n, t in enumerate(ends) if t in wanted]
            given = {part.name: getattr(self.options, part.name) for part in fields(Reversible)}
            passed = _Passing(**given, after=tuple(after))
            net = network_on(self.scheme, self.run.function, pinned(ends, times), u)
            net.gradient = passed
            net(real(u) if u.is_complex() else u)
            yield [as_complex(x).reshape(u.shape) if u.is_complex() else x for x in passed.states]
        if failed is not None:
            raise failed


@dataclass(frozen=True)
class _Passing(Reversible):
    """Steps that are undone, and the solution ``states`` after those numbered in ``after``."""

    after: tuple[int, ...] = ()
    states: list[Tensor] = field(default_factory=list, compare=False)

    def attach(self, net: Network) -> Runner:
        super().attach(net)
        return _Run(self, net)


class _Run(ReversibleRun):
    options: _Passing

    @property
    def rehearsals(self) -> int:  # type: ignore[override]
        """The network is of one pass: nothing is learned for others."""
        return 0 if self.options.on_failure == "rerun" else REHEARSALS

    def settled(self, plans: tuple[SegmentPlan, ...]) -> tuple[SegmentPlan, ...]:
        """The segments, cut where the solution is asked for, and to what may have to be run again."""
        cut: list[SegmentPlan] = []
        size = max(SHORTEST, math.ceil(sum(plan.stop - plan.start for plan in plans) / PIECES))
        for plan in plans:
            inside = {*range(plan.start, plan.stop, size), *self.options.after}
            ends = [plan.start, *sorted(n for n in inside if plan.start < n < plan.stop), plan.stop]
            cut += [SegmentPlan(a, b, plan.undone, plan.predicted) for a, b in pairwise(ends)]
        return tuple(cut)

    def segments(self, run: Pass, first: int, state: State) -> Iterator[tuple[SegmentPlan, State]]:
        for plan, after in super().segments(run, first, state):
            if plan.stop in self.options.after:
                # The node keeps its output, into which what follows may write.
                self.options.states.append(after[0].clone())
            yield plan, after
