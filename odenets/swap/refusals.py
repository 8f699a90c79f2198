"""What a block, or any block, does not allow."""

from __future__ import annotations

from ..gradients import Checkpoint, Direct, Gradient, Reversible
from ..scheme import Scheme, SchemeError
from .residual_blocks import Block


def refusal(plan: Block, explicit: bool, gradient: Gradient, run: bool) -> str:
    """Why a block does not allow a scheme or a way to gradients; empty where it does."""
    uses = "it uses tensors computed before its sum after it, which only explicit schemes with gradient='direct' can do"
    if not (explicit and isinstance(gradient, Direct)) and not plan.free:
        return uses
    if isinstance(gradient, Reversible):
        if plan.activation:
            return f"the activation after its sum ({', '.join(plan.activation)}) cannot be undone"
        if not run:
            return "its chain is no run of an nn.Sequential, whose blocks could be run and undone as one"
    elif not isinstance(gradient, (Direct, Checkpoint)):
        return "blocks of a network have no continuous adjoint"
    return ""


def one_function(scheme: Scheme) -> None:
    """Refuse a scheme of several functions a step: a block has one branch."""
    if scheme.components > 1 or max(scheme.modules) > 0:
        raise SchemeError(
            f"swap_scheme: got {scheme.name}, which evaluates {max(scheme.modules) + 1} functions a step on "
            f"{scheme.components} component(s), expected a scheme of one function: a block has one branch for each sum"
        )
