"""The networks in a model: its ODENets, and the chains of blocks that swap_scheme has made of others."""

from __future__ import annotations

from torch import nn

from ..fields import FieldError
from ..gradients import Gradient, as_gradient
from .odenet import ODENet

#: where a module that :func:`odenets.swap_scheme` has changed keeps its chains, which are no submodules
CHAIN = "odenets_chains"


def networks(model: nn.Module) -> list[ODENet]:
    """The ODENets in a model and the chains of its swapped blocks, each once, in the order of its modules."""
    found: dict[int, ODENet] = {}
    for module in model.modules():
        nets = [module] if isinstance(module, ODENet) else vars(module).get(CHAIN, ())
        found.update((id(net), net) for net in nets)
    return list(found.values())


def set_gradient(model: nn.Module, gradient: str | Gradient) -> int:
    """Set the ``gradient`` of every ODENet in ``model``, as of ``cifar_resnet(56, "leapfrog")``; returns how many.

    Raises:
        FieldError: there is none. SchemeError, FieldError: one has no such gradient; none is changed then.
    """
    nets = networks(model)
    if not nets:
        raise FieldError(f"set_gradient: got {type(model).__name__} without an ODENet, expected at least one in it")
    options = as_gradient(gradient)
    for net in nets:
        net.runner_of(options)
    for net in nets:
        net.gradient = options
    return len(nets)


def count_evaluations(model: nn.Module) -> int:
    """Evaluations of residual functions in one forward pass, summed over the ODENets in ``model``."""
    return sum(net.evaluations for net in networks(model))
