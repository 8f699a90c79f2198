"""Which transformations of torch are at work around a step."""

from __future__ import annotations

import torch
from torch import Tensor


def active() -> list[str]:
    """Names of the torch.func transformations around this call, outermost first: "Grad", "Jvp", "Vmap"."""
    return [interpreter.key().name for interpreter in torch._C._functorch.get_interpreter_stack() or []]


def capturing() -> bool:
    """Whether the work on CUDA's current stream is captured into a graph (torch.cuda.graph), not done."""
    return torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing()


def recorded() -> bool:
    """Whether what runs is recorded, to be run again without Python: nothing can be read from a device meanwhile."""
    return torch.compiler.is_compiling() or capturing()


def plain() -> bool:
    """Whether torch runs eagerly and without transformations, so that tensors can be told apart by identity."""
    return not (torch.compiler.is_compiling() or active())


def unwrapped(x: Tensor) -> Tensor:
    """The tensor in a wrapper of torch.func whose transformation is over, as in a pull that is called after it.

    Such a wrapper says that it requires a gradient, but what is computed from it does not.
    """
    return torch._C._functorch.unwrap_if_dead(x)
