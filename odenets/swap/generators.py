"""What a recorded call drew, and what was around it: generators and autocast of every device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..fields.masks import contents
from .calls import Function, named

#: functions that draw random numbers, some of them if they are told to
DROPPING = named("dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout rrelu rrelu_", F, torch)
DRAWING = named(
    "bernoulli bernoulli_ multinomial normal normal_ uniform_ exponential_ poisson rand randn randint randperm "
    "rand_like randn_like randint_like random_ cauchy_ geometric_ log_normal_",
    torch,
    Tensor,
)


def _all() -> list[torch.Generator]:
    found = [torch.default_generator]
    if torch.cuda.is_initialized():
        found += torch.cuda.default_generators
    if torch.backends.mps.is_available():
        found.append(torch.mps._get_default_generator())  # type: ignore[attr-defined]
    return found


class Generators:
    """The default generators of all devices, and their states after the last call."""

    def __init__(self) -> None:
        self.generators = _all()
        self._now()

    def _now(self) -> list[bytes]:
        self.states = [generator.get_state() for generator in self.generators]
        self.contents = contents(tuple(self.states))
        return self.contents

    def drawn(self) -> list[tuple[torch.Generator, Tensor]] | None:
        """Generators with their states before, if something was drawn since the last time."""
        before, old = self.states, self.contents
        if self._now() == old:
            return None
        return list(zip(self.generators, before, strict=True))


def autocasts() -> tuple[Any, ...]:
    """Autocast of the CPU and of the accelerator, if there is one: its device, whether it is on, its dtype."""
    kinds = ["cpu"]
    if not torch.compiler.is_compiling() and torch.accelerator.is_available():
        kinds.append(torch.accelerator.current_accelerator().type)  # type: ignore[union-attr]
    return tuple((kind, torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)) for kind in kinds)


def restored(stack: ExitStack, then: Any, now: Any, random: Any) -> None:
    """Enter what was around a call."""
    if then[0] != now[0]:
        stack.enter_context(torch.set_grad_enabled(then[0]))
    for kind, enabled, dtype in then[1] if then[1] != now[1] else ():
        stack.enter_context(torch.autocast(kind, enabled=enabled, dtype=dtype))
    if random is not None:
        stack.enter_context(_drawing(random))


@contextmanager
def _drawing(random: list[tuple[torch.Generator, Tensor]]) -> Iterator[None]:
    """Draw what was drawn after those states; outside nothing has been drawn."""
    now = [generator.get_state() for generator, _ in random]
    for generator, state in random:
        generator.set_state(state)
    try:
        yield
    finally:
        for (generator, _), state in zip(random, now, strict=True):
            generator.set_state(state)


def draws(func: Function, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether a call is known to draw random numbers, by its name, its rate and its flag."""
    if func in DROPPING:
        flags = [value for value in (*args, *kwargs.values()) if isinstance(value, bool)]
        return bool(flags[:1] == [True] and 0.0 not in [x for x in args[1:2] if isinstance(x, float)])
    rate = kwargs.get("dropout_p", kwargs.get("dropout", 0.0))
    return (isinstance(rate, float) and rate > 0) or func in DRAWING
