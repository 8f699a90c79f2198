"""What every way to a gradient has: options as a frozen value, and a runner that owns the loop over steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from ..fields import FieldError
from ..passes import Network, Pass
from ..program.step import State
from ..scheme.given_numbers import real


@dataclass(frozen=True)
class Stored:
    """What a forward pass stored, and what its gradient costs.

    Args:
        steps: steps of the pass.
        states: states stored between the steps (anchors, checkpoints), the first and the last not counted.
        rerun: steps that the backward pass runs again from a stored state, each run counted.
        undone: steps that it undoes.
        defect: largest relative error of an undone state that has been measured; None without one.
    """

    steps: int
    states: int
    rerun: int
    undone: int
    defect: float | None = None

    def __str__(self) -> str:
        measured = "" if self.defect is None else f", largest relative error of an undone state {self.defect:.1e}"
        return (
            f"{self.steps} steps, {self.states} states stored between them; in the backward pass {self.undone} steps "
            f"undone, {self.rerun} run again{measured}"
        )


class Runner(ABC):
    """The loop over a network's steps, with what it remembers between passes."""

    @abstractmethod
    def integrate(self, run: Pass, first: int, state: State) -> State:
        """The carried values after the last step, from those before step ``first``."""

    @property
    def stored(self) -> Stored | None:
        """What the last pass with gradients stored; None where autograd stores activations."""
        return None


class Gradient(ABC):
    """A way to gradients: its options, as a frozen value; ``attach`` makes its runner for a network."""

    @abstractmethod
    def attach(self, net: Network) -> Runner:
        """The runner; raises SchemeError or FieldError, naming what to use instead, where the network does not fit."""


def positive(value: Any, what: str) -> float:
    """A positive finite number, or FieldError."""
    expected = "a positive finite number"
    found = real(value, what, FieldError, expected)
    if found <= 0:
        raise FieldError(f"{what}: got {value!r}, expected {expected}")
    return found
