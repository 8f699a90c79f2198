"""The chains of a model, made of what was found in it, and put into it and taken out again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ..fields import FieldError
from ..program import compile_scheme
from ..scheme import Scheme
from .added_parameters import AddedCoefficients, accept_originals, add_statistics, refuse_originals, remove_statistics
from .calls import Function
from .chain import Chain, elsewhere
from .owner import Owner
from .quiet import Quiet, unwatched
from .sites import Findings, Site
from .steps import Plan, Step

POST_ACTIVATION = ("project", "stages", "refuse")
#: of nn.Dropout and the like, which in evaluation hand on what they are given, and may follow a sum
DROPOUTS = (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout, torch.dropout)


@dataclass(eq=False)
class Swap:
    """A model under a scheme: what was found in it, its chains, and the numbers of the sums that each has."""

    findings: Findings
    post_activation: str
    chains: list[Chain] = field(default_factory=list)
    numbers: list[tuple[int, ...]] = field(default_factory=list)
    owners: list[Owner] = field(default_factory=list)


def assemble(
    model: nn.Module, scheme: Scheme, findings: Findings, post_activation: str, options: Mapping[str, Any]
) -> Swap:
    """The chains and owners of a model; nothing about it is changed yet.

    Raises:
        FieldError: no sum is left.
    """
    sites = list(findings.sites)
    chains = list(_allowed(findings, sites, scheme, post_activation))
    swap = Swap(replace(findings, sites=tuple(sites)), post_activation)
    if not chains:
        reasons = "; ".join(dict.fromkeys(f"{site.module or 'the model'}: {site.reason}" for site in sites))
        raise FieldError(
            f"swap_scheme: got a {type(model).__name__} without a residual block to run under {scheme.name}, expected "
            f"one that adds to a state what is made of it, by way of weights. {reasons or 'No such sum was seen'}"
        )
    steps: dict[tuple[Any, ...], Step] = {}
    for numbers in chains:
        own = [sites[n] for n in numbers]
        labels = [_label(sites, n) for n in numbers]
        homes = [(model.get_submodule(site.owner), label) for site, label in zip(own, labels, strict=True)]
        chain = Chain(
            homes, [site.owner or "the model" for site in own], scheme, stages=post_activation == "stages", **options
        )
        chain.origin, chain.sites = swap, own
        swap.chains.append(chain)
        swap.numbers.append(numbers)
        for n, (site, label) in enumerate(zip(own, labels, strict=True)):
            _add_steps(steps, chain, n, site, label)
    for step in steps.values():
        for chain, _ in step.places if len(step.places) > 1 else ():
            chain.tracked = True
    swap.owners = list(_owners(model, swap, list(steps.values())))
    return swap


def _label(sites: Sequence[Site], n: int) -> str:
    """Of the coefficients of a sum in its owner: its number among the sums of the owner, over all its calls."""
    return str(sum(site.owner == sites[n].owner and bool(site.parts) for site in sites[:n]))


def _add_steps(steps: dict[tuple[Any, ...], Step], chain: Chain, n: int, site: Site, label: str) -> None:
    for i, part in enumerate(site.parts):
        key = site.owner, part.source, part.place
        last = i == len(site.parts) - 1
        if key not in steps:
            steps[key] = Step(site.owner, part, label, part=not last, site=site)
        step = steps[key]
        step.places.append((chain, n))
        step.clears, step.always = step.clears and site.clears, step.always and site.always


def _owners(model: nn.Module, swap: Swap, steps: list[Step]) -> Iterator[Owner]:
    findings, moves = swap.findings, dict[str, dict[Function, bool]]()
    for chain, numbers in zip(swap.chains, swap.numbers, strict=True):
        for n in numbers if chain.tracked else ():
            moves.setdefault(findings.sites[n].owner, dict.fromkeys(DROPOUTS, False))
        for n in numbers[1:] if chain.tracked else ():
            site = findings.sites[n]
            if site.moves:
                moves.setdefault(site.home, {}).update(site.moves)
    for name in dict.fromkeys([*(step.owner for step in steps), *moves]):
        own = [step for step in steps if step.owner == name]
        plan = Plan(
            name or "the model",
            list(dict.fromkeys(chain for step in own for chain, _ in step.places)) or swap.chains,
            sorted(own, key=lambda step: step.at.number),
            totals=findings.totals.get(name, {}),
            moves=moves.get(name, {}),
            aliased=findings.aliased,
            around=name in findings.around,
        )
        yield Owner(model.get_submodule(name), name, plan)


def _allowed(findings: Findings, sites: list[Site], scheme: Scheme, post_activation: str) -> Iterator[tuple[int, ...]]:
    """The chains, cut where a sum does not allow the scheme; why not is noted with it."""
    for numbers in findings.chains:
        kept: list[int] = []
        for n in numbers:
            reason = _refused_activation(sites[n], scheme, post_activation) or _refused_again(sites[n], scheme)
            if not reason:
                kept.append(n)
                continue
            sites[n] = replace(sites[n], reason=reason, parts=())
            if kept:
                yield tuple(kept)
            kept = []
        if kept:
            yield tuple(kept)


def _refused_again(site: Site, scheme: Scheme) -> str:
    return site.once and f"{site.once}, and {scheme.name} evaluates it at further stages" if _replays(scheme) else ""


def _replays(scheme: Scheme) -> bool:
    return bool(elsewhere(compile_scheme(scheme, 1.0)))


def _refused_activation(site: Site, scheme: Scheme, post_activation: str) -> str:
    names = ", ".join(one.name for one in site.activation)
    if not names or post_activation == "project":
        return ""
    if post_activation == "refuse":
        return f"{names} follows its sum, and post_activation='refuse'"
    if compile_scheme(scheme, 1.0).evaluated[0].source:
        return f"post_activation='stages': {scheme.name} does not evaluate at the state first"
    if any("tensors" in one.kwargs for one in site.activation):
        return f"post_activation='stages': {names} after its sum uses other tensors"
    return ""


# ------------------------------------------------------------------------------------------- into the model, and out


def owners_of(model: nn.Module) -> list[Owner]:
    """The owners in a model, in the order of its modules; none in one that is not swapped."""
    found = (getattr(vars(module).get("forward"), "__self__", None) for module in model.modules())
    return [owner for owner in found if isinstance(owner, Owner)]


def swap_of(model: nn.Module) -> Swap | None:
    """How a model was swapped; None where it is not.

    Raises:
        FieldError: parts of it were swapped by themselves, or it was part of what was swapped.
    """
    owners = owners_of(model)
    if not owners:
        return None
    swaps = {id(chain.origin): chain.origin for owner in owners for chain in owner.plan.chains}
    here = dict(model.named_modules())
    found: Swap = next(iter(swaps.values()))
    if len(swaps) != 1 or any(here.get(owner.path) is not owner.module for owner in found.owners):
        raise FieldError(
            f"swap_scheme: got no example, and a {type(model).__name__} that was not swapped as a whole, but as parts "
            "or as part of another, expected an example: an input, a tuple of arguments or a mapping of named ones"
        )
    return found


def install(model: nn.Module, swap: Swap) -> None:
    """Put owners, coefficients and statistics into the model."""
    for chain in swap.chains:
        assert isinstance(chain.coefficients, AddedCoefficients)
        chain.coefficients.place()
    for owner in swap.owners:
        for step in owner.plan.steps:
            indices = sorted({index for chain, n in step.places for index in chain.elsewhere(n)})
            for norm in map(model.get_submodule, () if step.part else step.site.norms):
                step.statistics.append((norm, {i: add_statistics(norm, step.label, i) for i in indices}))
        owner.install()
        if not owner.plan.replays:
            for module in unwatched(owner.module, owner.path, swap.findings.watched):
                if not isinstance(getattr(vars(module).get("forward"), "__self__", None), Quiet):
                    Quiet(module).install()
    accept_originals(model)


def uninstall(model: nn.Module) -> None:
    """Leave the modules of a model as they were, but for their weights."""
    owners = owners_of(model)
    for chain in {id(chain): chain for owner in owners for chain in owner.plan.chains}.values():
        assert isinstance(chain.coefficients, AddedCoefficients)
        chain.coefficients.remove()
    for owner in owners:
        owner.remove()
    for module in model.modules():
        quiet = getattr(vars(module).get("forward"), "__self__", None)
        if isinstance(quiet, Quiet):
            quiet.remove()
    remove_statistics(model)
    refuse_originals(model)
