"""The chains of a model, made of what was found in it, and put into it and taken out again."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from torch import nn

from ..fields import FieldError
from ..net.learnable_coefficients import Coefficients
from ..program import compile_scheme
from ..scheme import Scheme
from ..scheme.errors import SchemeWarning
from .added_parameters import AddedCoefficients, accept_originals, add_statistics, remove_added
from .chain import Chain, History, elsewhere
from .find import Findings
from .owner import Owner, Quiet, replaced, unwatched
from .report import SwapReport
from .sums import Sum
from .watch import Plan

POST_ACTIVATION = ("project", "refuse")


def assemble(
    model: nn.Module, scheme: Scheme, findings: Findings, post_activation: str, options: Mapping[str, Any]
) -> list[Chain]:
    """The chains of a model; nothing about it is changed yet. Sums that the scheme leaves alone have a reason then.

    Raises:
        FieldError: no sum is left.
    """
    chains, history = list[Chain](), History()
    for one in (one for sums in findings.chains for one in sums):
        one.reason = _refused(one, scheme, post_activation)
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


def _refused(one: Sum, scheme: Scheme, post_activation: str) -> str:
    """Why a sum does not allow a scheme."""
    if one.activations and post_activation == "refuse":
        return f"{', '.join(one.activations)} follows its sum, and post_activation='refuse'"
    again = one.once and elsewhere(compile_scheme(scheme, 1.0))
    return f"{one.once}, and {scheme.name} evaluates it at further stages" if again else ""


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
        homes = [(module, one.label) for module, one in zip(chain.branches.layers, chain.sums, strict=True)]
        assert isinstance(chain.coefficients, Coefficients)
        chain.coefficients = AddedCoefficients(chain.coefficients, homes)
    owners = {path: Owner(plan, report) for path, plan in _plans(model, findings, chains)}
    for owner in owners.values():
        for step in (step for step in owner.plan.steps if step.whole is step):
            indices = sorted({index for chain, n in step.places for index in chain.elsewhere(n)})
            for norm in map(model.get_submodule, step.norms):
                step.statistics.append((norm, {i: add_statistics(norm, step.label, i) for i in indices}))
    for path, owner in owners.items():
        for module in unwatched(owner.module, path, findings.within) if not owner.plan.replays else ():
            if not isinstance(getattr(vars(module).get("forward"), "__self__", None), Quiet):
                Quiet(module)
    accept_originals(model)


def uninstall(model: nn.Module) -> None:
    """Leave the modules of a model as they were, but for their weights."""
    for chain in {chain: None for one in replaced(model) if isinstance(one, Owner) for chain in one.plan.chains}:
        assert isinstance(chain.coefficients, AddedCoefficients)
        chain.coefficients.remove()
    for one in replaced(model):
        one.remove()
    remove_added(model)
