"""The branch of a block as a residual function: one call of a block, a module for each sum, the field made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import copy_context
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.module import _has_any_global_hook

from ..fields import FieldError, Layers, Noise
from ..fields.context import autocast_of
from ..fields.masks import capture, replaying
from ..fields.stage_statistics import StageStatistics
from ..program import Evaluate
from ..program.transforms import active
from .module_state import unchanged
from .partial_forward import Cut, PartialForward
from .residual_blocks import Block
from .sums import Arguments, tensors_in
from .tape import Called, Reel, Tape

#: name of the context variable under which hooks of transformers collect outputs
COLLECTOR = "output_collector"


class BlockCall:
    """One call of a block: its arguments, and what it computed up to the sums that have been reached.

    Args:
        module: the block.
        original: its own forward.
        block: what is known about it.
        given: its arguments.
        drops: whether what evaluating a branch changes in the block (a running mean, a list of outputs) is put back
            afterwards, since the block's forward is run besides; or is an error, since it is not.
    """

    def __init__(
        self,
        module: nn.Module,
        original: Callable[..., Any],
        block: Block,
        given: Arguments,
        drops: bool = True,
    ) -> None:
        self.module, self.original, self.block, self.drops = module, original, block, drops
        self.given = given
        self.tapes: list[Tape] = []
        self.depth = _depth()
        #: what has taken the place of the sums so far
        self.sums: list[Tensor] = []
        #: the dtype of a sum that is made in place
        self.dtype: torch.dtype | None = None
        self.modules: list[nn.Module] = []
        self.precision: dict[str, Any] | None = None

    def prepare(self) -> None:
        """Note what further evaluations are to find as it is at the start. One evaluation needs none of it."""
        self.modules = list(self.module.modules())
        self.precision = None if torch.compiler.is_compiling() else autocast_of(self.given.state.device.type)

    def run(self, watch: PartialForward, x: Tensor) -> Any:
        """The forward from the start, seen by ``watch``.

        Raises:
            FieldError: a sum was not met where the probing pass had seen it.
        """
        given = self.given.at(x)
        with watch:
            output = self.original(*given.args, **given.kwargs)
        if watch.sum < len(self.block.skips):
            raise FieldError(
                f"{self.name}: got a forward without the sum number {watch.sum + 1} of "
                f"{len(self.block.skips)} that it had at the example, expected the same sums at every input and in "
                "training; give an example that shows them, or unswap"
            )
        return output

    @property
    def name(self) -> str:
        """Path of the block."""
        return self.block.name or "the model"

    def branch(self, k: int, y: Tensor) -> Tensor:
        """What sum k adds to its state, where that state is y. What follows the sum is not computed."""
        found: list[Tensor] = []

        def cut(_: PartialForward, value: Tensor) -> Tensor:
            found.append(value)
            raise Cut

        if not self.modules:
            self.prepare()
        replay = self._before(k, y)
        reel = self.reel() if len(self.tapes) == k and self.depth == _depth() else None
        watch = PartialForward(self.block, y, cut, replay=replay, first=k, record=reel)
        with self._apart():
            try:
                self.run(watch, y if k == 0 else replay[-1][1])
            except Cut:
                self.taped(watch)
        if watch.dtype is not None:
            self.dtype = watch.dtype
        return fitted(found[0], y)

    def taped(self, watch: PartialForward) -> None:
        """Keep the calls that have led to a sum, if they were recorded."""
        if watch.record is not None and watch.called is not None:
            self.tapes.append(Tape(watch.record, watch.called, watch.target))

    def reel(self) -> Reel:
        """Where to record calls."""
        return Reel(self.block.free and not torch.compiler.is_compiling() and not _hooked(self.modules))

    def rest(self, value: Tensor) -> Any:
        """What the block returns where ``value`` has taken the place of its last sum."""
        sums = len(self.block.skips)
        watch = PartialForward(self.block, value, _never, replay=self._before(sums, value), first=sums)
        with self._apart():
            output = self.run(watch, value)
        self._refuse_rewritten(sums)
        return output

    def state(self, output: Any) -> Tensor:
        """The state in what the block returns."""
        return list(tensors_in(output))[self.block.output]

    @contextmanager
    def _apart(self) -> Iterator[None]:
        """A run of the forward for a value alone: at the precision of the call, and nothing in the block changes."""
        # Copies of buffers only where they are put back; statistics of a BatchNorm are those of the stage.
        others = _BatchNorm if self.drops else nn.Module
        arguments = (self.given, *_collectors())
        with unchanged(self.modules, arguments, others) as kept, self._precision():
            yield
            if written := kept.overwritten():
                raise FieldError(
                    f"{self.name}: got a forward that writes into {written}, which it would do at each evaluation, "
                    "expected one that writes into its buffers alone (register_buffer); use a scheme of one evaluation "
                    "a step, such as euler, lm or ab2, and gradient='direct'"
                )
            if not self.drops and (found := kept.changes()):
                raise FieldError(
                    f"{self.name}: got a forward that changes {found[0]}, which would be lost or get no gradient where "
                    "steps are run again, undone or solved; expected one that changes nothing but the statistics of "
                    "BatchNorm; use an explicit scheme with gradient='direct', or call the network once before, where "
                    "it only fills a cache"
                )

    def _precision(self) -> Any:
        """What holds at the sum may be another autocast than the one at the start of the forward."""
        now = None if self.precision is None else autocast_of(self.precision["device_type"])
        return nullcontext() if self.precision is None or now == self.precision else torch.autocast(**self.precision)

    def _before(self, k: int, y: Tensor) -> list[Called]:
        if k and (len(self.tapes) < k or _depth() < self.depth):
            raise FieldError(
                f"{self.name}: got a transformation of torch.func around steps whose calls cannot "
                "be kept beyond it, expected none with this scheme and gradient; use an explicit one and 'direct'"
            )
        self._refuse_rewritten(k)
        # A chain that is run at once does not say what took the place of sums; nothing reads it there.
        values = [*(self.sums or [y] * k)[: k - 1], y] if k else []
        return [entry for tape, value in zip(self.tapes[:k], values, strict=True) for entry in tape.replay(value)]

    def _refuse_rewritten(self, k: int) -> None:
        if any(tape.rewritten for tape in self.tapes[:k]):
            raise FieldError(
                f"{self.name}: got a forward that writes, after a sum, into a tensor that it made before it, which it "
                "would do again at each evaluation of what follows the sum, expected none; use a scheme of one "
                "evaluation a step, such as euler, lm or ab2"
            )


def _depth() -> int:
    """How many transformations of torch.func there are around; tensors of one are not to be kept beyond it."""
    return 0 if torch.compiler.is_compiling() else len(active())


def _collectors() -> list[Any]:
    """Lists of outputs that hooks fill, which transformers keeps in a context variable."""
    if torch.compiler.is_compiling():
        return []
    return [value for variable, value in copy_context().items() if variable.name == COLLECTOR]


def _hooked(modules: Sequence[nn.Module]) -> bool:
    """Whether somebody looks at what modules inside a block return."""
    return bool(_has_any_global_hook()) or any(m._forward_hooks or m._forward_pre_hooks for m in modules[1:])


def fitted(branch: Tensor, x: Tensor) -> Tensor:
    """A branch in the shape of its state, to which it may broadcast."""
    try:
        same = branch.shape == x.shape or torch.broadcast_shapes(branch.shape, x.shape) != x.shape
    except RuntimeError:
        return branch
    return branch if same else branch.expand(x.shape)


def _never(watch: PartialForward, branch: Tensor) -> Tensor:
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
        """Copies and pickles are without calls."""
        return {**self.__dict__, "calls": {}}

    def rehearse(self, n: int, call: BlockCall, y: Tensor) -> None:
        """Evaluate sum n once for its tape alone, where no plain evaluation will make one."""
        branch = self.layers[n]
        assert isinstance(branch, Branch)
        if len(call.tapes) > branch.k:
            return
        buffers = {name: buffer.clone() for name, buffer in branch.named_buffers()}
        # Not by autocast's cache, which would hand out the weights of this run, without a graph, ever after.
        precision = nullcontext() if call.precision is None else torch.autocast(**call.precision, cache_enabled=False)
        with torch.no_grad(), replaying(capture(y.device), y.device), precision:
            functional_call(branch, buffers, (y.clone(), call), tie_weights=False)

    def evaluate(self, n: int, what: Evaluate, x: Tensor, noise: Noise = ()) -> Tensor:
        """The branch of sum n at x."""
        branch = self.layers[n]
        assert isinstance(branch, Branch)
        return self.at(n, what, x, self.calls[branch.plan.name])

    def at(self, n: int, what: Evaluate, x: Tensor, call: BlockCall) -> Tensor:
        """The branch of sum n at x, in that call of its block."""
        (_, branch), *statistics = self.uses(n, what)
        assert isinstance(branch, Branch)
        if self.projects(n, what):
            x = call.state(call.rest(x.clone()))
        if not statistics:
            return branch(x, call)
        own = statistics[0][1]
        assert isinstance(own, StageStatistics)
        return functional_call(branch, own.named(), (x, call), tie_weights=False)

    def projects(self, n: int, what: Evaluate) -> bool:
        """Whether what follows the sum is applied to that stage."""
        branch = self.layers[n]
        assert isinstance(branch, Branch)
        return self.stages and what.source != 0 and bool(branch.plan.activation)
