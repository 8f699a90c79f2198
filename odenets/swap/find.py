"""What the passes at an example show of a model: its sums, the chains they form, and what stands between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from .calls import Call, name_of, tensors_in
from .judge import Judge
from .sums import ACTIVATIONS, Activation, Sum
from .trace import Value, record


@dataclass(eq=False)
class Findings:
    """The sums of a model in their order, the chains of those that are taken; whether views were written to; notes."""

    sums: list[Sum]
    chains: list[list[Sum]]
    aliased: bool
    notes: tuple[str, ...] = ()


def find(model: nn.Module, example: Any) -> Findings:
    """Run copies of ``model`` at ``example``, in evaluation and in training, and judge its sums."""
    judge = Judge(record(model, example))
    found = Findings(judge.sums, _chains(judge), judge.trace.aliased)
    try:
        trained = Judge(record(model, example, training=True))
    except Exception as error:  # whatever somebody's forward raises
        first = (str(error).splitlines() or [""])[0]
        text = f"the pass at the example failed in training, which is not looked at: {type(error).__name__}: {first}"
        found.notes = (text,)
        for one in judge.taken:
            one.draws = (one.draws[0], "a branch whose pass in training failed at the example, and may draw")
        return found
    known = {(one.owner.module, one.source, one.place): one for one in trained.taken}
    for one in judge.taken:
        other = known.get((one.owner.module, one.source, one.place), one)
        one.once, one.draws = one.once or other.once, (one.draws[0], other.draws[0])
    found.aliased = found.aliased or trained.trace.aliased
    return found


def _chains(judge: Judge) -> list[list[Sum]]:
    """Sums whose state is what the one before made, moved or behind an activation at most."""
    ends: dict[int, list[Sum]] = {}
    chains, moved, labels = list[list[Sum]](), dict[Sum, list[Value]](), Counter[str]()
    for one in judge.taken:
        one.label = str(labels[one.owner.module])
        labels[one.owner.module] += 1
        ways = list(judge.back(one.state if one.parts else one.operands[one.side]))
        before = next((i for i, number in enumerate(ways) if number in ends), None)
        chain: list[Sum] = [] if before is None else ends.pop(ways[before])
        moved[one] = [judge.values[number] for number in ways[:before][::-1]] if chain else []
        if not chain:
            chains.append(chain)
        chain.append(one)
        ends[one.made] = chain
        later = [other for other in judge.taken if other.owner is one.owner and other.made > one.made]
        one.clears = all(other.state >= one.made for other in later)
        one.activations = tuple(map(_activation, _after(judge, one)))
    _see(moved)
    return chains


def _see(moved: dict[Sum, list[Value]]) -> None:
    """Which modules see what is done between sums: the innermost that have sums, or what all of it has in common."""
    homes = {one.owner.module for one in moved}
    for values in moved.values():
        outside = [value for value in values if not any(frame.module in homes for frame in value.frames)]
        if outside:
            homes.add([f for f in outside[0].frames if all(f in value.frames for value in outside)][-1].module)
    for one, values in moved.items():
        frames = [*(part.frames for part in one.additions), *(value.frames for value in values)]
        one.within = frozenset(frame.module for own in frames for frame in own)
        one.moves = tuple(
            (next(frame.module for frame in reversed(value.frames) if frame.module in homes), value.call.func)
            for value in values
            if value.call is not None
        )


def _after(judge: Judge, one: Sum) -> Iterator[Call]:
    """The activations that follow a sum, where nothing else uses it."""
    number = one.made
    while len(found := judge.consumers(number)) == 1 and (value := found[0]) is not None and value.call is not None:
        number = value.number
        if judge.passes(number) is None or name_of(value.call.func) not in ACTIVATIONS:
            break
        yield value.call
    # Or what is written into a view of it.
    made = judge.values[one.made]
    for value in (judge.values[n] for n in made.uses if n >= 0):
        if value.tensor is made.tensor and one.made not in value.inputs and value.call is not None:
            yield value.call


def _activation(call: Call) -> Activation:
    kwargs = {key: value for key, value in call.kwargs.items() if key != "input"}
    if any(True for _ in tensors_in((call.args[1:], kwargs))):  # which belong to the example
        return Activation(call.func, (), {}, tensors=True)
    return Activation(call.func, call.args[1:], kwargs, tensors=False)
