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

#: what moves the values of a state
Move = Callable[[Tensor], Tensor]


class Session(NamedTuple):
    """Between two steps of a chain: the number of the one before, what is carried, and how the state was moved since.

    ``versions`` of the state and of what is carried; ``u`` is the state where nothing else holds it.
    """

    chain: Chain
    step: int
    carried: State
    versions: tuple[int, ...]
    moves: tuple[Move, ...] = ()
    u: Tensor | None = None


class History:
    """What the chains of a model carry, by their states; two passes, also of two threads, do not meet.

    An entry is kept for as long as its state is: activation checkpointing comes back to it.
    """

    def __init__(self) -> None:
        self.sessions = WeakTensorKeyDictionary()
        #: those that there are while torch.compile traces
        self.traced: list[Session] = []

    def __reduce__(self) -> Any:
        """Copies and pickles are without what passes under way have left."""
        return History, ()

    def find(self, u: Tensor) -> Session | None:
        """What belongs to u, if anything does."""
        if not torch.compiler.is_compiling() and (found := self.sessions.get(u)) is not None:
            return found
        return next((session for session in self.traced if session.u is u), None)

    def keep(self, session: Session, u: Tensor) -> None:
        """Keep what a step has left for the next, whose state is u."""
        chain, n = session.chain, session.step
        if torch.compiler.is_compiling():  # of the steps before, nobody asks any more
            others = (other for other in self.traced if other.chain is not chain or other.step == n)
            self.traced = [*others, session._replace(u=u)]
        elif n < chain.steps - 1:  # without u, or the entry would keep it alive
            self.sessions[u] = session
        if n == chain.steps - 1:
            self.traced = [other for other in self.traced if other.chain is not chain]

    def follow(self, session: Session, u: Tensor, move: Move | None) -> None:
        """The state has become u, by a move, or by an activation, which is not applied to what is carried."""
        moves = session.moves if move is None else (*session.moves, move)
        self.keep(session._replace(versions=(version(u), *session.versions[1:]), moves=moves), u)


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
    """The sums of a chain as the layers of one network; ``modules`` for each the one whose forward has it.

    ``history`` is that of all chains of the model; ``options`` of ODENet: start, coefficient_shape, gradient.
    """

    field: Branches

    def __init__(
        self, sums: Sequence[Sum], modules: Sequence[nn.Module], scheme: Scheme, history: History, **options: Any
    ) -> None:
        super().__init__(Branches(modules), scheme, **options)
        self.sums, self.history = list(sums), history
        #: whether a step is the sum that it was
        self.plain = self.program.instructions == compile_scheme(as_scheme("euler"), 1.0).instructions
        self.names = [one.owner.module or "the model" for one in sums]
        #: whether a step must know which it is; and whether it cannot go on where it does not
        self.tracked = scheme.carried > 1
        self.exact = scheme.carried > 1 or bool(scheme.symbols)
        #: who sees it at work: its ``on_step(n, state, branch)`` is called before each step, ``branch`` a Stages
        self.observer: Any = None

    def runner_of(self, options: Gradient) -> Runner:
        """As of ODENet, of the one way to gradients that there is."""
        if not isinstance(options, Direct):
            raise FieldError(
                f"got gradient={options} for somebody else's model, expected 'direct': its forward is run as it is. "
                "Checkpoint it by its own means, as torch.utils.checkpoint around its blocks; ODENet has other ways"
            )
        return super().runner_of(options)

    @property
    def evaluations(self) -> int:
        """Evaluations of branches in one pass."""
        return sum(1 + len(self.elsewhere(n)) for n in range(self.steps))

    def elsewhere(self, n: int) -> list[int]:
        """Which evaluations of step n are elsewhere than at the state."""
        return elsewhere(self.program_of(n))

    def carried(self, session: Session, u: Tensor) -> State:
        """What is carried into the step after a session's, moved as its state u was; FieldError if written to since."""
        n, carried = session.step + 1, session.carried
        if carried and session.versions != tuple(map(version, (u, *carried))):
            raise FieldError(
                f"{self.names[n]}: got a state that was written to after {self.names[n - 1]} had returned it, or one "
                f"before it that {self.scheme.name} goes on from, or what was added to it, which {self.scheme.name} "
                "goes on from, expected none of these changed; write to a copy"
            )
        for move in session.moves:
            carried = tuple(map(move, carried))
        return carried

    def broken(self, n: int) -> FieldError:
        """The error for a state that no step before step n has made."""
        return FieldError(
            f"{self.names[n]}: got an input that is not what {self.names[n - 1]} returned, which {self.scheme.name} "
            "goes on from; expected the steps of the chain one after the other, with nothing between them but what was "
            "there at the example (no dropout, no layer drop, no reentrant activation checkpointing around one of "
            "them), and all or none of them compiled (compile the model)"
        )

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
