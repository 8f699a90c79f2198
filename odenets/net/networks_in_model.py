"""The networks in a model: its ODENets, and the chains of blocks that swap_scheme has made of others."""

from __future__ import annotations

from torch import nn

from ..fields import FieldError
from ..gradients import Gradient, as_gradient
from .odenet import ODENet

#: where a block that :func:`odenets.swap_scheme` has changed keeps its chain, which is no submodule
CHAIN = "odenets_chain"


def networks(model: nn.Module) -> list[ODENet]:
    """The ODENets in a model and the chains of its swapped blocks, each once, in the order of its modules."""
    found: dict[int, ODENet] = {}
    for module in model.modules():
        net = module if isinstance(module, ODENet) else vars(module).get(CHAIN)
        if net is not None:
            found[id(net)] = net
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
