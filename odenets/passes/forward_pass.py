"""One forward pass of a network: what its steps need besides the state."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from ..fields import Noise
from ..fields.bound import Function
from ..fields.masks import Masks, known_to_draw, refuse_random
from ..fields.step_layout import StepLayout, step_layout
from ..program import Evaluate
from ..program.transforms import recorded, traced_as_constant
from ..stages import Report
from .network import Network


class Pass:
    """What the steps of one forward pass need besides the state; :mod:`.steps` takes them.

    ``calls[n]`` is the residual function of step n, ``learned[n]`` are its coefficients, by their symbols.

    Args:
        net: the network.
        noises: what its field has drawn for each step.
        u: the state, of which this asks for the device alone.
    """

    def __init__(self, net: Network, noises: Sequence[Noise], u: Tensor) -> None:
        self.net, self.noises, self.device = net, noises, u.device
        self.reports: list[tuple[int, Report]] = []
        self.learned = net.coefficients_of_steps()
        #: F of each step where it is known to be a call of what it is made of alone, which draws no noise, else None
        field = net.field  # torch takes long to look a module up
        self.bound = field.bound_of_pass(noises, u) if net.scheme.components == 1 else ()
        self.calls = field.calls(noises, self.bound)
        self._known: dict[int, StepLayout] | None = None
        self._masks: Masks | None = None
        self._quiet: bool | None = None
        self._random: list[str | None] | None = None
        self._asked = False  # not before it is needed: schemes of one evaluation a step need none

    @property
    def masks(self) -> Masks | None:
        """What modules draw; None where it cannot be drawn again."""
        if not self._asked:
            self._masks, self._asked = None if recorded() else Masks(self.net.field.drawing), True
        return self._masks

    @property
    def quiet(self) -> bool:
        """Whether nothing that could be drawn again is drawn."""
        if self._quiet is None:
            self._quiet = self.masks is not None and self.net.field.draws_nothing()
        return self._quiet

    def layout(self, n: int) -> StepLayout:
        """What step n uses."""
        field = self.net.field
        if self._known is None:
            # A network that is traced is looked at anew each time.
            self._known = {} if torch.compiler.is_compiling() else field.watched().layouts(field.blocks())
        if n not in self._known:
            program = self.net.plan[n].program
            # Of thousands of steps of one function a layout each would be most of what is kept of them.
            shared = field.same_modules and n and self.net.plan[n - 1].program is program
            before = self._known.get(n - 1) if shared else None
            self._known[n] = before or step_layout(field, n, program)
        return self._known[n]

    def masked(self, n: int) -> Function:
        """The residual function of a step that evaluates a module more than once: with the same masks each time."""
        if self.quiet:
            return self.calls[n]
        if self.masks is None:
            self.refuse_random(n)
            return self.calls[n]
        return partial(self.masks.call, n, self.calls[n])

    def refuse_random(self, n: int) -> None:
        """FieldError for a step that draws random numbers, where they cannot be drawn again."""
        if self._random is None:
            self._random = _random_modules(self.net)
        refuse_random(self.net.field, n, self._random)

    def seed(self, n: int, what: Evaluate, u: Tensor) -> Tensor:
        """The initial slope f(u) of step n: an evaluation of that step, and so with its masks."""
        call = self.calls[n]
        return call(what, u) if self.masks is None else self.masks.call(n, call, what, u)


@traced_as_constant
def _random_modules(net: Network) -> list[str | None]:
    """For each step the first module that is known to draw random numbers."""
    return [known_to_draw(net.field, n, program) for n, (program, *_) in enumerate(net.plan)]
