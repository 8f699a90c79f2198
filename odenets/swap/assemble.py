"""The chains of a model, made of what was found in it, and put into it and taken out again."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from torch import nn
from torch.nn import functional as F

from ..fields import FieldError
from ..net.learnable_coefficients import Coefficients
from ..program import compile_scheme
from ..scheme import Scheme
from ..scheme.errors import SchemeWarning
from .added_parameters import AddedCoefficients, accept_originals, add_statistics, remove_added
from .calls import Function, named
from .chain import Chain, elsewhere
from .find import Findings
from .owner import Owner, Quiet, replaced, unwatched
from .steps import Plan, Step
from .sums import Sum

POST_ACTIVATION = ("project", "stages", "refuse")
#: of nn.Dropout and the like, which in evaluation hand on what they are given, and may follow a sum
DROPOUTS = named("dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout", F)


@dataclass(eq=False)
class Swap:
    """A model under a scheme: what was found in it, its chains, its owners; ``left``: why the scheme leaves a sum."""

    findings: Findings
    post_activation: str
    chains: list[Chain] = field(default_factory=list)
    owners: list[Owner] = field(default_factory=list)
    left: dict[Sum, str] = field(default_factory=dict)

    def reason(self, one: Sum) -> str:
        """Why a sum is left alone; empty where it is taken."""
        return one.reason or self.left.get(one, "")


def assemble(
    model: nn.Module, scheme: Scheme, findings: Findings, post_activation: str, options: Mapping[str, Any]
) -> Swap:
    """The chains and owners of a model; nothing about it is changed yet.

    Raises:
        FieldError: no sum is left.
    """
    swap = Swap(findings, post_activation)
    for sums in list(_allowed(swap, scheme)):
        modules = [model.get_submodule(one.owner.module) for one in sums]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SchemeWarning)  # of starting steps alone, which are told of together
            chain = Chain(sums, modules, scheme, stages=post_activation == "stages", **options)
        chain.origin = swap
        swap.chains.append(chain)
    if not swap.chains:
        reasons = dict.fromkeys(f"{one.module or 'the model'}: {swap.reason(one)}" for one in findings.sums)
        raise FieldError(
            f"swap_scheme: got a {type(model).__name__} without a residual block to run under {scheme.name}, expected "
            "one that adds to a state what is made of it, by way of weights. "
            f"{'; '.join(reasons) or 'No such sum was seen'}"
        )
    swap.owners = list(_owners(model, swap))
    return swap


def _allowed(swap: Swap, scheme: Scheme) -> Iterator[list[Sum]]:
    """The chains, cut where a sum does not allow the scheme; why not is noted."""
    for sums in swap.findings.chains:
        refused = {one: _refused(one, scheme, swap.post_activation) for one in sums}
        swap.left.update({one: reason for one, reason in refused.items() if reason})
        yield from (list(own) for taken, own in groupby(sums, lambda one: one not in swap.left) if taken)


def _refused(one: Sum, scheme: Scheme, post_activation: str) -> str:
    """Why a sum does not allow a scheme."""
    program = compile_scheme(scheme, 1.0)
    names = ", ".join(one.activation_names)
    if names and post_activation == "refuse":
        return f"{names} follows its sum, and post_activation='refuse'"
    if names and post_activation == "stages":
        if program.evaluated[0].source:
            return f"post_activation='stages': {scheme.name} does not evaluate at the state first"
        if any(function.tensors for function in one.activations):
            return f"post_activation='stages': {names} after its sum uses other tensors"
    again = one.once and elsewhere(program)
    return f"{one.once}, and {scheme.name} evaluates it at further stages" if again else ""


def _owners(model: nn.Module, swap: Swap) -> Iterator[Owner]:
    """What takes the place of forwards: of modules with sums, also if these are left, and of those that see moves."""
    steps: dict[tuple[Any, ...], Step] = {}
    chains: dict[str, dict[Chain, None]] = {one.owner.module: {} for sums in swap.findings.chains for one in sums}
    moves: dict[str, dict[Function, None]] = {path: {} for path in chains}
    for chain in swap.chains:
        for n, one in enumerate(chain.sums):
            for added in one.additions:
                key = one.owner.module, added.source, added.place
                steps.setdefault(key, Step(added, one)).places.append((chain, n))
            chains[one.owner.module][chain] = None
    for step in steps.values():
        for chain, _ in step.places if len(step.places) > 1 else ():
            chain.tracked = True
    for chain in swap.chains:
        for n, one in enumerate(chain.sums if chain.tracked else ()):
            dropouts = [(one.owner.module, func) for func in DROPOUTS]
            for home, func in (*dropouts, *(one.moves if n else ())):
                moves.setdefault(home, {})[func] = None
                chains.setdefault(home, {})[chain] = None
    for path, own in chains.items():
        at = sorted((s for s in steps.values() if s.whole.owner.module == path), key=lambda s: s.added.number)
        known, name = list(own) or swap.chains, path or "the model"
        yield Owner(path, Plan(model.get_submodule(path), name, known, at, list(moves[path]), swap.findings.aliased))


# ------------------------------------------------------------------------------------------- into the model, and out


def owners_of(model: nn.Module) -> list[Owner]:
    """The owners in a model, in the order of its modules; none in one that is not swapped."""
    return [one for one in replaced(model) if isinstance(one, Owner)]


def swap_of(model: nn.Module) -> Swap | None:
    """How a model was swapped; None where it is not.

    Raises:
        FieldError: parts of it were swapped by themselves, or it was part of what was swapped.
    """
    owners, here = owners_of(model), dict(model.named_modules())
    if not owners:
        return None
    found: Swap = owners[0].plan.chains[0].origin
    whole = {id(chain.origin) for owner in owners for chain in owner.plan.chains} == {id(found)}
    if not whole or any(here.get(owner.path) is not owner.module for owner in found.owners):
        raise FieldError(
            f"swap_scheme: got no example, and a {type(model).__name__} that was not swapped as a whole, but as parts "
            "or as part of another, expected an example: an input, a tuple of arguments or a mapping of named ones"
        )
    return found


def install(model: nn.Module, swap: Swap) -> None:
    """Put owners, coefficients and statistics into the model."""
    for chain in swap.chains:
        homes = [(module, one.label) for module, one in zip(chain.branches.layers, chain.sums, strict=True)]
        assert isinstance(chain.coefficients, Coefficients)
        chain.coefficients = AddedCoefficients(chain.coefficients, homes)
    for owner in swap.owners:
        for step in owner.plan.steps:
            indices = sorted({index for chain, n in step.places for index in elsewhere(chain.program_of(n))})
            for norm in map(model.get_submodule, step.whole.norms if step.added is step.whole else ()):
                step.statistics.append((norm, {i: add_statistics(norm, step.whole.label, i) for i in indices}))
        owner.install()
    watched = {path for sums in swap.findings.chains for one in sums for path in one.within}
    for owner in swap.owners:
        for module in unwatched(owner.module, owner.path, watched) if not owner.plan.replays else ():
            if not isinstance(getattr(vars(module).get("forward"), "__self__", None), Quiet):
                Quiet(module).install()
    accept_originals(model)


def uninstall(model: nn.Module) -> None:
    """Leave the modules of a model as they were, but for their weights."""
    for chain in {chain: None for owner in owners_of(model) for chain in owner.plan.chains}:
        assert isinstance(chain.coefficients, AddedCoefficients)
        chain.coefficients.remove()
    for one in replaced(model):
        one.remove()
    remove_added(model)
