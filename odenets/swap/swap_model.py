"""swap_scheme: the residual sums of a network that somebody has, under another scheme."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, TypeVar

from torch import nn
from torch.nn.parameter import is_lazy

from ..fields import FieldError
from ..gradients import Gradient, as_gradient
from ..net import odenets_in, with_scheme
from ..net.copies import copy_of
from ..scheme import Scheme, SchemeError
from ..scheme.errors import SchemeWarning
from ..stages import Solver
from ..zoo import as_scheme
from .chains import POST_ACTIVATION, assemble, find, install, uninstall
from .owner import owners_of
from .report import SwapReport, report

Model = TypeVar("Model", bound=nn.Module)


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
    """The model with its residual sums run under another scheme, weights kept.

    An ODENet, or a model with ODENets in it: these are compiled for the scheme, and nothing else is changed. No example
    is needed, and schemes of several functions a step go where the layers have as many modules. Of any other model:

    Passes at ``example`` show the sums u + f(u), of which what is added is made of the state by way of a weight, in
    whatever way they are written: x + f, x += f, x - f, x + a + b, torch.add(x, f, alpha=...), addcmul, sum([x, f]).
    Each is a step of size 1 of the scheme. Sums whose state is what the one before has made, moved (reshaped,
    transposed) or behind an activation, form a chain with a history of its own. Of sums inside others the outer one
    is taken. All else is left as it is: :func:`swap_report` says what, and why. The forward runs once; where a scheme
    needs f at other states, the calls of torch that lead from the state to what is added are made again with these.

    Args:
        model: any nn.Module that torch.overrides can look into (no TorchScript).
        scheme: an explicit :class:`odenets.Scheme` of one function a step, or a name of ``odenets.schemes``.
        example: an input: a tensor, a tuple of arguments or a mapping of named ones.
        gradient: as for :class:`odenets.ODENet`, of ODENets alone: other models have "direct".
        post_activation: where an activation follows a sum, as ReLU in ResNet v1: "project" applies it to what the
            scheme combines, u_{n+1} = relu(...), and not to stages; "refuse" leaves such sums alone. Sums that
            parameters follow (post-LN) are always left alone.
        coefficients: values for the learnable coefficients, one number or by symbol; ``coefficients=0`` makes LM
            the function that the model was. Default: drawn as the scheme says.
        inplace: change the model itself. Default: a deep copy, and the original is left as it is.
        start: as for :class:`odenets.ODENet`.
        solver: of an implicit scheme, of ODENets alone.
        coefficient_shape: of each learnable coefficient.

    Returns:
        The swapped model, of the same class, with the same modules. Its state_dict has the original's keys, and more:
        learned coefficients are parameters ``<block>.odenets_<symbol>_<sum>``; they, and BatchNorm statistics of
        further stages, need not be in what is loaded. Make its optimiser after the swap, of its own parameters: one
        that was made before trains the original, and with ``inplace`` no coefficient.

    Raises:
        FieldError: no sum was found or none is left (the message says why), a bad option, no example.
        SchemeError: an unknown scheme, one of several functions a step, an implicit one.
    """
    options: dict[str, Any] = {"start": start, "coefficient_shape": coefficient_shape}
    if isinstance(model, nn.Module) and odenets_in(model):
        if example is not None:
            raise FieldError(
                "swap_scheme: got an example for a model with ODENets in it, expected none: these alone are swapped, "
                "without one. Other blocks stay as they are; swap the modules that hold them first, one by one"
            )
        options.update(gradient=gradient, coefficients=coefficients, solver=solver)
        return with_scheme(model, scheme, inplace=inplace, **options)
    scheme = as_scheme(scheme)
    _check(model, scheme, post_activation, solver)
    if example is None:
        raise FieldError(
            "swap_scheme: got no example, expected one: an input, a tuple of arguments or a mapping of named ones, "
            "on which the sums are found, also where the model is swapped already"
        )
    if not inplace:
        model = copy_of(model)
    findings = find(unswap(model) if owners_of(model) else model, example)
    options.update(gradient=as_gradient(gradient or "direct"), coefficient_shape=coefficient_shape or ())
    chains = assemble(model, scheme, findings, post_activation, options)
    if coefficients is not None:
        for chain in chains:
            chain.coefficients.set(coefficients)
    if scheme.starting_values >= (longest := max(chain.steps for chain in chains)):
        text = (
            f"swap_scheme: got {scheme.name}, which goes on from the step before, for chains of "
            f"{'one step each' if longest == 1 else f'at most {longest} steps'}, all of them starting steps, and has "
            "no step of its own: the model is what it was, or what the starting scheme makes of it"
        )
        warnings.warn(text, SchemeWarning, stacklevel=2)
    uninstall(model)
    install(model, findings, chains, report(chains, findings.sums, post_activation, findings.notes))
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
    swap_report(model)
    if not inplace:
        model = copy_of(model)
    uninstall(model)
    return model


def swap_report(model: nn.Module) -> SwapReport:
    """What :func:`swap_scheme` has found in a model, chained, and left alone, and why; ``str()`` of it is a text.

    Raises:
        FieldError: the model is not swapped.
    """
    owners = owners_of(model)
    if not owners:
        raise FieldError(f"got a {type(model).__name__} that is not swapped, expected what swap_scheme returned")
    return owners[0].report


def _check(model: object, scheme: Scheme, post_activation: str, solver: Solver | None) -> None:
    if scheme.components > 1 or max(scheme.modules) > 0:
        raise SchemeError(
            f"swap_scheme: got {scheme.name}, which evaluates {max(scheme.modules) + 1} functions a step on "
            f"{scheme.components} component(s), expected a scheme of one function: a sum has one branch"
        )
    if not scheme.explicit:
        raise SchemeError(
            f"swap_scheme: got {scheme.name}, which is implicit, for somebody else's model, expected an explicit "
            "scheme; make an ODENet of the residual functions, which has solvers"
        )
    if solver is not None:
        raise FieldError(f"solver: got {solver} with {scheme.name}, which is explicit, expected none")
    if post_activation not in POST_ACTIVATION:
        raise FieldError(f"post_activation: got {post_activation!r}, expected one of {', '.join(POST_ACTIVATION)}")
    if not isinstance(model, nn.Module):
        raise FieldError(f"swap_scheme: got a {type(model).__name__}, expected an nn.Module")
    if any(is_lazy(x) for x in [*model.parameters(), *model.buffers()]):
        raise FieldError(
            "swap_scheme: got lazy modules without weights yet, expected weights; call the model once before"
        )
