"""Random numbers drawn inside the blocks: the same at every stage of a step, and again when a step is recomputed."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..program import Evaluate, Program
from .errors import FieldError
from .field import Field

#: states of the generators that blocks on a device draw from: the CPU's and the device's own
States = tuple[Tensor, ...]


def capture(device: torch.device) -> States:
    """States of torch's default generators. Python's and numpy's are not among them."""
    state = torch.default_generator.get_state()
    if device.type in {"cpu", "meta"}:
        return (state,)
    return state, getattr(torch, device.type).get_rng_state(device)


def restore(states: States, device: torch.device) -> None:
    """Put the generators back to a captured state."""
    torch.default_generator.set_state(states[0])
    if len(states) > 1:
        getattr(torch, device.type).set_rng_state(states[1], device)


def contents(states: States) -> list[bytes]:
    """The states as bytes. Generator states are CPU tensors; torch.equal would be an operation of the network's."""
    return [ctypes.string_at(state.data_ptr(), state.numel()) for state in states]


@contextmanager
def replaying(states: States, device: torch.device) -> Iterator[None]:
    """Draw inside the block what was drawn after ``states``; outside nothing has been drawn."""
    now = capture(device)
    restore(states, device)
    try:
        yield
    finally:
        restore(now, device)


class Masks:
    """What the modules of one forward pass draw (dropout masks), by the state of the generators before.

    The first evaluation of a module in a step draws as it would in a plain loop. Later stages of the
    step, and recomputations, draw the same again. Storing masks instead was rejected: it takes
    memory that grows with depth, where a state takes 5 kB on the CPU, 16 bytes on CUDA, and nothing
    where nothing is drawn.

    Args:
        drawing: where to note the steps that draw.
    """

    def __init__(self, drawing: set[int] | None = None) -> None:
        #: (step, module) -> the states before its first evaluation, None where that drew nothing
        self._before: dict[tuple[int, int], States | None] = {}
        self._drawing = set() if drawing is None else drawing

    def begin(self, n: int, device: torch.device) -> None:
        """What is drawn from here to :meth:`end` is what the first evaluation of step n draws, or draws again."""
        if (n, 0) not in self._before:
            self._before[n, 0] = capture(device)
        elif states := self._before[n, 0]:
            restore(states, device)

    def end(self, n: int, device: torch.device) -> None:
        """The evaluation is over."""
        states = self._before[n, 0]
        if states is not None and contents(states) == contents(capture(device)):
            self._before[n, 0] = None

    def call(self, n: int, function: Callable[[Evaluate, Tensor], Tensor], what: Evaluate, x: Tensor) -> Tensor:
        """The function of step n at x, with the numbers of its first evaluation."""
        key = n, what.module
        states = self._before.get(key, ())
        if states is None:
            return function(what, x)
        if states:
            with replaying(states, x.device):
                return function(what, x)
        before = capture(x.device)
        value = function(what, x)
        drawn = contents(before) != contents(capture(x.device))
        self._before[key] = before if drawn else None
        if drawn:
            self._drawing.add(n)
        return value


def refuse_random(field: Field, n: int, known: Sequence[str | None]) -> None:
    """Where masks cannot be drawn again: FieldError for a layer that is known to draw any, or was seen to."""
    drawing = known[n]
    if drawing is None and n in field.drawing and field.training:
        drawing = f"layer {n}: got a module"
    if drawing is not None:
        raise FieldError(
            f"{drawing} that draws random numbers under torch.compile or in a CUDA graph, which cannot draw the same "
            "ones again for another stage or in recomputation; expected none there: run it eagerly, or use a scheme of "
            "one evaluation a step with gradient='direct'"
        )


def known_to_draw(field: Field, n: int, program: Program) -> str | None:
    """The first module of a step that is known to draw random numbers."""
    modules = (found for what in program.evaluated for found in field.uses(n, what))
    named = (found for path, module in modules for found in module.named_modules(prefix=path))
    return next((f"{name}: got a {type(inner).__name__}" for name, inner in named if draws(inner)), None)


def draws(module: nn.Module) -> bool:
    """Whether a module is known to draw random numbers now: dropout in training, by class or by its rate."""
    if not module.training:
        return False
    rates = [getattr(module, name, 0.0) for name in ("p", "dropout", "drop_prob", "attention_dropout")]
    named = isinstance(module, nn.RReLU) or "drop" in type(module).__name__.lower()
    rated = any(isinstance(rate, float) and rate > 0 for rate in rates[1:])
    return rated or (named and (not isinstance(rates[0], float) or rates[0] > 0))
