"""One call of a block whose steps autograd records as they are."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor

from ..fields.masks import Masks, refuse_random
from ..program import Evaluate, Program
from ..program.step import State, begin, finish
from ..program.transforms import recorded
from .branch import BlockCall, fitted
from .chain import Chain, distinct
from .history import versions
from .partial_forward import PartialForward


class DirectStep:
    """The steps of one call of a block, taken while its forward runs, once, from the start to the end.

    The forward is given the point where the step evaluates f first, mostly the state itself, and what it adds there
    is that value of f. At the sum the rest of the step is taken, and the forward goes on with what comes out.
    So all that it does besides is done once, as it was. Further evaluations run the forward anew, up to the sum,
    and leave no trace (:class:`BlockCall`). Joining the evaluations and what follows the sum from pieces was
    rejected: what the forward assigns to its module would be of which piece?

    Args:
        chain: the chain of the block.
        index: number of the block in it.
        call: the call of the block.
    """

    def __init__(self, chain: Chain, index: int, call: BlockCall) -> None:
        self.chain, self.call, self.index, self.first = chain, call, index, chain.first[index]
        self.steps = len(call.block.skips)
        nested = chain.nested(index)
        # Calls before a sum are handed out again to evaluations of later ones, and to what follows it at a stage.
        self.taped = nested and (self.steps > 1 or chain.branches.stages)
        self.masks = Masks() if nested and not recorded() else None
        self.state: State = ()
        self.versions: tuple[int, ...] = ()

    def run(self, x: Tensor) -> Any:
        """What the block returns for x."""
        chain, call = self.chain, self.call
        self.device = x.device
        self.state = chain.enter(self.index, x, self.evaluate)
        self.versions = versions(self.state[1:])
        point = self._begin(self.first)
        record = call.reel() if self.taped else None
        output = call.run(PartialForward(call.block, point, self._sum, record=record), point)
        chain.history.keep(self.index, call.state(output), self.state[1:], self.versions)
        return output

    def evaluate(self, n: int, what: Evaluate, y: Tensor) -> Tensor:
        """The branch of sum n at y, by a run of its own."""
        function = partial(self.chain.branches.at, n, call=self.call)
        value = function(what, y) if self.masks is None else self.masks.call(n, function, what, y)
        self.chain.check(n, value, y)
        return value

    def _begin(self, n: int) -> Tensor:
        """What stands for the state until the sum of step n."""
        chain = self.chain
        if chain.observer is not None:
            chain.observer.on_step(n, self.state)
        self.program = chain.program_of(n)
        self.repeats = max(chain.visits_at(n)) > 1
        if self.repeats and self.masks is None:
            refuse_random(chain.field, n, self.program)
        if self.repeats and self.masks is not None:
            self.masks.begin(n, self.device)
        self.learned = chain.coefficients_at(n)
        self.begun = begin(self.program, self.state, self.learned)
        return self.begun[0][_first(self.program, self.begun[1]).source]

    def _sum(self, watch: PartialForward, branch: Tensor) -> Tensor:
        """What takes the place of a sum."""
        k, call = watch.sum, self.call
        n = self.first + k
        if self.repeats and self.masks is not None:
            self.masks.end(n, self.device)
        if watch.record is not None:
            call.taped(watch)
            watch.record = call.reel()
        branch = fitted(branch, watch.state)
        self.chain.check(n, branch, watch.state)
        self.chain.history.check(self.index, self.state[1:], self.versions)
        slots, at = self.begun
        first = _first(self.program, at)
        slots[first.source] = watch.state  # it may have been cast since

        def function(what: Evaluate, y: Tensor) -> Tensor:
            return branch if what is first else self.evaluate(n, what, y)

        self.state = distinct(finish(self.program, (slots, at), function, self.learned))
        self.versions = versions(self.state[1:])
        value = self._begin(n + 1) if k + 1 < self.steps else self.state[0]
        call.sums.append(value)
        return value


def _first(program: Program, at: int) -> Evaluate:
    first = program.instructions[at]
    assert isinstance(first, Evaluate)  # the scheme is explicit
    return first
