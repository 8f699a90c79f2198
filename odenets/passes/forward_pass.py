"""One forward pass: its steps, taken as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..fields import Noise
from ..fields.masks import Masks
from ..program import Evaluate, Program
from ..program.step import State, step
from ..stages import Report
from .segment import Stretch, refuse_random

if TYPE_CHECKING:
    from ..net import ODENet


class Pass:
    """One forward pass of a network: what its steps need besides the state.

    Args:
        net: the network.
        noises: what its field has drawn for each step.
        device: where it runs.
    """

    def __init__(self, net: ODENet, noises: Sequence[Noise], device: torch.device) -> None:
        self.net, self.noises, self.device = net, noises, device
        self.masks = None if torch.compiler.is_compiling() else Masks()
        self.reports: list[tuple[int, Report]] = []

    def function(self, n: int, program: Program) -> Callable[[Evaluate, Tensor], Tensor]:
        """The residual function of step n; with the same masks wherever it evaluates a module again."""
        plain = partial(self.net.field, n, self.noises[n])
        if max(self.net.visits_at(n)) == 1:
            return plain
        if self.masks is None:
            refuse_random(self.net.field, n, program)
            return plain
        return partial(self.masks.call, n, plain)

    def seed(self, n: int, what: Evaluate, u: Tensor) -> Tensor:
        """The initial slope f(u) of step n: an evaluation of that step, and so with its masks."""
        plain = partial(self.net.field, n, self.noises[n])
        return plain(what, u) if self.masks is None else self.masks.call(n, plain, what, u)

    def step(self, n: int, state: State) -> State:
        """Step n, recorded by autograd as it is."""
        program = self.net.program_of(n)
        if program.explicit:
            return step(program, self.function(n, program), state, self.net.coefficients_at(n))
        # The implicit function theorem wants the step as a function of the tensors it uses.
        stretch = Stretch(self, n, n + 1)
        tensors = stretch.copies(stretch.tensors)
        state = stretch.advance(n, state, tensors)
        stretch.write_back([tensors[place] for place in stretch.running])
        return state

    def steps(self, first: int, state: State) -> State:
        """All steps from ``first`` on."""
        for n in range(first, self.net.steps):
            state = self.step(n, state)
        return state
