"""A chain of blocks as an ODENet whose steps are taken one by one, wherever the model calls the blocks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from ..fields import FieldError
from ..fields.stage_statistics import StageStatistics
from ..gradients import Direct, Gradient, Runner
from ..gradients.backward import Recompute
from ..gradients.checkpoint import LIMITS
from ..gradients.defect import Monitor
from ..gradients.segment_function import run_segment
from ..net import ODENet
from ..passes import Pass
from ..passes.segment import Segment
from ..passes.steps import run_step
from ..program import Evaluate
from ..program.step import State
from ..scheme import Scheme
from .added_parameters import AddedCoefficients, add_statistics, remove_statistics
from .branch import BlockCall, Branch, Branches
from .history import History
from .refusals import refusal
from .residual_blocks import Block


class Observer(Protocol):
    """Who sees a chain at work."""

    def on_call(self, call: BlockCall) -> None:
        """A block is entered with these arguments."""

    def on_step(self, n: int, state: State) -> None:
        """Step n is taken from this state."""


class Chain(ODENet):
    """The sums of a chain of blocks as the layers of one network.

    Args:
        blocks: the modules with what is known about them, in their order.
        scheme: as for ODENet, with one function a step.
        run: whether the blocks are one after the other in an nn.Sequential, which can run them all as one.
        stages: whether the activation after a sum is applied to stages.
        options: of ODENet: start, solver, coefficient_shape, gradient.
    """

    def __init__(
        self, blocks: Sequence[tuple[nn.Module, Block]], scheme: Scheme, *, run: bool, stages: bool, **options: Any
    ) -> None:
        branches = [Branch(module, plan, k) for module, plan in blocks for k in range(len(plan.skips))]
        self.plans = tuple(plan for _, plan in blocks)
        self.run_at_once = run
        # Derived from the matrices, which torch.compile cannot do.
        self.explicit: bool = scheme.explicit
        super().__init__(Branches(branches, stages), scheme, **options)
        self.first = [0]
        for plan in self.plans:
            self.first.append(self.first[-1] + len(plan.skips))
        self._nested = [any(map(self._repeats, range(*ends))) for ends in zip(self.first, self.first[1:], strict=False)]
        self.history = History([plan.name for plan in self.plans], scheme.name)
        self.observer: Observer | None = None
        #: what stands for the forward of each block; how the model was before, and what else was found in it
        self.members: Sequence[Any] = ()
        self.origin: Any = None
        #: the nn.Sequential that runs the blocks as one, where that can be; in a list, or it would be a submodule
        self.containers: list[nn.Module] = []
        self._lock = threading.RLock()

    def _repeats(self, n: int) -> bool:
        """Whether step n evaluates its branch again, or what follows its sum at a stage."""
        evaluated = self.program_of(n).evaluated
        return max(self.visits_at(n)) > 1 or any(self.branches.projects(n, what) for what in evaluated)

    def runner_of(self, options: Gradient) -> Runner:
        """As of ODENet, where the blocks allow it."""
        for plan in self.plans:
            if reason := refusal(plan, self.explicit, options, self.run_at_once):
                raise FieldError(f"{plan.name}: got gradient={options}, expected 'direct': {reason}")
        return super().runner_of(options)

    @property
    def gradient_name(self) -> str:
        """How gradients are had, in a word."""
        return "direct" if isinstance(self._gradient, Direct) else str(self._gradient)

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles have a lock of their own."""
        return {key: value for key, value in self.__dict__.items() if key != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """With a lock of its own."""
        super().__setstate__({**state, "_lock": threading.RLock()})

    # ---------------------------------------------------------------- what the blocks keep

    def place(self) -> None:
        """Put coefficients and statistics into the blocks, and so into the model."""
        homes = [(b.block, b.k) for b in self.branches.layers if isinstance(b, Branch)]
        if isinstance(self.coefficients, AddedCoefficients):
            self.coefficients.place()
        else:
            self.coefficients = AddedCoefficients(self.coefficients, homes)
        for key, statistics in self.branches.statistics.items():
            n, _, visit = map(int, key.split("_"))
            assert isinstance(statistics, StageStatistics)
            add_statistics(*homes[n], visit, statistics)

    def remove(self) -> None:
        """Leave the blocks as they were, but for their weights."""
        assert isinstance(self.coefficients, AddedCoefficients)
        self.coefficients.remove()
        for member in self.members:
            remove_statistics(member.module)
            member.remove()

    # ---------------------------------------------------------------- a block at a time

    @property
    def recorded(self) -> bool:
        """Whether autograd records the steps as they are, or nothing is recorded."""
        return isinstance(self._gradient, Direct) or not torch.is_grad_enabled()

    @property
    def taped(self) -> bool:
        """Whether steps are taken while a block's forward runs: autograd is all that they need."""
        return self.explicit and self.recorded

    def nested(self, index: int) -> bool:
        """Whether the forward of block ``index`` is run more than once a step."""
        return self._nested[index]

    def bound(self, calls: dict[str, BlockCall], training: bool) -> Chain:
        """A copy with the calls of its blocks, for a backward pass will come back to them."""
        own, field = _shallow(self), _shallow(self.branches)
        own._modules = {**self._modules, "field": field}
        own.training = field.training = training
        field.calls = calls
        return own

    @property
    def branches(self) -> Branches:
        """The field."""
        assert isinstance(self.field, Branches)
        return self.field

    @contextmanager
    def one_thread(self) -> Iterator[None]:
        """Refuse a second thread: evaluations of a block for a value alone borrow its buffers."""
        if torch.compiler.is_compiling():
            yield
            return
        if not self._lock.acquire(blocking=False):
            raise FieldError(
                f"{self.scheme.name}: got a second thread in the same chain of blocks, which would see statistics of "
                "the first one's stages, expected one thread at a time; give each a copy.deepcopy of the model"
            )
        try:
            yield
        finally:
            self._lock.release()

    def enter(self, index: int, x: Tensor, slope_at: Callable[[int, Evaluate, Tensor], Tensor]) -> State:
        """What the scheme carries before block ``index``, whose input is x."""
        if index == 0 or self.scheme.carried == 1:
            self._check_input(x)
            self._check_coefficients(x)
            return self._seed(0, x, slope_at)
        return (x, *self.history.take(index, x))

    def passing(self, x: Tensor) -> Pass:
        """A pass of this chain."""
        return Pass(self, [()] * self.steps, x.device)

    def advance(self, n: int, state: State, run: Pass) -> State:
        """Step n, with its gradient as asked."""
        if self.observer is not None:
            self.observer.on_step(n, state)
        if self.recorded:
            return run_step(run, n, state)
        monitor = Monitor(n, n + 1, LIMITS[state[0].dtype])
        return run_segment(Recompute(Segment(run, n, n + 1), monitor), state)

    def check(self, n: int, branch: Tensor, x: Tensor) -> None:
        """See that a branch has the shape of its state."""
        if branch.shape != x.shape:
            raise FieldError(
                f"layer {n}: got a branch of shape {tuple(branch.shape)} for a state of shape {tuple(x.shape)}, "
                "expected the same"
            )


Kind = TypeVar("Kind", bound=nn.Module)


def _shallow(module: Kind) -> Kind:
    # Not copy.copy, which torch.compile does not trace where a class says what its copies are without.
    own = type(module).__new__(type(module))
    own.__dict__.update(module.__dict__)
    return own


def distinct(state: State) -> State:
    """The state, whose solution is no other carried value: what follows a sum may write to it."""
    u = state[0]
    return (u.clone(), *state[1:]) if any(u is other for other in state[1:]) else state
