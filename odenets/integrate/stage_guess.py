"""Where the iteration for implicit stages starts: the step before, extrapolated, and what that was seen to miss."""

from __future__ import annotations

import torch
from torch import Tensor

from ..program import Evaluate, Solve
from .step import Span, Step


class Guess:
    """The stages of a step, from the step before.

    Cubic extrapolation misses the solution by a smooth function times (t - t_n)^2 (t - t_{n-1})^2. The smooth function
    is taken to be what it was at the stage with the nearest node that is already known; where there is one with the
    same node, that stage is the guess.

    Args:
        before: the step before, without gradients; None for none.
    """

    def __init__(self, before: Step | None) -> None:
        self.before = before

    def begin(self, span: Span, u: Tensor) -> None:
        """The step from u is tried."""
        self.span, self.u = span, u.detach()
        self._missed: dict[float, Tensor] = {}

    def __call__(self, what: Solve) -> list[Tensor]:
        """A state for each stage."""
        plain = self._plain = [self._extrapolated(node_of(item)) for item in what.evaluations]
        if len(plain) > 1 or not self._missed:
            return plain
        at = node_of(what.evaluations[0])
        near = min(self._missed, key=lambda node: abs(node - at))
        return [torch.add(plain[0], self._missed[near], alpha=self._growth(near, at))]

    def learn(self, what: Solve, y: Tensor) -> None:
        """The stage has been found."""
        self._missed[node_of(what.evaluations[0])] = y - self._plain[0]

    def _extrapolated(self, node: float) -> Tensor:
        return self.u if self.before is None else self.before.at(self.span.start + node * self.span.h)

    def _growth(self, near: float, at: float) -> float:
        """What is missed at one node over that at another. Of ratios, for h^4 is no number where h is 1e-100."""
        if self.before is None:
            return at / near
        last = self.before.span.h / self.span.h
        return (at / near * ((at + last) / (near + last))) ** 2


def node_of(what: Evaluate) -> float:
    """Its c, which depends on no learnable coefficient here."""
    assert what.node is not None
    return what.node
