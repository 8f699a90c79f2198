"""What is around recorded calls: generators and autocast of every device; an autograd.Function as one call."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.overrides import handle_torch_function
from torch.utils.checkpoint import CheckpointFunction

from ..fields import FieldError
from ..fields.masks import contents
from .calls import Call

#: generators with states that they were in
Drawn = list[tuple[torch.Generator, Tensor]]


class Generators:
    """The default generators of all devices, and their states after the last call."""

    def __init__(self) -> None:
        self.generators = [torch.default_generator]
        if torch.cuda.is_initialized():
            self.generators += torch.cuda.default_generators
        if torch.backends.mps.is_available():
            self.generators.append(torch.mps._get_default_generator())  # type: ignore[attr-defined]
        self.states: tuple[Tensor, ...] = ()
        self.contents: list[bytes] = []
        self.drawn()

    def drawn(self) -> Drawn | None:
        """The generators with their states before, if something was drawn since the last time."""
        before, old = self.states, self.contents
        self.states = tuple(generator.get_state() for generator in self.generators)
        self.contents = contents(self.states)
        return None if self.contents == old else list(zip(self.generators, before, strict=False))


def surroundings() -> tuple[Any, ...]:
    """Whether gradients are recorded; autocast of the CPU and of the accelerator: device, whether it is on, dtype."""
    kinds = ["cpu"]
    if not torch.compiler.is_compiling() and torch.accelerator.is_available():
        kinds.append(torch.accelerator.current_accelerator().type)  # type: ignore[union-attr]
    autocast = tuple((kind, torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)) for kind in kinds)
    return torch.is_grad_enabled(), autocast


def again(call: Call, args: tuple[Any, ...], kwargs: dict[str, Any], now: tuple[Any, ...]) -> Any:
    """Make a call with other arguments, in what was around it, with the random numbers that it drew."""
    if call.random is None and call.around == now:
        return call.func(*args, **kwargs)
    with ExitStack() as stack:
        if call.around[0] != now[0]:
            stack.enter_context(torch.set_grad_enabled(call.around[0]))
        for kind, enabled, dtype in call.around[1] if call.around[1] != now[1] else ():
            stack.enter_context(torch.autocast(kind, enabled=enabled, dtype=dtype))
        for generator, state in call.random or ():  # outside nothing has been drawn
            stack.callback(generator.set_state, generator.get_state())
            generator.set_state(state)
        return call.func(*args, **kwargs)


_LOCK = threading.Lock()
_PLAIN = Function.__dict__["apply"]
#: the threads of the recordings that are under way
_RECORDINGS: list[int] = []


def _apply(cls: type, *args: Any, **kwargs: Any) -> Any:
    # Threads that record nothing have no mode, and are not concerned; nor is checkpointing where nothing is recorded.
    seen = cls is CheckpointFunction and not torch.is_grad_enabled()
    if torch._C._is_torch_function_mode_enabled() and not seen:
        return handle_torch_function(cls.apply, args, *args, **kwargs)  # type: ignore[attr-defined]
    return _PLAIN.__func__(cls, *args, **kwargs)


@contextmanager
def whole_functions() -> Iterator[None]:
    """While this holds, a mode is shown ``MyFunction.apply`` itself: only so has it its own backward pass again.

    For the time of a recording alone, since torch has no public place where one could say so. FieldError if another
    thread records: stages draw from the generators that all threads have.
    """
    with _LOCK:
        if any(thread != threading.get_ident() for thread in _RECORDINGS):
            raise FieldError(
                "swap_scheme: got a second thread in a model under a scheme of several stages, which would draw the "
                "random numbers of the first one's, expected one thread at a time"
            )
        _RECORDINGS.append(threading.get_ident())
        setattr(Function, "apply", classmethod(_apply))  # noqa: B010  (a method is assigned)
    try:
        yield
    finally:
        with _LOCK:
            _RECORDINGS.pop()
            if not _RECORDINGS:
                setattr(Function, "apply", _PLAIN)  # noqa: B010
