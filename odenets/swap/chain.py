"""A chain of sums as an ODENet whose steps are taken one by one, wherever the model makes the sums; what it keeps.

That are the histories of passes, by their states, and what the original had not, in the blocks that it belongs to:
coefficients are parameters of these, ``<block>.odenets_k_<sum>``, and statistics of further stages are kept in the
BatchNorm that they are of. A module of the model's own for it was rejected: who iterates over the children of the
model, or cuts the last one off, would meet it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from ..fields import Field, FieldError, Noise
from ..fields.stage_statistics import StageStatistics
from ..gradients import Direct, Gradient, Runner
from ..net import ODENet
from ..net.learnable_coefficients import PREFIX, Coefficients, is_added
from ..program import Evaluate, compile_scheme
from ..program.step import State, step
from ..scheme import Scheme
from ..scheme.errors import SchemeWarning
from ..zoo import as_scheme
from .calls import version
from .sums import Sum


class Session(NamedTuple):
    """Between two steps of a chain: the number of the one before, what is carried, and how the state was moved since.

    ``versions`` of the state and of what is carried. Where torch.compile traces, ``u`` is the state, which nothing else
    holds there, and ``start`` the first that this pass through the chain has made.
    """

    chain: Chain
    step: int
    carried: State
    versions: tuple[int, ...]
    moves: tuple[Callable[[Tensor], Tensor], ...] = ()
    u: Tensor | None = None
    start: Tensor | None = None

    def before(self, other: Session) -> bool:
        """Whether another step makes this one needless: the same pass has gone on, or a new one begins.

        What is further than a pass that begins is taken for what one that stopped before its end has left behind.
        """
        if self.chain is not other.chain:
            return False
        if self.start is other.start:
            return self.step != other.step
        return other.u is other.start and self.step > other.step


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
        if torch.compiler.is_compiling():
            return next((session for session in self.traced if session.u is u), None)
        return self.sessions.get(u)

    def keep(self, session: Session, u: Tensor) -> None:
        """Keep what a step has left for the next, whose state is u."""
        last = session.step == len(session.chain.sums) - 1
        if torch.compiler.is_compiling():  # of the steps before, nobody asks any more; another pass may take turns
            session = session._replace(u=u, start=u if session.start is None else session.start)
            others = [other for other in self.traced if not other.before(session)]
            self.traced = others if last else [*others, session]
        elif not last:  # without u, or the entry would keep it alive
            self.sessions[u] = session


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
        #: whether a step is the sum that it was, as of Euler's method, so that nothing need be done
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
    def made_at(self) -> tuple[Any, ...]:
        """Where its sums are made."""
        return tuple(one.at for one in self.sums)

    @property
    def evaluations(self) -> int:
        """Evaluations of branches in one pass."""
        return sum(1 + len(self.elsewhere(n)) for n in range(self.steps))

    def elsewhere(self, n: int) -> list[int]:
        """Which evaluations of step n are elsewhere than at the state, where the model itself evaluates the branch."""
        return [what.index for what in self.program_of(n).evaluated if what.source != 0]

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


class AddedCoefficients(Coefficients):
    """Those of a chain, put into the blocks that they belong to: ``homes[n]`` is (block, label) of layer n."""

    def __init__(self, own: Coefficients, homes: Sequence[tuple[nn.Module, str]]) -> None:
        nn.Module.__init__(self)
        self._init, self._names, self._homes = own._init, dict[int, dict[str, str]](), list(homes)
        for n, (block, label) in enumerate(homes):
            for symbol, parameter in own.at(n).items():
                name = self._names.setdefault(n, {})[symbol] = f"{PREFIX}{symbol}_{label}"
                if name not in block._parameters:
                    block.register_parameter(name, parameter)  # type: ignore[arg-type]

    def at(self, n: int) -> dict[str, Tensor]:
        """Symbol -> Parameter of layer n; empty where the layer has none."""
        return {symbol: getattr(self._homes[n][0], name) for symbol, name in self._names.get(n, {}).items()}


def add_statistics(norm: nn.Module, label: str, visit: int) -> StageStatistics:
    """Statistics of a further evaluation of a sum, kept in the normalisation that they are of."""
    own, name = StageStatistics(norm), f"{PREFIX}{label}_{visit}"
    while name in norm._modules:  # blocks may share it
        name += "_"
    norm.add_module(name, own)
    return own


def remove_added(model: nn.Module) -> None:
    """Take parameters, statistics and hooks out again."""
    for module in model.modules():
        for name in [name for name in (*module._parameters, *module._modules) if name.startswith(PREFIX)]:
            delattr(module, name)
        hooks = module._load_state_dict_post_hooks
        for key in [key for key, hook in hooks.items() if hook is forgive]:
            del hooks[key]


def forgive(model: nn.Module, incompatible: Any) -> None:
    """After a state_dict of the original was loaded: coefficients stay, statistics are those of their norms."""
    # Of counts of batches nobody says that they are missing: BatchNorm makes them.
    own = [key for key in model.state_dict() if is_added(key) and not key.endswith("num_batches_tracked")]
    lacking = [key for key in incompatible.missing_keys if key.endswith(tuple(own))]
    if len(lacking) == len(own):
        for key in lacking:
            incompatible.missing_keys.remove(key)
        learned = tuple(name for name, _ in model.named_parameters() if is_added(name))
        if coefficients := [key for key in lacking if key.endswith(learned)]:
            warnings.warn(
                f"load_state_dict: got none of the {len(coefficients)} coefficients of the scheme "
                f"({coefficients[0]}, ...), as of the original: they stay as they are; expected what the state_dict of "
                "a swapped model has, if they were trained",
                SchemeWarning,
                stacklevel=4,
            )
        for norm in model.modules():
            for copied in (child.norms[0] for child in norm.children() if isinstance(child, StageStatistics)):
                copied.load_state_dict(dict(norm.named_buffers(recurse=False)))
