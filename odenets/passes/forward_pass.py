"""One forward pass of a network: what its steps need besides the state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from ..fields import Noise
from ..fields.masks import Masks, refuse_random
from ..program import Evaluate, Program
from ..program.transforms import recorded
from ..stages import Report
from .network import Network


class Pass:
    """What the steps of one forward pass need besides the state; :mod:`.steps` takes them.

    Args:
        net: the network.
        noises: what its field has drawn for each step.
        device: where it runs.
    """

    def __init__(self, net: Network, noises: Sequence[Noise], device: torch.device) -> None:
        self.net, self.noises, self.device = net, noises, device
        self.masks = None if recorded() else Masks(net.field.drawing)
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
