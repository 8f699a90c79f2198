"""A chain of blocks as an ODENet whose steps are taken one by one, wherever the model calls the blocks."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..errors import FieldError, SchemeError
from ..gradients import Checkpoint, Direct, Options, Reversible, as_gradient
from ..gradients.checkpoint import LIMITS
from ..gradients.monitor import Monitor
from ..gradients.segment import run_segment
from ..gradients.sweep import Recompute
from ..net import ODENet
from ..passes import Pass
from ..scheme import Scheme
from ..step import State, step
from ..stretch import Stretch
from .analyse import Block
from .branch import BlockCall, Branch, Branches


@dataclass
class Session:
    """Between two blocks: the state after the first of them, what else the scheme carries, and the pass."""

    u: Tensor
    version: int
    carried: State
    index: int


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
        run: whether the blocks are one after the other in an nn.Sequential, so that the first can run them all.
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
        self.once = [self._once(n) for n in range(self.steps)]
        self.session: Session | None = None
        self.observer: Observer | None = None
        #: what stands for the forward of each block
        self.members: Sequence[Any] = ()

    def _once(self, n: int) -> bool:
        """Whether step n evaluates its function once, at the state itself: the block's forward then runs but once."""
        evaluated = self.program_of(n).evaluated
        at_state = len(evaluated) == 1 and evaluated[0].source == 0
        return self.program_of(n).explicit and at_state and not (n == 0 and self.scheme.needs_slope)

    @property
    def gradient(self) -> Options:
        """As of ODENet, where the blocks allow it."""
        return self._gradient

    @gradient.setter
    def gradient(self, gradient: str | Options) -> None:
        options = as_gradient(gradient)
        for plan in self.plans:
            if reason := refusal(plan, self.explicit, options, self.run_at_once):
                raise FieldError(f"{plan.name}: got gradient={as_gradient(gradient)}, expected 'direct': {reason}")
        self._runner = options.attach(self)
        self._gradient = options

    @property
    def gradient_name(self) -> str:
        """How gradients are had, in a word."""
        return "direct" if isinstance(self._gradient, Direct) else str(self._gradient)

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles are without what a forward pass that was cut short has left."""
        return {**self.__dict__, "session": None}

    # ---------------------------------------------------------------- a block at a time

    @property
    def recorded(self) -> bool:
        """Whether autograd records the steps as they are, or nothing is recorded."""
        return isinstance(self._gradient, Direct) or not torch.is_grad_enabled()

    @property
    def whole(self) -> bool:
        """Whether the first block runs all of them, since states are to be stored between several of their steps."""
        return self.run_at_once and not self.recorded

    def inline(self, index: int) -> bool:
        """Whether the forward of block ``index`` is run once, with the scheme's combinations in its sums' place."""
        steps = range(self.first[index], self.first[index + 1])
        return self.recorded and all(self.once[n] for n in steps)

    def bound(self, calls: dict[str, BlockCall]) -> Chain:
        """The chain with the calls of its blocks: a copy where a backward pass will come back to them."""
        if self.recorded and self.explicit:
            self.branches.calls = calls
            return self
        own, field = copy.copy(self), copy.copy(self.field)
        assert isinstance(field, Branches)
        own._modules = {**self._modules, "field": field}
        field.calls = calls
        return own

    @property
    def branches(self) -> Branches:
        """The field."""
        assert isinstance(self.field, Branches)
        return self.field

    def enter(self, index: int, x: Tensor, run: Pass) -> State:
        """What the scheme carries before block ``index``, whose input is x."""
        if index == 0 or self.scheme.carried == 1:
            self._check_input(x)
            self._check_coefficients(x)
            return run.net._seed(0, x, run)
        return (x, *self._before(index, x).carried)

    def _before(self, index: int, x: Tensor) -> Session:
        session = self.session
        if session is None or session.u is not x or session.index >= index or session.version != version(x):
            raise FieldError(
                f"{self.plans[index].name}: got an input that is not what {self.plans[index - 1].name} returned, which "
                f"{self.scheme.name} goes on from; expected the blocks of the chain one after the other, with nothing "
                "between them (no dropout, no layer drop, no activation checkpointing around one of them)"
            )
        return session

    def leave(self, index: int, u: Tensor, state: State) -> None:
        """Keep what the next block needs."""
        if self.scheme.carried > 1:
            self.keep(index, u, state[1:])

    def keep(self, index: int, u: Tensor, carried: State = ()) -> None:
        """The state after block ``index``, for the next one."""
        last = index == len(self.plans) - 1
        self.session = None if last else Session(u, version(u), carried, index)

    def hand_on(self, index: int, x: Tensor) -> None:
        """Block ``index`` of a run that is over, whose input is x."""
        self.keep(index, x, self._before(index, x).carried)

    def passing(self, x: Tensor) -> Pass:
        """A pass of this chain."""
        return Pass(self, [()] * self.steps, x.device)

    def advance(self, n: int, state: State, run: Pass) -> State:
        """Step n, with its gradient as asked."""
        if self.observer is not None:
            self.observer.on_step(n, state)
        if self.recorded:
            return run.step(n, state)
        monitor = Monitor(n, n + 1, LIMITS[state[0].dtype])
        return run_segment(Recompute(Stretch(run, n, n + 1), monitor), state)

    def combine(self, n: int, state: State, branch: Tensor) -> State:
        """Step n, where the value of its one function is known."""
        if self.observer is not None:
            self.observer.on_step(n, state)
        if branch.shape != state[0].shape:
            raise FieldError(
                f"layer {n}: got a branch of shape {tuple(branch.shape)} for a state of shape {tuple(state[0].shape)}, "
                "expected the same"
            )
        return distinct(step(self.program_of(n), lambda *_: branch, state, self.coefficients_at(n)))

    def set_coefficients(self, values: float | Mapping[str, float]) -> None:
        """Give the learnable coefficients values: one for all, or by symbol."""
        symbols = sorted(map(str, self.scheme.symbols))
        given = values if isinstance(values, Mapping) else dict.fromkeys(symbols, values)
        if not symbols or set(given) - set(symbols):
            raise FieldError(
                f"coefficients: got {values}, expected a number or a mapping of the symbols of {self.scheme.name}: "
                f"{symbols}"
            )
        with torch.no_grad():
            for n in range(self.steps):
                for symbol, parameter in self.coefficients_at(n).items():
                    if symbol in given:
                        parameter.fill_(float(given[symbol]))


def distinct(state: State) -> State:
    """The state, whose solution is no other carried value: what follows a sum may write to it."""
    u = state[0]
    return (u.clone(), *state[1:]) if any(u is other for other in state[1:]) else state


def version(x: Tensor) -> int:
    """How often x has been written to, where that can be known."""
    return 0 if torch.compiler.is_compiling() or x.is_inference() else x._version


def refusal(plan: Block, explicit: bool, gradient: Options, run: bool) -> str:
    """Why a block does not allow a scheme or a way to gradients; empty where it does."""
    uses = "it uses tensors computed before its sum after it, which only explicit schemes with gradient='direct' can do"
    if not (explicit and isinstance(gradient, Direct)) and not plan.free:
        return uses
    if isinstance(gradient, Reversible):
        if plan.activation:
            return f"the activation after its sum ({', '.join(plan.activation)}) cannot be undone"
        if not run:
            return "its chain is no run of an nn.Sequential, whose blocks could be run and undone as one"
    elif not isinstance(gradient, (Direct, Checkpoint)):
        return "blocks of a network have no continuous adjoint"
    return ""


def one_function(scheme: Scheme) -> None:
    """Refuse a scheme of several functions a step: a block has one branch."""
    if scheme.components > 1 or max(scheme.modules) > 0:
        raise SchemeError(
            f"swap_scheme: got {scheme.name}, which evaluates {max(scheme.modules) + 1} functions a step on "
            f"{scheme.components} component(s), expected a scheme of one function: a block has one branch for each sum"
        )
