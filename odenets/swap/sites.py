"""What the example has shown of a model, as a value: it holds no tensor, and is copied and pickled with the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from .calls import Function, Source, name_of, tensors_in
from .judge import ACTIVATIONS, Judge, Sum
from .trace import Call, Frame, record


@dataclass(frozen=True)
class Activation:
    """A function of the state alone that follows a sum, with its other arguments."""

    func: Function
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Of the function."""
        return name_of(self.func)

    def __call__(self, x: Tensor) -> Tensor:
        """Its value at x, which is not written to."""
        x = x.clone()
        value = self.func(x, *self.args, **self.kwargs)
        return value if isinstance(value, Tensor) else x


@dataclass(frozen=True)
class Place:
    """An addition in the forward of a module.

    ``place``: which addition in its line it is, ``number``: which of all. ``side``: which operand is the state.
    ``reused``: what it is written to is used again under its old name.
    """

    source: Source
    place: int
    number: int
    side: int
    reused: bool


@dataclass(frozen=True)
class Site:
    """A sum of the model.

    Args:
        module: path of the innermost module in whose forward it is made.
        owner: path of the one that has seen all between its state and it.
        source: the line.
        reason: why it is left alone; empty where it is taken.
        once: why what is added cannot be had at other states.
        parts: its additions, one or several.
        copies: how often the state is copied before it.
        moves: what is done to the state between the sum before it in its chain and it: functions, and whether each
            moves the values or is an activation.
        home: path of the module that sees these.
        activation: what follows it.
        norms: paths of the normalisations in its branch.
        clears: whether no later sum of the owner has a state older than it.
        always: whether each call of its owner has it.
    """

    module: str
    owner: str
    source: Source
    reason: str
    once: str = ""
    parts: tuple[Place, ...] = ()
    copies: int = 0
    moves: tuple[tuple[Function, bool], ...] = ()
    home: str = ""
    activation: tuple[Activation, ...] = ()
    norms: tuple[str, ...] = ()
    clears: bool = True
    always: bool = True

    @property
    def activation_names(self) -> tuple[str, ...]:
        """Names of what follows it."""
        return tuple(one.name for one in self.activation)


@dataclass(frozen=True)
class Findings:
    """The sums of a model in their order, and by number the chains of those that are taken.

    ``totals``: owner -> line -> additions in it in one call. ``around``: owners that have others in them.
    ``watched``: modules in which steps are made, or what is between them. ``aliased``: a tensor that has views was
    written to. ``notes``: what was not looked at.
    """

    sites: tuple[Site, ...]
    chains: tuple[tuple[int, ...], ...]
    totals: Mapping[str, Mapping[Source, int]]
    around: frozenset[str]
    watched: frozenset[str]
    aliased: bool
    notes: tuple[str, ...]


def find(model: nn.Module, example: Any) -> Findings:
    """Run copies of ``model`` at ``example``, in evaluation and in training, and judge its sums."""
    judge = Judge(record(model, example))
    once, aliased, notes = {}, judge.trace.aliased, list[str]()
    try:
        trained = Judge(record(model, example, training=True))
    except Exception as error:  # whatever somebody's forward raises
        first = (str(error).splitlines() or [""])[0]
        kind = type(error).__name__
        notes.append(f"the pass at the example failed in training, which is not looked at: {kind}: {first}")
    else:
        aliased = aliased or trained.trace.aliased
        once = {_key(found): found.once for found in trained.taken}
    chains = judge.chains()
    number = {id(found): i for i, found in enumerate(judge.sums)}
    sites = {id(found): _site(judge, found) for found in judge.sums}
    for chain in chains:
        for (before, _), (found, calls) in pairwise(chain):
            sites[id(found)] = replace(sites[id(found)], **_links(before, found, calls))
    for found in judge.taken:
        site = sites[id(found)]
        sites[id(found)] = replace(site, once=site.once or once.get(_key(found), ""))
    return Findings(
        tuple(sites.values()),
        tuple(tuple(number[id(found)] for found, _ in chain) for chain in chains),
        _totals(judge),
        frozenset(_around(judge)),
        frozenset(_watched(judge, chains)),
        aliased,
        tuple(notes),
    )


def _key(found: Sum) -> object:
    return found.owner.module, found.seen.source, found.places[-1][0]


def _site(judge: Judge, found: Sum) -> Site:
    frames, seen = found.seen.frames, found.seen
    if found.reason:
        return Site(frames[-1].module, found.owner.module, seen.source, found.reason)
    sides = (*found.sides, found.side)
    later = [one for one in judge.taken if one.owner is found.owner and one.seen.made > seen.made]
    return Site(
        frames[-1].module,
        found.owner.module,
        seen.source,
        "",
        once=found.once,
        parts=tuple(
            Place(one.source, place, order, side, one.reused)
            for one, (place, order), side in zip(found.steps, found.places, sides, strict=True)
        ),
        copies=found.copies,
        activation=tuple(map(_activation, judge.after(found))),
        norms=tuple(judge.norms(found)),
        clears=all(one.state >= seen.made for one in later),
        always=found.always,
    )


def _activation(call: Call) -> Activation:
    kwargs = {key: value for key, value in call.kwargs.items() if key != "input"}
    others = list(tensors_in((call.args[1:], kwargs)))
    # With other tensors, which belong to the example, it is named and not applied.
    return Activation(call.func, () if others else call.args[1:], {"tensors": True} if others else kwargs)


def _links(before: Sum, found: Sum, calls: list[Call]) -> dict[str, Any]:
    """What is done to a state between two sums, and which module sees it."""
    if not calls:
        return {}
    moves = tuple((call.func, name_of(call.func) not in ACTIVATIONS) for call in calls)
    common = [f for f in calls[0].frames if all(f in call.frames for call in calls)]
    homes: list[Frame] = [frame for frame in (found.owner, before.owner) if frame in common]
    return {"moves": moves, "home": (homes or common[-1:])[0].module}


def _totals(judge: Judge) -> dict[str, dict[Source, int]]:
    """Additions in each line that has a step, in the call that has most."""
    owners = {id(seen): found.owner for found in judge.taken for seen in found.steps}
    lines = {(found.owner.module, seen.source) for found in judge.taken for seen in found.steps}
    frames = {id(frame): frame for seen in judge.trace.additions for frame in seen.frames}
    totals: dict[str, dict[Source, int]] = {}
    for frame in frames.values():
        for source in {source for module, source in lines if module == frame.module}:
            own = [s for s in frame.additions if s.source == source and owners.get(id(s), frame) is frame]
            held = totals.setdefault(frame.module, {})
            held[source] = max(held.get(source, 0), len(own))
    return totals


def _watched(judge: Judge, chains: list[list[tuple[Sum, list[Call]]]]) -> set[str]:
    steps = {frame.module for found in judge.taken for seen in found.steps for frame in seen.frames}
    return steps | {frame.module for chain in chains for _, calls in chain for c in calls for frame in c.frames}


def _around(judge: Judge) -> set[str]:
    owners = {found.owner.module for found in judge.taken}
    above = {
        frame.module for found in judge.taken for frame in found.seen.frames[: found.seen.frames.index(found.owner)]
    }
    return owners & above
