"""One pass of a model, taken down: the calls of torch, and which module's forward made them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..fields import FieldError
from ..fields.masks import capture, replaying
from .module_state import unchanged, version
from .sums import Function, Slot, Source, arguments, called_from, in_order, operands, slot_of, tensors_in

#: a tensor as it was: which object, and how often it had been written to
Seen = tuple[int, int]


@dataclass(frozen=True)
class Event:
    """A call: tensors that went in and came out, the operands of a sum (state first or last), the module it is in."""

    func: Function
    inputs: tuple[Seen, ...]
    outputs: tuple[Seen, ...]
    operands: tuple[int, int] | None
    frame: int
    source: Source = ("", 0)


@dataclass
class Frame:
    """One call of a module: its events are ``start`` to ``stop`` - 1, those of modules called inside included.

    ``alone``: the state is its one argument. ``bare``: what it returns is a tensor.
    """

    name: str
    module: nn.Module
    parent: int
    start: int
    state: Tensor
    version: int
    slot: Slot
    alone: bool
    stop: int = -1
    outputs: tuple[Seen, ...] = ()
    bare: bool = False


@dataclass
class Trace:
    """What was seen. ``alive`` keeps every tensor, so that no two have the same id."""

    events: list[Event] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    alive: list[Tensor] = field(default_factory=list)
    shapes: dict[int, torch.Size] = field(default_factory=dict)
    #: names of the model's parameters and buffers
    owners: dict[int, str] = field(default_factory=dict)

    def seen(self, value: Any) -> tuple[Seen, ...]:
        """The tensors in a value."""
        found = list(tensors_in(value))
        self.alive += found
        self.shapes |= {id(tensor): tensor.shape for tensor in found}
        return tuple((id(tensor), version(tensor)) for tensor in found)


class Recorder(TorchFunctionMode):
    """Takes down every call; the hooks tell it which module it is in."""

    def __init__(self, trace: Trace) -> None:
        super().__init__()
        self.trace, self.stack = trace, [-1]

    def __torch_function__(
        self, func: Function, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Make the call and note it."""
        given = kwargs or {}
        trace = self.trace
        inputs = trace.seen((args, given))
        both = operands(func, args, given)
        value = func(*args, **given)
        # What was written to came out of the call, whatever it returns: setting an item returns nothing.
        returned = {id(x) for x in tensors_in(value)}
        pairs = zip(tensors_in((args, given)), inputs, strict=True)
        written = [x for x, (_, before) in pairs if version(x) != before and id(x) not in returned]
        pair = None if both is None else (id(both[0]), id(both[1]))
        source = called_from(1) if both else ("", 0)
        trace.events.append(Event(func, inputs, trace.seen((value, written)), pair, self.stack[-1], source))
        return value

    def enter(self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A module is called."""
        given = arguments(args, in_order(module.forward, kwargs))
        if given.place == -1:
            self.stack.append(self.stack[-1])
            return
        state = given.state
        trace, alone = self.trace, len(args) == 1 and not kwargs
        trace.seen(state)
        slot = slot_of(module.forward, given.place)
        frame = Frame(name, module, self.stack[-1], len(trace.events), state, version(state), slot, alone)
        self.stack.append(len(trace.frames))
        trace.frames.append(frame)

    def leave(self, module: nn.Module, result: Any) -> None:
        """It returns."""
        index = self.stack.pop()
        if index >= 0 and (frame := self.trace.frames[index]).module is module and frame.stop < 0:
            frame.stop, frame.outputs = len(self.trace.events), self.trace.seen(result)
            frame.bare = isinstance(result, Tensor)


def call(model: nn.Module, example: Any) -> Any:
    """The model at an example: a tensor, a tuple of arguments, or a mapping of named ones."""
    if isinstance(example, Mapping):
        return model(**example)
    return model(*example) if isinstance(example, (tuple, list)) else model(example)


def fresh(value: Any) -> Any:
    """A copy of an example, which a pass may write to, or append to where it is a cache."""
    if isinstance(value, Tensor):
        return value.detach().clone().requires_grad_(value.requires_grad)
    if type(value) in (tuple, list):
        return type(value)(map(fresh, value))
    if isinstance(value, Mapping):
        return {key: fresh(item) for key, item in value.items()}
    return copy.deepcopy(value)


def record(model: nn.Module, example: Any) -> Trace:
    """What happens in a pass of ``model``, in evaluation and without gradients; nothing about the model changes."""
    trace = Trace()
    recorder = Recorder(trace)
    handles = []
    for name, module in model.named_modules():
        handles.append(module.register_forward_pre_hook(_entering(recorder, name), with_kwargs=True, prepend=True))
        handles.append(module.register_forward_hook(_leaving(recorder)))
    try:
        with undisturbed(model, example):
            tensors = [*model.named_parameters(), *model.named_buffers()]
            trace.alive += [tensor for _, tensor in tensors]
            trace.owners |= {id(tensor): name for name, tensor in tensors}
            given = fresh(example)
            with recorder:
                call(model, given)
    finally:
        for handle in handles:
            handle.remove()
    return trace


def _entering(recorder: Recorder, name: str) -> Callable[..., None]:
    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        with torch._C.DisableTorchFunction():
            recorder.enter(name, module, args, kwargs)

    return hook


def _leaving(recorder: Recorder) -> Callable[..., None]:
    def hook(module: nn.Module, args: tuple[Any, ...], result: Any) -> None:
        with torch._C.DisableTorchFunction():
            recorder.leave(module, result)

    return hook


@contextmanager
def undisturbed(model: nn.Module, example: Any) -> Iterator[None]:
    """Evaluation, no gradients, and afterwards the same random numbers, modes, attributes and buffers as before."""
    flags = {module: module.training for module in model.modules()}
    device = next((tensor.device for tensor in tensors_in(example)), torch.device("cpu"))
    model.eval()
    try:
        # Out of inference mode, where writes cannot be counted.
        with torch.inference_mode(False), torch.no_grad(), replaying(capture(device), device):
            with unchanged(model.modules(), hooks=True) as kept:
                yield
            if found := kept.overwritten():
                raise FieldError(
                    f"swap_scheme: got a model whose forward writes into {found}, as the pass at the example did, "
                    "expected one that writes into its buffers alone; make it one (register_buffer)"
                )
    finally:
        for module, flag in flags.items():
            module.training = flag
