"""What is looked up once and kept until it changes: the functions of the steps of a field."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import is_
from typing import Any, Generic, NoReturn, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules import module as modules

from ..program import Evaluate
from .errors import FieldError

Value = TypeVar("Value")
#: F of one step: of an evaluation and the stage value
Function = Callable[[Evaluate, Tensor], Tensor]
#: (layer, module, training) -> whether it writes into its input
Writes = dict[tuple[int, int, bool], bool]


class Kept(Generic[Value]):
    """A value, kept as long as what it was made of are the same objects. A copy of it holds none.

    For what is kept of modules are these modules themselves; those of a copied network would be the other's.
    """

    def __init__(self) -> None:
        self._held: tuple[Sequence[object], Value] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return Kept, ()

    def known(self, made_of: Sequence[object]) -> Value | None:
        """The value, if it was made of these."""
        held = self._held
        return held[1] if held and len(held[0]) == len(made_of) and all(map(is_, held[0], made_of)) else None

    def get(self, made_of: Sequence[object], make: Callable[[], Value]) -> Value:
        """The value, made again where that is needed."""
        value = self.known(made_of)
        if value is None:
            value = make()
            self._held = made_of, value  # in one: replicas of a module, in threads of their own, share it
        return value


def of_layer(n: int, block: nn.Module, writes: Writes, training: bool, space: torch.Size) -> Function | None:
    """The function of a layer of one module; None where that writes into its input, or is not known not to.

    Stage values have the shape ``space``, which need not be asked for at each; :func:`check` asks.
    """
    key = n, 0, training
    if writes.get(key, True) or isinstance(block, nn.ModuleList):
        return None

    def function(what: Evaluate, x: Tensor) -> Tensor:
        version = x._version
        value = block(x)
        if x._version != version:
            wrote(writes, key)
        if type(value) is not Tensor or value.shape != space:
            check(n, value, x)
        return value

    return function


def traced_layer(n: int, block: nn.Module) -> Function | None:
    """The same where torch.compile traces, which counts no writes: the block gets a copy."""
    if isinstance(block, nn.ModuleList):
        return None

    def function(what: Evaluate, x: Tensor) -> Tensor:
        value = block(x.clone())
        check(n, value, x)
        return value

    return function


def check(n: int, value: Any, x: Tensor) -> None:
    """FieldError for a value of step n that is no tensor of the state's shape."""
    if not isinstance(value, Tensor):
        raise FieldError(f"layer {n}: got an output of type {type(value).__name__}, expected a tensor")
    if value.shape != x.shape:
        raise FieldError(
            f"layer {n}: got an output of shape {tuple(value.shape)} for an input of shape {tuple(x.shape)}, "
            "expected the same shape; a layer that changes the shape goes first and needs a shortcut module "
            "(ODENet(..., shortcut=...))"
        )


def wrote(writes: Writes, key: tuple[int, int, bool]) -> NoReturn:
    """A layer has written into its input: FieldError, and from now on it gets a copy."""
    writes[key] = True
    raise FieldError(
        f"layer {key[0]} wrote into its input, which the scheme still needs, and did not do so when it was first "
        "called; from the next call on it gets a copy"
    )


def plainly_called(module: nn.Module) -> bool:
    """Whether a call of a module is its forward and nothing else: without hooks, compiled or patched."""
    held = vars(module)
    return not (
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or modules._global_forward_hooks
        or modules._global_forward_pre_hooks
        or modules._global_backward_hooks
        or modules._global_backward_pre_hooks
        or module._compiled_call_impl
        or "forward" in held
        or "evaluate" in held
    )


def refuses_writes(x: Tensor) -> bool:
    """Whether torch refuses that x is written to in place, as a leaf that requires a gradient."""
    return x.requires_grad and x.is_leaf


def counts_writes(x: Tensor) -> bool:
    """Whether torch counts how often x is written to: not in inference mode, under vmap, nor when torch.compile traces.

    Nor is it looked at where torch.jit traces, whose second trace must be the first one again.
    """
    if torch.compiler.is_compiling() or x.is_inference() or torch._C._is_tracing():
        return False
    functorch = torch._C._functorch
    return functorch.is_gradtrackingtensor(x) or not functorch.is_functorch_wrapped_tensor(x)
