"""swap_scheme: the residual blocks of a network that somebody has, under another scheme."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import nn
from torch.nn.parameter import is_lazy

from ..fields import FieldError
from ..gradients import Gradient, as_gradient
from ..net import networks, odenets_in, with_scheme
from ..net.copies import copy_of
from ..program import compile_scheme
from ..scheme import Scheme
from ..stages import Solver
from ..zoo import as_scheme
from .added_parameters import accept_originals, refuse_originals
from .block_forward import Swapped
from .chain import Chain
from .container_forward import Container
from .discovery import Findings, find
from .refusals import one_function, refusal
from .report import SwapReport, chain_report
from .residual_blocks import Block

Model = TypeVar("Model", bound=nn.Module)
POST_ACTIVATION = ("project", "stages", "refuse")


@dataclass(frozen=True)
class Origin:
    """What was found in a model, what follows sums is applied to, and (path, reason) of what is left alone."""

    findings: Findings
    post_activation: str
    left: tuple[tuple[str, str], ...]


def swap_scheme(
    model: Model,
    scheme: Scheme | str,
    *,
    example: Any = None,
    gradient: str | Gradient | None = None,
    post_activation: str = "project",
    coefficients: float | Mapping[str, float] | None = None,
    inplace: bool = False,
    start: Scheme | str | None = None,
    solver: Solver | None = None,
    coefficient_shape: tuple[int, ...] | None = None,
) -> Model:
    """The model with its residual blocks run under another scheme, weights kept.

    An ODENet, or a model with ODENets in it: these are compiled for the scheme, and nothing else is changed. No example
    is needed, and schemes of several functions a step go where the layers have as many modules. Of any other model:

    One pass at ``example`` shows the sums of which one operand is a module's own input, u + f(u), in place or not,
    one or several in a row. The innermost modules with such sums are the blocks; each sum is a step of size 1
    of the scheme, f its residual function. Blocks whose input is what the one before returned form a chain
    with a history of its own. All else is left as it is: :func:`swap_report` says what, and why.

    Args:
        model: any nn.Module that torch.overrides can look into (no TorchScript).
        scheme: a :class:`odenets.Scheme` of one function a step, or a name of ``odenets.schemes``.
        example: an input: a tensor, a tuple of arguments or a mapping of named ones. Not needed for a model that is
            swapped already.
        gradient: as for :class:`odenets.ODENet`; None is "direct", of an ODENet what it has. "checkpoint" stores the
            state before each step, or, where the blocks
            are children of one nn.Sequential that map a tensor to the last sum itself, every sqrt(N)-th.
            "reversible" takes such blocks alone. The others are left alone.
        post_activation: where a function without parameters follows a block's last sum, as ReLU in ResNet v1:
            "project" applies it to what the scheme combines, u_{n+1} = relu(...), and not to stages; "stages" to the
            stages of the step as well; "refuse" leaves such blocks alone. Blocks with parameters after the sum
            (post-LN) are always left alone.
        coefficients: values for the learnable coefficients, one number or by symbol; ``coefficients=0`` makes LM
            the function that the model was. Default: drawn as the scheme says.
        inplace: change the model itself. Default: a deep copy, and the original is left as it is.
        start: as for :class:`odenets.ODENet`; so are ``solver`` and ``coefficient_shape``.
        solver: of an implicit scheme.
        coefficient_shape: of each learnable coefficient.

    Returns:
        The swapped model, of the same class, with the same modules. Its state_dict has the original's keys. Learned
        coefficients are parameters ``<block>.odenets_<symbol>_<sum>``; they, and BatchNorm statistics of further
        stages, need not be in what is loaded.

    Raises:
        FieldError: no block was found or none is left (the message says why), a bad option, no example.
        SchemeError: an unknown scheme, or one of several functions a step.
    """
    if isinstance(model, nn.Module) and odenets_in(model):
        if example is not None:
            raise FieldError(
                "swap_scheme: got an example for a model with ODENets in it, expected none: these alone are swapped, "
                "without one. Other blocks stay as they are; swap the modules that hold them first, one by one"
            )
        return with_scheme(
            model,
            scheme,
            gradient=gradient,
            coefficients=coefficients,
            inplace=inplace,
            start=start,
            solver=solver,
            coefficient_shape=coefficient_shape,
        )
    scheme, options = as_scheme(scheme), as_gradient("direct" if gradient is None else gradient)
    one_function(scheme)
    if post_activation not in POST_ACTIVATION:
        raise FieldError(f"post_activation: got {post_activation!r}, expected one of {', '.join(POST_ACTIVATION)}")
    if not isinstance(model, nn.Module):
        raise FieldError(f"swap_scheme: got a {type(model).__name__}, expected an nn.Module")
    if any(is_lazy(x) for x in [*model.parameters(), *model.buffers()]):
        raise FieldError(
            "swap_scheme: got lazy modules without weights yet, expected weights; call the model once before"
        )
    before = chains_of(model)
    if example is None and not before:
        raise FieldError(
            "swap_scheme: got no example, expected one: an input, a tuple of arguments or a mapping of named ones, on "
            "which the blocks are found"
        )
    origin = _origin(model, before) if example is None else None
    if not inplace:
        model = copy_of(model)
        before = chains_of(model)
    if before:
        _uninstall(model, before)
    try:
        findings = find(model, example) if origin is None else origin.findings
        left = dict(findings.reasons)
        given = {"gradient": options, "start": start, "solver": solver}
        shape = coefficient_shape or ()
        chains = []
        for run, plans in _allowed(findings, scheme, options, post_activation, left):
            blocks = [(model.get_submodule(plan.name), plan) for plan in plans]
            chains.append(
                Chain(blocks, scheme, run=run, stages=post_activation == "stages", coefficient_shape=shape, **given)
            )
        _refuse_none(model, scheme, chains, left)
        if coefficients is not None:
            for chain in chains:
                chain.coefficients.set(coefficients)
    except BaseException:
        _install(model, before)
        raise
    _install(model, chains, Origin(findings, post_activation, tuple(left.items())))
    return model


def unswap(model: Model, *, inplace: bool = False) -> Model:
    """The model with its own forwards again, and with the weights that it has now.

    Args:
        model: what :func:`swap_scheme` returned.
        inplace: change the model itself. Default: a deep copy.

    Returns:
        The model, whose state_dict has the original's keys alone.

    Raises:
        FieldError: it is not swapped.
    """
    if not inplace:
        model = copy_of(model)
    _uninstall(model, _swapped(model))
    return model


def swap_report(model: nn.Module) -> SwapReport:
    """What :func:`swap_scheme` has found in a model, chained, and left alone, and why; ``str()`` of it is a text.

    Raises:
        FieldError: the model is not swapped.
    """
    chains = _swapped(model)
    first, origin = chains[0], chains[0].origin
    reports = tuple(map(chain_report, chains))
    return SwapReport(first.scheme.name, first.gradient_name, origin.post_activation, reports, origin.left)


def chains_of(model: nn.Module) -> list[Chain]:
    """The chains of a swapped model, in the order of its modules; none of one that is not swapped."""
    return [net for net in networks(model) if isinstance(net, Chain)]


def _swapped(model: nn.Module) -> list[Chain]:
    chains = chains_of(model)
    if not chains:
        raise FieldError(f"got a {type(model).__name__} that is not swapped, expected what swap_scheme returned")
    return chains


def _origin(model: nn.Module, chains: Sequence[Chain]) -> Origin:
    """What was found in a swapped model, if it is the one that it was found in."""
    origins = {id(chain.origin): chain.origin for chain in chains}
    members = [member for chain in chains for member in chain.members]
    here = {name: module for name, module in model.named_modules()}
    if len(origins) != 1 or any(here.get(member.name) is not member.module for member in members):
        raise FieldError(
            f"swap_scheme: got no example, and a {type(model).__name__} that was not swapped as a whole, but as parts "
            "or as part of another, expected an example: an input, a tuple of arguments or a mapping of named ones"
        )
    found = next(iter(origins.values()))
    assert isinstance(found, Origin)
    return found


def _install(model: nn.Module, chains: Sequence[Chain], origin: Origin | None = None) -> None:
    containers: dict[nn.Module, list[Chain]] = {}
    for chain in chains:
        if origin is not None:
            chain.origin = origin
            chain.members = [Swapped(model.get_submodule(plan.name), chain, i) for i, plan in enumerate(chain.plans)]
            if chain.run_at_once:
                chain.containers = [model.get_submodule(chain.plans[0].name.rpartition(".")[0])]
        for member in chain.members:
            member.install()
        chain.place()
        for module in chain.containers:
            containers.setdefault(module, []).append(chain)
    for module, own in containers.items():
        Container(module, own).install()
    if chains:
        accept_originals(model)


def _uninstall(model: nn.Module, chains: Sequence[Chain]) -> None:
    for chain in chains:
        chain.remove()
        for module in chain.containers:
            vars(module).pop("forward", None)
    refuse_originals(model)


def _refuse_none(model: nn.Module, scheme: Scheme, chains: Sequence[Chain], left: Mapping[str, str]) -> None:
    if not chains:
        reasons = "; ".join(f"{name or 'the model'}: {reason}" for name, reason in left.items())
        raise FieldError(
            f"swap_scheme: got a {type(model).__name__} without a residual block to run under {scheme.name}, expected "
            f"one that returns its input plus a branch with weights. {reasons or 'No such sum was seen'}"
        )


def _allowed(
    findings: Findings, scheme: Scheme, options: Gradient, post_activation: str, left: dict[str, str]
) -> Iterator[tuple[bool, list[Block]]]:
    """The chains, cut where a block does not allow the scheme; why not goes into ``left``."""
    for run, chain in zip(findings.runs, findings.chains, strict=True):
        plans: list[Block] = []
        for plan in chain:
            reason = (
                refusal(plan, scheme.explicit, options, run)
                or _refused_activation(plan, scheme, post_activation)
                or _refused_writes(plan, scheme)
            )
            if not reason:
                plans.append(plan)
                continue
            left[plan.name] = reason
            if plans:
                yield run, plans
            plans = []
        if plans:
            yield run, plans


def _refused_writes(plan: Block, scheme: Scheme) -> str:
    if not plan.rewrites or (scheme.explicit and max(compile_scheme(scheme, 1.0).visits) == 1):
        return ""
    return f"it writes, after a sum, into a tensor that it made before it, and {scheme.name} evaluates each sum again"


def _refused_activation(plan: Block, scheme: Scheme, post_activation: str) -> str:
    if not plan.activation or post_activation == "project":
        return ""
    if post_activation == "refuse":
        return f"{', '.join(plan.activation)} follows its sum, and post_activation='refuse'"
    if len(plan.skips) > 1:
        return "post_activation='stages': it has several sums, and no activation between them"
    if not scheme.explicit:
        return f"post_activation='stages': {scheme.name} is implicit, and its stages are solved for"
    if compile_scheme(scheme, 1.0).evaluated[0].source:
        return f"post_activation='stages': {scheme.name} does not evaluate at the state first"
    return ""
