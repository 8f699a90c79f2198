"""Ways to the gradient of the discrete network, and the continuous adjoint."""

from __future__ import annotations

from ..fields import FieldError
from .adjoint import Adjoint
from .checkpoint import Checkpoint
from .direct import Direct
from .errors import AdjointError, ReversalError
from .gradient import Gradient, Runner, Stored
from .reversible import Reversible

__all__ = [
    "Adjoint",
    "AdjointError",
    "Checkpoint",
    "Direct",
    "Gradient",
    "ReversalError",
    "Reversible",
    "Runner",
    "Stored",
    "as_gradient",
]

NAMES: dict[str, type[Gradient]] = {
    "direct": Direct,
    "checkpoint": Checkpoint,
    "reversible": Reversible,
    "adjoint": Adjoint,
}


def as_gradient(gradient: str | Gradient) -> Gradient:
    """The options themselves, or those of a name.

    Raises:
        FieldError: an unknown name, or something else.
    """
    if isinstance(gradient, Gradient):
        return gradient
    if isinstance(gradient, str) and gradient in NAMES:
        return NAMES[gradient]()
    raise FieldError(f"gradient: got {gradient!r}, expected one of {', '.join(NAMES)}, or an object with options")
