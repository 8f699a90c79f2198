"""Networks of odenets.swap_scheme: their states, and the branches of their blocks as functions of the state alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from odenets import FieldError
from odenets.program.step import State
from odenets.swap.block_forward import PLAIN, leaves
from odenets.swap.branch import BlockCall
from odenets.swap.chain import Chain
from odenets.swap.sums import Arguments


@dataclass(eq=False)
class Observed:
    """What is seen of a chain in one run of the model: its states and the calls of its blocks, at the first pass."""

    chain: Chain
    first: int = 0
    states: list[Tensor] = field(default_factory=list)
    calls: int = 0
    noisy: bool = False
    blocks: dict[str, BlockCall] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Its steps are then taken block by block, whatever the gradient was.
        self.chain.gradient = "direct"
        self.chain.observer = self

    def on_call(self, call: BlockCall) -> None:
        """A block is entered."""
        self.blocks.setdefault(call.block.name, call)

    def on_step(self, n: int, state: State) -> None:
        """Step n is taken from a state."""
        self.calls += n == 0
        if self.calls == 1 and n == len(self.states):
            self.states.append(state[0].detach().clone())

    def release(self, stage: int) -> None:
        """From now on, the chain's field is a function of the state, with the arguments of the observed pass."""
        chain = self.chain
        chain.observer = None
        if len(self.states) < chain.steps:
            raise FieldError(
                f"stage {stage}: got {len(self.states)} of {chain.steps} steps of a swapped chain, expected all of its "
                "blocks to be called, in their order"
            )
        chain.branches.calls = {name: Apart(call) for name, call in self.blocks.items()}


class Apart(BlockCall):
    """A call of a block whose branches can be had at states of any number of samples, also under torch.func.

    Every evaluation is a call anew: what comes before a block's second sum is computed again, which costs time.
    Keeping it was rejected, since it has the number of samples that it was computed for, and belongs to no
    transformation of torch.func.

    Raises:
        FieldError: arguments beside the state that evaluating the block may change, or that differ between samples.
    """

    def __init__(self, call: BlockCall) -> None:
        args, kwargs, place = call.given
        own = tuple(_shared(call, i, value) for i, value in enumerate(args))
        named = {name: _shared(call, name, value) for name, value in kwargs.items()}
        super().__init__(call.module, call.original, call.block, Arguments(own, named, place))

    def branch(self, k: int, y: Tensor) -> Tensor:
        """What sum k adds to y."""
        if k and not self.block.free:
            raise FieldError(
                f"{self.block.name}: got a block that uses after its first sum what it has computed before, expected "
                "branches that are functions of the state alone; there is no spectrum of this one"
            )
        anew = BlockCall(self.module, self.original, self.block, self.given)
        for j in range(k):
            anew.branch(j, y)
        return anew.branch(k, y)


def _shared(call: BlockCall, place: int | str, value: Any) -> Any:
    """An argument as it is for each of the samples; a tensor with a row for each, of equal rows, with one of them."""
    if place == call.given.place:
        return value
    if isinstance(value, tuple):
        return tuple(_shared(call, -1, item) for item in value)
    for item in leaves(value):
        if not isinstance(item, PLAIN):
            raise FieldError(
                f"{call.block.name}: got a {type(item).__name__} among its arguments, which evaluating the block may "
                "change, expected none; have the model called with use_cache=False"
            )
    samples = len(call.given.state)
    if not isinstance(value, Tensor) or value.dim() < 1 or len(value) != samples or samples == 1:
        return value
    if bool((value != value[:1]).any()):
        raise FieldError(
            f"{call.block.name}: got an argument of shape {tuple(value.shape)} beside the state that may differ "
            f"between the {samples} samples, expected the same for all; use samples=1"
        )
    return value[:1]
