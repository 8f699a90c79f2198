"""Gradients by autograd's own record of all steps."""

from __future__ import annotations

from dataclasses import dataclass

from ..passes import Network, Pass
from ..passes.steps import run_steps
from ..program.step import State
from .gradient import Gradient, Runner


@dataclass(frozen=True)
class Direct(Gradient):
    """Let autograd record every operation: the fastest, in memory that grows with the number of layers."""

    def attach(self, net: Network) -> Runner:
        """Any network will do."""
        return _Run()


class _Run(Runner):
    def integrate(self, run: Pass, first: int, state: State) -> State:
        """Step after step."""
        return run_steps(run, first, state)
