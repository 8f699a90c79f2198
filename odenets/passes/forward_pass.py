"""One forward pass of a network: what its steps need besides the state."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor

from ..fields import Noise
from ..fields.bound import Function
from ..fields.masks import Masks, refuse_random
from ..program import Evaluate
from ..program.transforms import recorded
from ..stages import Report
from .network import Network
from .plan import PlannedStep


class Pass:
    """What the steps of one forward pass need besides the state; :mod:`.steps` takes them.

    ``learned[n]`` are the coefficients of step n, by their symbols.

    Args:
        net: the network.
        noises: what its field has drawn for each step.
        u: the state, of which this asks for the device alone.
    """

    def __init__(self, net: Network, noises: Sequence[Noise], u: Tensor) -> None:
        self.net, self.noises, self.device = net, noises, u.device
        self.reports: list[tuple[int, Report]] = []
        self.learned = net.coefficients_of_steps()
        self._masks: Masks | None = None
        self._asked = False  # not before it is needed: schemes of one evaluation a step need none
        self._calls = net.field.calls(noises, u)

    @property
    def masks(self) -> Masks | None:
        """What modules draw; None where it cannot be drawn again."""
        if not self._asked:
            self._masks, self._asked = None if recorded() else Masks(self.net.field.drawing), True
        return self._masks

    def function(self, n: int, step: PlannedStep) -> Function:
        """The residual function of step n; with the same masks wherever the step evaluates a module again."""
        call = self._calls[n]
        if not step.repeats:
            return call
        if self.masks is None:
            refuse_random(self.net.field, n, step.program)
            return call
        return partial(self.masks.call, n, call)

    def seed(self, n: int, what: Evaluate, u: Tensor) -> Tensor:
        """The initial slope f(u) of step n: an evaluation of that step, and so with its masks."""
        call = self._calls[n]
        return call(what, u) if self.masks is None else self.masks.call(n, call, what, u)
