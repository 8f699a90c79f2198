"""What the steps of a network run, looked up once when it is compiled."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from ..program import Program


class PlannedStep(NamedTuple):
    """A step, and what every pass would ask its program about.

    Args:
        program: what it runs.
        solves: whether stages have to be solved for.
        repeats: whether it evaluates a module more than once.
    """

    program: Program
    solves: bool
    repeats: bool


class Plan(tuple[PlannedStep, ...]):
    """All steps of a network. Printed, it shows the code that they run."""

    __slots__ = ()

    def __str__(self) -> str:
        found, n = [], 0
        for program, steps in groupby(step.program for step in self):
            last = n + len(list(steps)) - 1
            which = f"step {n}" if last == n else f"steps {n} to {last}"
            found.append(f"# {which}: {program.scheme.name}, h = {program.h:g}\n{program.listing}")
            n = last + 1
        return "\n\n".join(found)


def plan(programs: Sequence[Program], visits: Sequence[Sequence[int]]) -> Plan:
    """The plan of steps that run ``programs``; ``visits``: how often each evaluates each of its modules."""
    return Plan(
        PlannedStep(program.ready(), not program.explicit, max(counts) > 1)
        for program, counts in zip(programs, visits, strict=True)
    )
