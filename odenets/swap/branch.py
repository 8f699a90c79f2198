"""The branch of a block as a residual function: a module for each sum, and the field made of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..errors import FieldError
from ..fields import Layers, Noise
from ..program import Evaluate
from ..replay import capture, replaying
from ..solvers.transforms import active
from ..statistics import StageStatistics
from .additions import Function, Place, replaced, tensors_in
from .analyse import Block
from .watch import Called, Cut, Watch


class Tape:
    """The calls of a block's forward from one sum to the next, so that they need not be made again."""

    def __init__(self, calls: list[Called], called: Function, target: Tensor | None, hollow: bool) -> None:
        self.called, self.calls = called, calls
        # Where the sum was written in place, what it was written to is to hold what takes the sum's place.
        self.targets = frozenset(i for i, (_, value) in enumerate(calls) if target is not None and value is target)
        if hollow:
            self.calls = [(func, _hollow(value)) for func, value in calls]

    def replay(self, value: Tensor) -> list[Called]:
        """The calls, and the sum with ``value`` in its place."""
        calls = [(func, value if i in self.targets else old) for i, (func, old) in enumerate(self.calls)]
        return [*calls, (self.called, value)]


def _hollow(value: Any) -> Any:
    """A value whose tensors have shape, dtype and device, and no memory: enough where nothing will read them."""
    if isinstance(value, Tensor):
        return value.new_zeros(()).expand(value.shape)
    return type(value)(map(_hollow, value)) if type(value) in (tuple, list) else value


class BlockCall:
    """One call of a block: its arguments, and what it computed up to the sums that have been reached.

    Args:
        original: the block's own forward.
        block: what is known about it.
        args, kwargs: its arguments; ``place`` is that of the state.
    """

    def __init__(
        self,
        original: Callable[..., Any],
        block: Block,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        place: Place,
    ) -> None:
        self.original, self.block, self.args, self.kwargs, self.place = original, block, args, kwargs, place
        self.tapes: list[Tape] = []
        self.depth = _depth()
        #: what has taken the place of the sums so far
        self.sums: list[Tensor] = []

    def run(self, watch: Watch, x: Tensor) -> Any:
        """The forward from the start, seen by ``watch``.

        Raises:
            FieldError: a sum was not met where the probing pass had seen it.
        """
        args, kwargs = replaced(self.args, self.kwargs, self.place, x)
        with watch:
            output = self.original(*args, **kwargs)
        if watch.sum < len(self.block.skips):
            raise FieldError(
                f"{self.block.name or 'the model'}: got a forward without the sum number {watch.sum + 1} of "
                f"{len(self.block.skips)} that it had at the example, expected the same sums at every input and in "
                "training; give an example that shows them, or unswap"
            )
        return output

    def branch(self, k: int, y: Tensor) -> Tensor:
        """What sum k adds to its state, where that state is y. What follows the sum is not computed."""
        found: list[Tensor] = []
        calls: list[Called] | None = [] if len(self.tapes) == k and self.depth == _depth() else None

        def cut(_: int, value: Tensor) -> Tensor:
            found.append(value)
            raise Cut

        replay = self._before(k, y)
        watch = Watch(self.block, y, cut, replay=replay, first=k, record=calls)
        try:
            self.run(watch, y if k == 0 else replay[-1][1])
        except Cut:
            if calls is not None:
                assert watch.called is not None
                hollow = self.block.free and not torch.compiler.is_compiling()
                self.tapes.append(Tape(calls, watch.called, watch.target, hollow))
        return found[0]

    def rest(self, value: Tensor) -> Any:
        """What the block returns where ``value`` has taken the place of its last sum."""
        sums = len(self.block.skips)
        watch = Watch(self.block, value, _never, replay=self._before(sums, value), first=sums)
        return self.run(watch, value)

    def state(self, output: Any) -> Tensor:
        """The state in what the block returns."""
        return list(tensors_in(output))[self.block.output]

    def _before(self, k: int, y: Tensor) -> list[Called]:
        if len(self.tapes) < k:
            raise FieldError(
                f"{self.block.name or 'the model'}: got a transformation of torch.func around steps whose calls cannot "
                "be kept beyond it, expected none with this scheme and gradient; use an explicit one and 'direct'"
            )
        # A chain that is run at once does not say what took the place of sums; nothing reads it there.
        values = [*(self.sums or [y] * k)[: k - 1], y] if k else []
        return [entry for tape, value in zip(self.tapes[:k], values, strict=True) for entry in tape.replay(value)]


def _depth() -> int:
    """How many transformations of torch.func there are around; tensors of one are not to be kept beyond it."""
    return 0 if torch.compiler.is_compiling() else len(active())


def _never(k: int, branch: Tensor) -> Tensor:
    raise AssertionError("no sum is left")


class Branch(nn.Module):
    """Sum number ``k`` of a block, without the sum."""

    def __init__(self, block: nn.Module, plan: Block, k: int) -> None:
        super().__init__()
        self.block, self.plan, self.k = block, plan, k

    def forward(self, x: Tensor, call: BlockCall) -> Tensor:
        """What is added to x."""
        return call.branch(self.k, x)


class Branches(Layers):
    """A layer for each sum of the blocks of a chain.

    ``calls`` are the calls of the blocks that are under way; ``stages`` says that the activation after a
    block's sum is applied to the stages of its step, too.
    """

    def __init__(self, branches: list[Branch], stages: bool) -> None:
        super().__init__(branches)
        self.calls: dict[str, BlockCall] = {}
        self.stages = stages

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles are without the calls that an error may have left."""
        return {**self.__dict__, "calls": {}}

    def rehearse(self, n: int, call: BlockCall, y: Tensor) -> None:
        """Evaluate sum n once for its tape alone, where no plain evaluation will make one."""
        branch = self.layers[n]
        assert isinstance(branch, Branch)
        if len(call.tapes) > branch.k:
            return
        buffers = {name: buffer.clone() for name, buffer in branch.named_buffers()}
        with torch.no_grad(), replaying(capture(y.device), y.device):
            functional_call(branch, buffers, (y.clone(), call), tie_weights=False)

    def evaluate(self, n: int, what: Evaluate, x: Tensor, noise: Noise = ()) -> Tensor:
        """The branch of sum n at x."""
        (_, branch), *statistics = self.uses(n, what)
        assert isinstance(branch, Branch)
        call = self.calls[branch.plan.name]
        if self.stages and what.source and branch.plan.activation:
            x = call.state(call.rest(x.clone()))
        if not statistics:
            return branch(x, call)
        own = statistics[0][1]
        assert isinstance(own, StageStatistics)
        return functional_call(branch, own.named(), (x, call), tie_weights=False)
