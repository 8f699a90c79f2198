"""What the example shows of a model: its sums and the chains they form; these put into the model, and taken out."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
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

POST_ACTIVATION = ("project", "refuse")


def find(model: nn.Module, example: Any) -> Judge:
    """Run copies of ``model`` at ``example``, in evaluation and in training, and judge its sums."""
    judge = Judge(record(model, example))
    _chain(judge)
    owners = {one.owner.module for one in judge.taken}
    numbers = judge.trace.numbered(owners)
    for part in (part for one in judge.taken for part in one.additions):
        part.numbers = numbers[part.at], numbers[part.at]
    try:
        trained = Judge(record(model, example, training=True))
    except Exception as error:  # whatever somebody's forward raises
        first = (str(error).splitlines() or [""])[0]
        text = f"the pass at the example failed in training, which is not looked at: {type(error).__name__}: {first}"
        judge.notes = (text,)
        for one in judge.taken:
            text = "a branch whose pass in training failed at the example, and may draw random numbers"
            one.hidden = (one.hidden[0], text)
        return judge
    known, numbers = {one.at: one for one in trained.taken}, trained.trace.numbered(owners)
    for part in (part for one in judge.taken for part in one.additions):
        part.numbers = part.numbers[0], numbers.get(part.at, set())
    for one in judge.taken:
        other = known.get(one.at, one)
        one.once, one.hidden = one.once or other.once, (one.hidden[0], other.hidden[0])
    return judge


def _chain(judge: Judge) -> None:
    """Form chains of sums whose state is what the one before made, moved or behind an activation at most."""
    ends, labels, owners = dict[int, list[Sum]](), Counter[str](), {one.owner.module for one in judge.taken}
    for one in judge.taken:
        one.label = str(labels[one.owner.module])
        labels[one.owner.module] += 1
        ways = list(judge.back(one.state if one.parts else one.operands[one.side]))
        before = next((i for i, number in enumerate(ways) if number in ends), None)
        if before is None:
            judge.chains.append([])
        chain = judge.chains[-1] if before is None else ends.pop(ways[before])
        chain.append(one)
        ends[one.made] = chain
        moved = [judge.values[number].frames for number in ways[: before or 0]]
        frames = [*(part.frames for part in one.additions), *moved]
        judge.within.update(frame.module for own in frames for frame in own)
        judge.between.update(own[-1].module for own in frames if not any(frame.module in owners for frame in own))
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
    model: nn.Module, scheme: Scheme, findings: Judge, post_activation: str, options: Mapping[str, Any]
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
        reasons = {s.reason.split(" (")[0]: f"{s.module or 'the model'}: {s.reason}" for s in reversed(findings.sums)}
        raise FieldError(
            f"swap_scheme: got a {type(model).__name__} without a residual block to run under {scheme.name}, expected "
            "one that adds to a state what is made of it, by way of weights. "
            f"{'; '.join(reasons.values()) or 'No such sum was seen'}"
        )
    _check_starts(chains)
    return chains


def _check_starts(chains: Sequence[Chain]) -> None:
    """FieldError for a sum that begins several chains of which not all have the same sums: nobody could tell which."""
    first: dict[Any, Chain] = {}
    for chain in chains:
        other = first.setdefault(chain.sums[0].at, chain)
        if chain.exact and chain.made_at != other.made_at:
            raise FieldError(
                f"swap_scheme: got {chain.names[0]} at the beginning of chains of {other.steps} and {chain.steps} "
                f"sums, of which {chain.scheme.name} could not tell which it is in; expected the same sums in each, or "
                "a scheme of one step without coefficients, such as heun or rk4"
            )


def _steps(chains: Sequence[Chain]) -> dict[Any, Sum]:
    """The additions that are steps or parts of some, by where they are made; each knows of which."""
    steps: dict[Any, Sum] = {}
    for chain in chains:
        for n, one in enumerate(chain.sums):
            for added in one.additions:
                step = steps.setdefault(added.at, added)
                step.places.append((chain, n))
                step.whole = step.whole or one
    for step in steps.values():
        for chain, _ in step.places if len(step.places) > 1 else ():
            chain.tracked = True
    return steps


def install(model: nn.Module, findings: Judge, chains: Sequence[Chain], report: SwapReport) -> None:
    """Put owners, coefficients and statistics into the model."""
    labels: dict[Any, list[str]] = {}
    for chain in chains:
        # Of the same sums again, the same coefficients, as their weights are.
        named = labels.setdefault(chain.made_at, [one.label for one in chain.sums])
        homes = list(zip(chain.field.layers, named, strict=True))
        assert isinstance(chain.coefficients, Coefficients)
        chain.coefficients = AddedCoefficients(chain.coefficients, homes)
    steps, owners = _steps(chains), dict[str, Owner]()
    for step in (step for step in steps.values() if step.whole is step):
        indices = sorted({index for chain, n in step.places for index in chain.elsewhere(n)})
        for norm in map(model.get_submodule, step.norms):
            step.statistics.append((norm, {i: add_statistics(norm, step.label, i) for i in indices}))
    # Also of modules all of whose sums are left: a watch around sees none of theirs.
    paths = [one.owner.module for sums in findings.chains for one in sums]
    for path in dict.fromkeys([*paths, *(findings.between if any(chain.tracked for chain in chains) else ())]):
        own = [chain for chain in chains if any(one.owner.module == path for one in chain.sums)] or chains
        at = sorted((step for step in steps.values() if step.owner.module == path), key=lambda step: step.made)
        module, name = model.get_submodule(path), path or "the model"
        owners[path] = Owner(module, name, own, at, report)
    for path, owner in owners.items():
        for module in unwatched(owner.module, path, findings.within) if owner.quiet else ():
            if not isinstance(getattr(vars(module).get("forward"), "__self__", None), Quiet):
                Quiet(module)
    model.register_load_state_dict_post_hook(forgive)


def uninstall(model: nn.Module) -> None:
    """Leave the modules of a model as they were, but for their weights."""
    for one in replaced(model):
        one.remove()
    remove_added(model)
