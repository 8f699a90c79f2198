"""What stands at an addition of a swapped model: which step of which chain is taken there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

from ..fields.stage_statistics import StageStatistics
from .calls import ADDITIONS, Function, Source
from .chain import Chain
from .sites import Place, Site


@dataclass(eq=False)
class Step:
    """An addition that a step takes the place of.

    Args:
        owner: path of the module in whose forward it is.
        at: where.
        places: which steps of which chains this may be, several where a module is called several times.
        label: of its coefficients and statistics.
        part: whether more is added to it, which belongs to the step, as b in x + a + b.
        site: what was found there.
        clears: whether no later step needs the calls before it.
        always: whether each call of its owner made it at the example.
    """

    owner: str
    at: Place
    label: str
    part: bool
    site: Site
    clears: bool = True
    always: bool = True
    places: list[tuple[Chain, int]] = field(default_factory=list)
    #: each normalisation of its branch with its statistics of further stages
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


class Plan:
    """What is done in the forward of a module.

    Args:
        name: of the module, in words.
        chains: the chains that its sums, or what is between them, belong to.
        steps: the sums.
        totals: additions in each line that has one, in one call at the example.
        moves: what is done to the state between sums: function -> whether it moves the values, or is an activation.
        aliased: whether tensors with views were written to, which torch.compile does not tell.
        around: whether modules inside have sums, too.
    """

    def __init__(
        self,
        name: str,
        chains: Sequence[Chain],
        steps: Sequence[Step],
        *,
        totals: Mapping[Source, int],
        moves: Mapping[Function, bool],
        aliased: bool,
        around: bool,
    ) -> None:
        self.name, self.chains, self.steps = name, list(chains), list(steps)
        self.totals, self.moves, self.aliased, self.around = dict(totals), dict(moves), aliased, around
        self.scheme = chains[0].scheme.name
        self.special = ADDITIONS.union(moves)
        self.by_place = {(step.at.source, step.at.place): step for step in steps}
        self.by_number = {step.at.number: step for step in steps}
        self.plain = all(chain.plain for chain in chains)
        self.replays = any(chain.elsewhere(n) for step in steps for chain, n in step.places)
        #: whether it matters that something is written to
        self.counts = self.replays or any(chain.tracked for chain in chains)
