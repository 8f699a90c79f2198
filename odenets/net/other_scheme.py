"""The networks of a model under another scheme, weights kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from torch import nn

from ..fields.context import INTERNAL
from ..gradients import Gradient
from ..scheme import Scheme
from ..stages import Solver
from ..zoo import as_scheme
from .copies import copy_of
from .odenet import ODENet

Model = TypeVar("Model", bound=nn.Module)


def odenets_in(model: nn.Module) -> list[ODENet]:
    """The ODENets that are modules of a model, each once."""
    return [module for module in model.modules() if isinstance(module, ODENet)]


def with_scheme(
    model: Model,
    scheme: Scheme | str,
    *,
    gradient: str | Gradient | None = None,
    coefficients: float | Mapping[str, float] | None = None,
    inplace: bool = False,
    start: Scheme | str | Sequence[Scheme] | None = None,
    solver: Solver | None = None,
    coefficient_shape: tuple[int, ...] | None = None,
) -> Model:
    """The model with all its ODENets compiled for another scheme, of the same blocks.

    Blocks, shortcuts, step sizes and the BatchNorm statistics of stages that both schemes have are kept, and so are
    gradient, solver and coefficient_shape where none is given. Learnable coefficients are new parameters.

    Args:
        model: an ODENet, or a module with ODENets in it.
        scheme: a scheme or its name, with as many functions a step as the layers have modules.
        coefficients: values for the learnable coefficients, one number or by symbol; default: drawn as the scheme says.
        inplace: change the model itself; default: a copy.
        gradient: as for :class:`ODENet`.
        start: as there.
        solver: as there.
        coefficient_shape: as there.

    Raises:
        SchemeError, FieldError: a network that the scheme or an option does not fit; then none is changed.
    """
    scheme = as_scheme(scheme)
    if not inplace:
        model = copy_of(model)
    options = {"gradient": gradient, "solver": solver, "coefficient_shape": coefficient_shape}
    nets = odenets_in(model)
    made = [_compiled(net, scheme, start, {k: v for k, v in options.items() if v is not None}) for net in nets]
    if coefficients is not None:
        for new in made:
            new.coefficients.set(coefficients)
    for net, new in zip(nets, made, strict=True):
        # The network itself stays, with its hooks and its place in the model.
        vars(net).update({key: value for key, value in vars(new).items() if key not in INTERNAL})
        net._modules.update(new._modules)
    return model


def _compiled(net: ODENet, scheme: Scheme, start: Scheme | str | Sequence[Scheme] | None, given: Any) -> ODENet:
    """A network of the same blocks, which are in both until one of the two is given up."""
    kept = {"gradient": net.gradient, "coefficient_shape": net.coefficient_shape}
    if not (scheme.explicit or net.scheme.explicit):
        kept["solver"] = net.solver
    h = net.h if net.field.step_size is None else None
    new = ODENet(net.field.renewed(), scheme, h=h, start=start, shortcut=net.shortcut, **{**kept, **given})
    new.coefficients.training = net.training
    return new
