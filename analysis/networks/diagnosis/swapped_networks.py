"""Networks of odenets.swap_scheme: their states, and what is added to them as functions of the state alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from odenets import FieldError
from odenets.program.step import State
from odenets.swap.chain import Chain
from odenets.swap.replay import Stages

Branch = Callable[[Tensor], Tensor]


@dataclass(eq=False)
class Observed:
    """What is seen of a chain: its states in a run of the model on all samples, then its branches at each.

    ``calls`` counts the runs of the chain; the first one tells the states.
    """

    chain: Chain
    first: int = 0
    states: list[Tensor] = field(default_factory=list)
    calls: int = 0
    noisy: bool = False
    branches: list[Stages] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chain.observer = self

    def on_step(self, n: int, state: State, branch: Stages) -> None:
        """Step n is taken from a state."""
        self.calls += n == 0
        if self.calls == 1 and n == len(self.states):
            self.states.append(state[0].detach().clone())
        self.branches.append(branch)

    def release(self, stage: int, runs: Sequence[Callable[[], None]]) -> None:
        """From now on, the chain's field is a function of the state, as in passes of one sample in all rows each.

        Raises:
            FieldError: steps that were not taken; what is used besides the state differs between samples.
        """
        chain, calls = self.chain, self.calls
        if len(self.states) < chain.steps:
            raise FieldError(
                f"stage {stage}: got {len(self.states)} of {chain.steps} steps of a swapped chain, expected all of its "
                "blocks to be called, in their order"
            )
        found = []
        for run in runs:
            self.branches.clear()
            run()
            found.append(self.branches[: chain.steps])
        chain.observer, self.calls, self.branches = None, calls, []
        for n, one in enumerate(found[0]):
            if not all(_alike(_constants(one), _constants(other[n])) for other in found[1:]):
                raise FieldError(
                    f"stage {stage}, step {n}: got a branch that uses something beside the state (a mask, or what was "
                    f"computed before) that may differ between the {len(runs)} samples, expected the same for all; use "
                    "samples=1"
                )
        chain.field.functions = [partial(_each, one) for one in found[0]]


def _constants(branch: Stages) -> list[Tensor]:
    """The tensors besides the state that what is added is made of."""
    made = {id(x) for call in branch.calls for x in call.made}
    return [x for call in branch.calls for x in call.given if id(x) not in made and x is not branch.u]


def _alike(some: list[Tensor], others: list[Tensor]) -> bool:
    pairs = zip(some, others, strict=False)
    return len(some) == len(others) and all(a is b or (a.shape == b.shape and torch.equal(a, b)) for a, b in pairs)


def _each(branch: Stages, x: Tensor) -> Tensor:
    """A branch that was seen with one sample in all rows, at any number of them."""

    def of_row(u: Tensor) -> Tensor:
        return branch(None, u.expand_as(branch.u))[0]

    return of_row(x)[None] if len(x) == 1 else torch.func.vmap(of_row)(x)
