"""Which transformations of torch are at work around a step."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

Given = ParamSpec("Given")
Value = TypeVar("Value")


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


def traced_as_constant(function: Callable[..., Value]) -> Callable[..., Value]:
    """A function that torch.compile calls once, when it traces, and whose value it takes for a constant.

    A compiled network would else look at each module that the function looks at before each pass. For what depends on
    modules that the blocks are traced with anyway. torch.compiler.assume_constant_result does the same, and imports the
    compiler.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


def eager_under_compile(function: Callable[Given, Value]) -> Callable[Given, Value]:
    """A function that torch.compile runs as it is, with a break of the graph before and after it.

    Its way is the same wherever torch's compiler is loaded, and not where it traces alone: it traces this call for some
    kinds of arguments, but gives up when they are many, and then ``function`` itself would be next.
    """

    @wraps(function)
    def called(*args: Given.args, **kwargs: Given.kwargs) -> Value:
        if "torch._dynamo" not in sys.modules:
            return function(*args, **kwargs)
        from .eager import a_solve_runs_eagerly  # noqa: PLC0415 - loads torch's compiler

        found: Value = a_solve_runs_eagerly(function, *args, **kwargs)
        return found

    return called


def unwrapped(x: Tensor) -> Tensor:
    """The tensor in a wrapper of torch.func whose transformation is over, as in a pull that is called after it.

    Such a wrapper says that it requires a gradient, but what is computed from it does not.
    """
    return torch._C._functorch.unwrap_if_dead(x)


def saved(ctx: Any) -> tuple[Tensor, ...]:
    """What an autograd.Function has saved, as it is now. Hooks unpack at each reading: read once."""
    kept: tuple[Tensor, ...] = ctx.saved_tensors
    return kept if torch.compiler.is_compiling() else tuple(map(unwrapped, kept))


def with_record(backward: Callable[..., tuple[Any, ...]]) -> Callable[..., tuple[Any, ...]]:
    """A backward pass that evaluates f again, which may be called in torch.inference_mode.

    There nothing is recorded, enable_grad or not: all products with a Jacobian would be 0, silently.
    """

    @wraps(backward)
    def outside(ctx: Any, *cotangents: Tensor) -> tuple[Any, ...]:
        if torch.compiler.is_compiling() or not torch.is_inference_mode_enabled():
            return backward(ctx, *cotangents)
        again = torch.is_grad_enabled()
        # Copies: what was made in inference mode cannot be saved for another backward pass.
        with torch.inference_mode(False), torch.set_grad_enabled(again):
            return backward(ctx, *(bar.clone() for bar in cotangents))

    return outside
