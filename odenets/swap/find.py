"""What the passes at an example show of a model: its sums, the chains they form, and what stands between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from .calls import ACTIVATIONS, Call, name_of
from .judge import Judge
from .sums import Sum
from .trace import Value, record


@dataclass(eq=False)
class Findings:
    """The sums of a model in their order, and the chains of those that are taken.

    ``aliased``: whether views were written to. ``between``: the modules without sums in whose forwards a state is moved
    from one sum to the next; ``within``: all in whose forwards, or in those of modules inside them, a sum or a move is
    made.
    """

    sums: list[Sum]
    aliased: bool
    chains: list[list[Sum]] = field(default_factory=list)
    between: set[str] = field(default_factory=set)
    within: set[str] = field(default_factory=set)
    notes: tuple[str, ...] = ()


def find(model: nn.Module, example: Any) -> Findings:
    """Run copies of ``model`` at ``example``, in evaluation and in training, and judge its sums."""
    judge = Judge(record(model, example))
    found = Findings(judge.sums, judge.trace.aliased)
    _chain(found, judge)
    try:
        trained = Judge(record(model, example, training=True))
    except Exception as error:  # whatever somebody's forward raises
        first = (str(error).splitlines() or [""])[0]
        text = f"the pass at the example failed in training, which is not looked at: {type(error).__name__}: {first}"
        found.notes = (text,)
        for one in judge.taken:
            one.draws = (one.draws[0], "a branch whose pass in training failed at the example, and may draw")
        return found
    known = {one.at: one for one in trained.taken}
    for one in judge.taken:
        other = known.get(one.at, one)
        one.once, one.draws = one.once or other.once, (one.draws[0], other.draws[0])
    found.aliased = found.aliased or trained.trace.aliased
    return found


def _chain(found: Findings, judge: Judge) -> None:
    """Form chains of sums whose state is what the one before made, moved or behind an activation at most."""
    ends, labels, owners = dict[int, list[Sum]](), Counter[str](), {one.owner.module for one in judge.taken}
    for one in judge.taken:
        one.label = str(labels[one.owner.module])
        labels[one.owner.module] += 1
        ways = list(judge.back(one.state if one.parts else one.operands[one.side]))
        before = next((i for i, number in enumerate(ways) if number in ends), len(ways))
        if before == len(ways):
            found.chains.append([one])
            chain, moved = found.chains[-1], list[Value]()
        else:
            chain, moved = ends.pop(ways[before]), [judge.values[number] for number in ways[:before]]
            chain.append(one)
        ends[one.made] = chain
        frames = [*(part.frames for part in one.additions), *(value.frames for value in moved)]
        found.within.update(frame.module for own in frames for frame in own)
        found.between.update(own[-1].module for own in frames if not any(frame.module in owners for frame in own))
        later = [other for other in judge.taken if other.owner is one.owner and other.made > one.made]
        one.clears = all(other.state >= one.made for other in later)
        one.activations = tuple(name_of(call.func) for call in _after(judge, one))


def _after(judge: Judge, one: Sum) -> Iterator[Call]:
    """The activations that follow a sum, where nothing else uses it."""
    number = one.made
    while len(found := judge.consumers(number)) == 1 and (value := found[0]) is not None and value.call is not None:
        number = value.number
        if judge.passes(number) is None or value.call.func not in ACTIVATIONS:
            break
        yield value.call
    # Or what is written into a view of it.
    made = judge.values[one.made]
    for value in (judge.values[n] for n in made.uses if n >= 0):
        if value.tensor is made.tensor and one.made not in value.inputs and value.call is not None:
            yield value.call
