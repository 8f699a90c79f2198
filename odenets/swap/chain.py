"""A chain of sums as an ODENet whose steps are taken one by one, wherever the model makes the sums."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from ..fields import Field, FieldError, Noise
from ..gradients import Direct, Gradient, Runner
from ..net import ODENet
from ..program import Evaluate, Program, compile_scheme
from ..program.step import State, step
from ..scheme import Scheme
from ..zoo import as_scheme
from .history import History
from .sums import Sum


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

    def advance(self, n: int, carried: State, u: Tensor, branch: Tensor, stage: Callable[..., Tensor]) -> State:
        """Step n from u, where what is added is ``branch``; at other states y it is ``stage(evaluation, y)``."""

        def function(what: Evaluate, y: Tensor) -> Tensor:
            return branch if y is u else stage(what, y)

        if not carried and self.scheme.carried > 1:
            carried = self._seed(n, u, lambda _, what, y: function(what, y))[1:]
        new = step(self.program_of(n), function, (u, *carried), self.coefficients_at(n))
        # What follows the sum may write to the solution.
        return (new[0].clone(), *new[1:]) if any(new[0] is other for other in (u, branch, *new[1:])) else new


def elsewhere(program: Program) -> list[int]:
    """Which evaluations of a step are elsewhere than at the state, where the model itself evaluates the branch."""
    return [what.index for what in program.evaluated if what.source != 0]
