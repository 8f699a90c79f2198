"""What a pass, and a way to gradients, know of the network whose steps they take."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from ..fields import Field
from ..program import Program
from ..scheme import Scheme
from ..stages import Solver
from .plan import Plan


class Network(Protocol):
    """A network as those below :class:`odenets.ODENet` see it. They need no more of it, and do not import it."""

    @property
    def scheme(self) -> Scheme:
        """The scheme of the regular steps."""

    @property
    def h(self) -> float:
        """The step size."""

    @property
    def program(self) -> Program:
        """The program of the regular steps."""

    @property
    def field(self) -> Field:
        """The residual function of every step."""

    @property
    def solver(self) -> Solver:
        """What finds the stages of an implicit scheme."""

    @property
    def training(self) -> bool:
        """Whether the network is in training mode."""

    @property
    def steps(self) -> int:
        """Number of steps, that is of layers."""

    @property
    def first_step(self) -> int:
        """The first step that a way to gradients takes: 1 where layer 0 changes the shape, else 0."""

    @property
    def plan(self) -> Plan:
        """What each step runs."""

    def program_of(self, n: int) -> Program:
        """The program that step n runs."""

    def coefficients_of_steps(self) -> list[dict[str, Tensor]]:
        """The learnable coefficients of each step."""

    def coefficients_at(self, n: int) -> dict[str, Tensor]:
        """Symbol -> learnable coefficient of layer n."""
