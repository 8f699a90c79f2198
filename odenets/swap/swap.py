"""swap_scheme: the residual blocks of a network that somebody has, under another scheme."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from torch import nn

from ..errors import FieldError
from ..gradients import Options, as_gradient
from ..program import compile_scheme
from ..scheme import Scheme
from ..solvers import Solver
from ..zoo import as_scheme
from .analyse import Block
from .block import Swapped
from .chain import Chain, one_function, refusal
from .findings import Findings, find
from .report import SwapReport
from .state import NAME, SwapState

Model = TypeVar("Model", bound=nn.Module)
POST_ACTIVATION = ("project", "stages", "refuse")


def swap_scheme(
    model: Model,
    scheme: Scheme | str,
    *,
    example: Any = None,
    gradient: str | Options = "direct",
    post_activation: str = "project",
    coefficients: float | Mapping[str, float] | None = None,
    inplace: bool = False,
    start: Scheme | str | None = None,
    solver: Solver | None = None,
    coefficient_shape: tuple[int, ...] = (),
) -> Model:
    """The model with its residual blocks run under another scheme, weights kept.

    One pass at ``example`` shows the sums of which one operand is a module's own input, u + f(u), in place or not,
    one or several in a row. The innermost modules with such sums are the blocks; each sum is a step of size 1
    of the scheme, f its residual function. Blocks whose input is what the one before returned form a chain
    with a history of its own. All else is left as it is: :func:`swap_report` says what, and why.

    Args:
        model: any nn.Module that torch.overrides can look into (no TorchScript).
        scheme: a :class:`odenets.Scheme` of one function a step, or a name of ``odenets.schemes``.
        example: an input: a tensor, a tuple of arguments or a mapping of named ones. Not needed for a model that is
            swapped already.
        gradient: as for :class:`odenets.ODENet`. "checkpoint" stores the state before each step, or, where the blocks
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
        The swapped model, of the same class. Its state_dict has the original's keys; those of learned coefficients
        and of BatchNorm statistics of further stages begin with ``odenets_swap.`` and need not be in what is loaded.

    Raises:
        FieldError: no block was found or none is left (the message says why), a bad option, no example.
        SchemeError: an unknown scheme, or one of several functions a step.
    """
    scheme, options = as_scheme(scheme), as_gradient(gradient)
    one_function(scheme)
    if post_activation not in POST_ACTIVATION:
        raise FieldError(f"post_activation: got {post_activation!r}, expected one of {', '.join(POST_ACTIVATION)}")
    if not isinstance(model, nn.Module):
        raise FieldError(f"swap_scheme: got a {type(model).__name__}, expected an nn.Module")
    before = state_of(model)
    if example is None and before is None:
        raise FieldError(
            "swap_scheme: got no example, expected one: an input, a tuple of arguments or a mapping of named ones, on "
            "which the blocks are found"
        )
    model = unswap(model, inplace=inplace) if before else model if inplace else copy.deepcopy(model)
    findings = find(model, example) if example is not None or before is None else before.findings
    left = dict(findings.reasons)
    given = {"gradient": options, "start": start, "solver": solver, "coefficient_shape": coefficient_shape}
    chains = []
    for run, plans in _allowed(findings, scheme, options, post_activation, left):
        blocks = [(model.get_submodule(plan.name), plan) for plan in plans]
        chains.append(Chain(blocks, scheme, run=run, stages=post_activation == "stages", **given))
    if not chains:
        reasons = "; ".join(f"{name or 'the model'}: {reason}" for name, reason in left.items())
        raise FieldError(
            f"swap_scheme: got a {type(model).__name__} without a residual block to run under {scheme.name}, expected "
            f"one that returns its input plus a branch with weights. {reasons or 'No such sum was seen'}"
        )
    for chain in chains:
        _install(model, chain)
        if coefficients is not None:
            chain.set_coefficients(coefficients)
    state = SwapState(chains, findings, post_activation, left)
    model.add_module(NAME, state.train(model.training))
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
        model = copy.deepcopy(model)
    for chain in _swapped(model).chains:
        for member in chain.members:
            member.remove()
    delattr(model, NAME)
    return model


def swap_report(model: nn.Module) -> SwapReport:
    """What :func:`swap_scheme` has found in a model, chained, and left alone, and why; ``str()`` of it is a text.

    Raises:
        FieldError: the model is not swapped.
    """
    return _swapped(model).report()


def state_of(model: nn.Module) -> SwapState | None:
    """What a swapped model has more than its original; None for one that is not swapped."""
    found = model._modules.get(NAME)
    return found if isinstance(found, SwapState) else None


def _swapped(model: nn.Module) -> SwapState:
    state = state_of(model)
    if state is None:
        raise FieldError(f"got a {type(model).__name__} that is not swapped, expected what swap_scheme returned")
    return state


def _install(model: nn.Module, chain: Chain) -> None:
    chain.members = [Swapped(model.get_submodule(plan.name), chain, i) for i, plan in enumerate(chain.plans)]
    for member in chain.members:
        member.install()


def _allowed(
    findings: Findings, scheme: Scheme, options: Options, post_activation: str, left: dict[str, str]
) -> Iterator[tuple[bool, list[Block]]]:
    """The chains, cut where a block does not allow the scheme; why not goes into ``left``."""
    for run, chain in zip(findings.runs, findings.chains, strict=True):
        plans: list[Block] = []
        for plan in chain:
            reason = refusal(plan, scheme.explicit, options, run) or _refused_activation(plan, scheme, post_activation)
            if not reason:
                plans.append(plan)
                continue
            left[plan.name] = reason
            if plans:
                yield run, plans
            plans = []
        if plans:
            yield run, plans


def _refused_activation(plan: Block, scheme: Scheme, post_activation: str) -> str:
    if not plan.activation or post_activation == "project":
        return ""
    if post_activation == "refuse":
        return f"{', '.join(plan.activation)} follows its sum, and post_activation='refuse'"
    if len(plan.skips) > 1:
        return "post_activation='stages': it has several sums, and no activation between them"
    if not scheme.explicit or compile_scheme(scheme, 1.0).evaluated[0].source:
        return f"post_activation='stages': {scheme.name} does not evaluate at the state first"
    return ""
