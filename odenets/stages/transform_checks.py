"""Transformations of torch under which a solver would fail, or be wrong in silence: refused by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import get_proxy_mode

from ..program.transforms import active
from .errors import SolverError


def check_transforms() -> None:
    """Refuse tracing, and the nesting of forward mode that torch has no means for."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or get_proxy_mode() is not None:
        raise SolverError(
            "fixed_point was called while a graph was traced: how often it iterates depends on data, which a graph "
            "cannot hold. Call it eagerly (torch.compiler.disable), and compile the function it is given instead; for "
            "torch.func.linearize take torch.func.jvp"
        )
    if active().count("Jvp") > 1:
        # torch runs the jvp of a Function with forward mode off: the outer tangent would be 0.
        raise SolverError(
            "fixed_point was called under a jvp of a jvp, whose outer derivative torch would take as 0. Take the "
            "second derivative forward over reverse (torch.func.hessian) or reverse over forward"
        )


def check_captured(function: Callable[..., Tensor], z: Tensor, tensors: Sequence[Tensor]) -> None:
    """Under torch.func, refuse a function that differs with what is not among its tensors: it would get no gradient.

    Costs an evaluation; without torch.func the first one of the solver shows the same.
    """
    names = active()
    if not names or names[-1] == "Vmap":
        return
    value = function(z.detach(), *(t.detach() for t in tensors))
    forward = names[-1] == "Jvp" and forward_ad.unpack_dual(value).tangent is not None
    if forward or value.requires_grad:
        raise captured()


def captured() -> SolverError:
    """The error for a function that depends on a differentiated tensor by closure."""
    return SolverError(
        "G(z) depends on a tensor that requires a gradient and is not among the tensors, so it would get none: "
        "pass it in tensors (parameters of a module by torch.func.functional_call), or detach it. Blocks that are "
        "sharded one by one gather parameters in hooks of their own: fully_shard the network as a whole"
    )
