"""What stands at the additions of a swapped model, and what is done in the forward of a module that has some."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

from ..fields.stage_statistics import StageStatistics
from .calls import ADDITIONS, Function, name_of
from .chain import Chain, elsewhere
from .sums import MOVES, Sum


@dataclass(eq=False)
class Step:
    """What runs at an addition: ``added``, the last one of the sum ``whole``, or a part, as x + a in x + a + b.

    ``places``: which steps of which chains it may be, several where a module is called several times. ``statistics``:
    the normalisations of its branch, each with its statistics of further stages.
    """

    added: Sum
    whole: Sum
    places: list[tuple[Chain, int]] = field(default_factory=list)
    statistics: list[tuple[nn.Module, dict[int, StageStatistics]]] = field(default_factory=list)

    def of_stage(self, index: int) -> dict[int, Tensor]:
        """The running statistics of a further stage, by the id of those that they stand for; once a step."""
        found = {}
        for norm, own in self.statistics:
            copied = own[index].norms[0]
            if copied.num_batches_tracked is not None and norm.training:
                copied.num_batches_tracked.add_(1)  # type: ignore[operator]
            found.update({id(norm.running_mean): copied.running_mean, id(norm.running_var): copied.running_var})
        return found  # type: ignore[return-value]


@dataclass(eq=False)
class Plan:
    """What is done in the forward of a module, called ``name``.

    ``chains`` are those that its sums, or what is between them, belong to; ``steps`` at its additions, in their order;
    ``between``: functions that are called between sums, which histories follow; ``aliased``: whether tensors with views
    were written to, which torch.compile does not tell.
    """

    module: nn.Module
    name: str
    chains: list[Chain]
    steps: list[Step]
    between: list[Function]
    aliased: bool

    def __post_init__(self) -> None:
        self.scheme = self.chains[0].scheme.name
        #: whether a step evaluates its branch elsewhere than at the state
        self.replays = any(elsewhere(chain.program_of(n)) for step in self.steps for chain, n in step.places)
        self.tracked = [chain for chain in self.chains if chain.tracked]
        #: function -> whether it moves the values, or is an activation; what need be looked at
        self.moves = {func: name_of(func) in MOVES for func in self.between}
        self.special = ADDITIONS.union(self.between)
        self.totals = {step.added.source: step.added.total for step in self.steps}
        self.by_place = {(step.added.source, step.added.place): step for step in self.steps}
        self.by_number = {step.added.number: step for step in self.steps}


def total(branches: Sequence[Tensor], u: Tensor) -> Tensor:
    """What is added to a state u, of the parts of a step."""
    added = branches[0]
    for branch in branches[1:]:
        added = added + branch
    return added if added.shape == u.shape else added.expand_as(u)
