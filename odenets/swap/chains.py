"""What the example shows of a model: its sums and the chains they form; these put into the model, and taken out."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from torch import nn

from ..fields import FieldError
from ..net.learnable_coefficients import Coefficients
from ..program import compile_scheme
from ..scheme import Scheme
from ..scheme.errors import SchemeWarning
from .calls import ACTIVATIONS, Call, name_of
from .chain import AddedCoefficients, Chain, History, add_statistics, forgive, remove_added
from .judge import Judge
from .owner import Owner, Quiet, replaced, unwatched
from .report import SwapReport
from .sums import Sum
from .trace import record
from .watch import Plan

POST_ACTIVATION = ("project", "refuse")


@dataclass(eq=False)
class Findings:
    """The sums of a model in their order, and the chains of those that are taken.

    ``aliased``: whether views were written to. ``between``: modules without sums that move a state from one sum to the
    next; ``within``: all in which, or in modules inside of them, a sum or a move is made.
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
        before = next((i for i, number in enumerate(ways) if number in ends), None)
        if before is None:
            found.chains.append([])
        chain = found.chains[-1] if before is None else ends.pop(ways[before])
        chain.append(one)
        ends[one.made] = chain
        moved = [judge.values[number].frames for number in ways[: before or 0]]
        frames = [*(part.frames for part in one.additions), *moved]
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


def assemble(
    model: nn.Module, scheme: Scheme, findings: Findings, post_activation: str, options: Mapping[str, Any]
) -> list[Chain]:
    """The chains of a model, which is not changed yet; FieldError without any. Sums that are left get a reason."""
    chains, history = list[Chain](), History()
    further = any(what.source for what in compile_scheme(scheme, 1.0).evaluated)
    for one in (one for sums in findings.chains for one in sums):
        if one.activations and post_activation == "refuse":
            one.reason = f"{', '.join(one.activations)} follows its sum, and post_activation='refuse'"
        elif one.once and further:
            one.reason = f"{one.once}, and {scheme.name} evaluates it at further stages"
    for sums in findings.chains:
        for own in (list(own) for left, own in groupby(sums, lambda one: bool(one.reason)) if not left):
            modules = [model.get_submodule(one.owner.module) for one in own]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SchemeWarning)  # of starting steps alone, which are told of together
                chains.append(Chain(own, modules, scheme, history, **options))
    if not chains:
        reasons = dict.fromkeys(f"{one.module or 'the model'}: {one.reason}" for one in findings.sums)
        raise FieldError(
            f"swap_scheme: got a {type(model).__name__} without a residual block to run under {scheme.name}, expected "
            "one that adds to a state what is made of it, by way of weights. "
            f"{'; '.join(reasons) or 'No such sum was seen'}"
        )
    return chains


def _plans(model: nn.Module, findings: Findings, chains: Sequence[Chain]) -> Iterator[tuple[str, Plan]]:
    """By their paths: of modules with sums, also if these are left, and of those in which a state is moved between."""
    steps: dict[Any, Sum] = {}
    owners: dict[str, dict[Chain, None]] = {one.owner.module: {} for sums in findings.chains for one in sums}
    for chain in chains:
        for n, one in enumerate(chain.sums):
            owners[one.owner.module][chain] = None
            for added in one.additions:
                step = steps.setdefault(added.at, added)
                step.places.append((chain, n))
                step.whole = step.whole or one
    for step in steps.values():
        for chain, _ in step.places if len(step.places) > 1 else ():
            chain.tracked = True
    history = chains[0].history if any(chain.tracked for chain in chains) else None
    owners.update({path: {} for path in findings.between if history is not None})
    for path, own in owners.items():
        at = sorted((s for s in steps.values() if s.owner.module == path), key=lambda s: s.number)
        module, name = model.get_submodule(path), path or "the model"
        yield path, Plan(module, name, list(own) or chains, at, history, findings.aliased)


def install(model: nn.Module, findings: Findings, chains: Sequence[Chain], report: SwapReport) -> None:
    """Put owners, coefficients and statistics into the model."""
    for chain in chains:
        homes = [(module, one.label) for module, one in zip(chain.field.layers, chain.sums, strict=True)]
        assert isinstance(chain.coefficients, Coefficients)
        chain.coefficients = AddedCoefficients(chain.coefficients, homes)
    owners = {path: Owner(plan, report) for path, plan in _plans(model, findings, chains)}
    for owner in owners.values():
        for step in (step for step in owner.plan.steps if step.whole is step):
            indices = sorted({index for chain, n in step.places for index in chain.elsewhere(n)})
            for norm in map(model.get_submodule, step.norms):
                step.statistics.append((norm, {i: add_statistics(norm, step.label, i) for i in indices}))
    for path, owner in owners.items():
        for module in (
            unwatched(owner.module, path, findings.within) if not (owner.plan.replays or owner.plan.plain) else ()
        ):
            if not isinstance(getattr(vars(module).get("forward"), "__self__", None), Quiet):
                Quiet(module)
    model.register_load_state_dict_post_hook(forgive)


def uninstall(model: nn.Module) -> None:
    """Leave the modules of a model as they were, but for their weights."""
    for one in replaced(model):
        one.remove()
    remove_added(model)
