"""A chain of sums as an ODENet whose steps are taken one by one, wherever the model makes the sums; its history."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from ..fields import Field, FieldError, Noise
from ..gradients import Direct, Gradient, Runner
from ..net import ODENet
from ..program import Evaluate, Program, compile_scheme
from ..program.step import State, step
from ..scheme import Scheme
from ..zoo import as_scheme
from .calls import version
from .sums import Sum


class Session(NamedTuple):
    """Between two steps: the number of the one before, what is carried, and the state where nothing else holds it."""

    step: int
    carried: State
    versions: tuple[int, ...]
    u: Tensor | None = None


class History:
    """Carried values of a chain; two passes, also of two threads, do not meet.

    An entry is kept for as long as its state is: activation checkpointing comes back to it. ``names`` say where the
    sums of the chain are.
    """

    def __init__(self, names: Sequence[str], scheme: str) -> None:
        self.names, self.scheme = tuple(names), scheme
        self.sessions = WeakTensorKeyDictionary()
        #: those that there are while torch.compile traces
        self.traced: list[Session] = []

    def __getstate__(self) -> tuple[Sequence[str], str]:
        """Copies and pickles are without what passes under way have left."""
        return self.names, self.scheme

    def __setstate__(self, state: tuple[Sequence[str], str]) -> None:
        """With nothing carried."""
        self.__init__(*state)  # type: ignore[misc]

    def find(self, u: Tensor) -> Session | None:
        """What belongs to u, if anything does."""
        if not torch.compiler.is_compiling() and (found := self.sessions.get(u)) is not None:
            session: Session = found
            return session
        return next((session for session in self.traced if session.u is u), None)

    def carried(self, session: Session, u: Tensor) -> State:
        """What is carried into the step after a session's, whose state is u.

        Raises:
            FieldError: it, or u, was written to since.
        """
        n = session.step + 1
        if session.carried and session.versions != _versions((u, *session.carried)):
            raise FieldError(
                f"{self.names[n]}: got a state that was written to after {self.names[n - 1]} had returned it, or one "
                f"before it that {self.scheme} goes on from, or what was added to it, which {self.scheme} goes on "
                "from, expected none of these changed; write to a copy"
            )
        return session.carried

    def broken(self, n: int) -> FieldError:
        """The error for a state that no step before step n has made."""
        return FieldError(
            f"{self.names[n]}: got an input that is not what {self.names[n - 1]} returned, which {self.scheme} goes on "
            "from; expected the steps of the chain one after the other, with nothing between them but what was there "
            "at the example (no dropout, no layer drop, no reentrant activation checkpointing around one of them), and "
            "all or none of them compiled (compile the model)"
        )

    def keep(self, n: int, u: Tensor, carried: State) -> None:
        """Keep what step n has left for the next, whose state is u."""
        if n == len(self.names) - 1:
            self.traced = []
        elif torch.compiler.is_compiling():
            # Of the steps before, nobody asks any more.
            own = Session(n, carried, _versions((u, *carried)), u)
            self.traced = [*(session for session in self.traced if session.step == n), own]
        else:  # without u, or the entry would keep it alive
            self.sessions[u] = Session(n, carried, _versions((u, *carried)))

    def follow(self, session: Session, u: Tensor, move: Callable[[Tensor], Tensor] | None) -> None:
        """The state has become u: carried values are moved as it was, and activations are not applied to them."""
        self.keep(session.step, u, session.carried if move is None else tuple(map(move, session.carried)))


def _versions(tensors: Sequence[Tensor]) -> tuple[int, ...]:
    return tuple(version(x) for x in tensors)


class Branches(Field):
    """A layer for each sum: the module whose forward has it; ``functions`` are those of an analysis."""

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        super().__init__()
        self.layers, self.steps = nn.ModuleList(modules), len(modules)
        self.functions: list[Callable[[Tensor], Tensor]] = []

    def evaluate(self, n: int, what: Evaluate, x: Tensor, noise: Noise = ()) -> Tensor:
        """The branch of sum n at x, in a pass that has been observed."""
        if not self.functions:
            raise FieldError("got a call of a chain of swapped blocks by itself, expected its model to be called")
        return self.functions[n](x)


class Chain(ODENet):
    """The sums of a chain as the layers of one network.

    Args:
        sums: the sums.
        modules: for each the module whose forward has it.
        stages: whether the activation after a sum is applied to stages.
        options: of ODENet: start, coefficient_shape, gradient.
    """

    def __init__(
        self, sums: Sequence[Sum], modules: Sequence[nn.Module], scheme: Scheme, *, stages: bool, **options: Any
    ) -> None:
        super().__init__(Branches(modules), scheme, **options)
        self.sums, self.stages = list(sums), stages
        #: whether a step is the sum that it was
        self.plain = self.program.instructions == compile_scheme(as_scheme("euler"), 1.0).instructions
        self.history = History([one.owner.module or "the model" for one in sums], scheme.name)
        #: whether a step must know which it is; and whether it cannot go on where it does not
        self.tracked = scheme.carried > 1
        self.exact = scheme.carried > 1 or bool(scheme.symbols)
        #: who sees it at work: its ``on_step(n, state, branch)`` is called before each step, ``branch`` a Stages
        self.observer: Any = None
        #: the swap that it is of
        self.origin: Any = None

    def runner_of(self, options: Gradient) -> Runner:
        """As of ODENet, of the one way to gradients that there is."""
        if not isinstance(options, Direct):
            raise FieldError(
                f"got gradient={options} for somebody else's model, expected 'direct': its forward is run as it is. "
                "Checkpoint it by its own means, as torch.utils.checkpoint around its blocks; ODENet has other ways"
            )
        return super().runner_of(options)

    @property
    def branches(self) -> Branches:
        """The field."""
        assert isinstance(self.field, Branches)
        return self.field

    @property
    def evaluations(self) -> int:
        """Evaluations of branches in one pass."""
        return sum(1 + len(elsewhere(self.program_of(n))) for n in range(self.steps))

    def advance(self, n: int, carried: State, u: Tensor, branch: Tensor, stage: Callable[..., Tensor] | None) -> State:
        """Step n from u, where what is added is ``branch``; at other states y it is ``stage(evaluation, y)``."""

        def function(what: Evaluate, y: Tensor) -> Tensor:
            if y is u:
                return branch
            assert stage is not None  # of schemes that evaluate elsewhere, which record
            return stage(what, y)

        if not carried and self.scheme.carried > 1:
            carried = self._seed(n, u, lambda _, what, y: function(what, y))[1:]
        new = step(self.program_of(n), function, (u, *carried), self.coefficients_at(n))
        # What follows the sum may write to the solution.
        return (new[0].clone(), *new[1:]) if any(new[0] is other for other in (u, branch, *new[1:])) else new


def elsewhere(program: Program) -> list[int]:
    """Which evaluations of a step are elsewhere than at the state, where the model itself evaluates the branch."""
    return [what.index for what in program.evaluated if what.source != 0]
