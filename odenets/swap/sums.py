"""What the example has shown of a sum of the model: a value without tensors, copied and pickled with the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from .calls import Function, Source, name_of, words

#: what moves the values of a state and keeps them all
MOVES = words(
    "view reshape flatten unflatten permute transpose swapaxes swapdims movedim moveaxis squeeze unsqueeze contiguous "
    "clone roll T mT alias"
)
#: what may follow a sum, and is applied to the state alone
ACTIVATIONS = words(
    "relu relu_ relu6 leaky_relu leaky_relu_ elu elu_ selu selu_ celu gelu silu mish softplus hardtanh hardtanh_ "
    "hardswish hardsigmoid tanh tanh_ sigmoid sigmoid_ rrelu softsign clamp clamp_ __setitem__ fill_ masked_fill "
    "masked_fill_ nan_to_num dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout"
)


@dataclass(eq=False)
class Frame:
    """One call of a module's forward: the module's path, and the number of values before it."""

    module: str
    start: int


NOBODY = Frame("", 0)


@dataclass(frozen=True)
class Activation:
    """A function of the state alone that follows a sum, with its other arguments; without them where tensors are."""

    func: Function
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    tensors: bool

    def __call__(self, x: Tensor) -> Tensor:
        """Its value at x, which is not written to."""
        x = x.clone()
        value = self.func(x, *self.args, **self.kwargs)
        return value if isinstance(value, Tensor) else x


@dataclass(eq=False)
class Sum:
    """An addition to a state of what is made of it, by the numbers of values.

    Args:
        source: the line.
        frames: calls of the modules in whose forwards it is made, from the outermost on.
        operands: what is added.
        made: the sum.
        sides: which operands may be the state.
    """

    source: Source
    frames: tuple[Frame, ...]
    operands: tuple[int, ...]
    made: int
    sides: tuple[int, ...]
    #: which operand is the state, the state itself of which that may be a copy, and what is added to it
    side: int = 0
    state: int = -1
    terms: tuple[int, ...] = ()
    #: by way of a weight of two dimensions or more
    weighed: bool = True
    #: earlier additions of the same step, as x + a in x + a + b
    parts: tuple[Sum, ...] = ()
    #: why it is left alone; why what is added cannot be had at other states
    reason: str = ""
    once: str = ""
    #: what draws random numbers in it, in evaluation and in training
    draws: tuple[str, str] = ("", "")
    #: the innermost call of a module that has seen all between the state and it
    owner: Frame = NOBODY
    #: which addition in its line it is in one call of the owner, of how many, and which of all; is it in each call
    place: int = -1
    total: int = 0
    number: int = -1
    always: bool = True
    #: of its coefficients and statistics: its number among the sums of its owner, over all calls
    label: str = ""
    #: whether no later sum of the owner has a state older than it
    clears: bool = True
    #: what is done to the state between the sum before it in its chain and it, each with the module that sees it
    moves: tuple[tuple[str, Function], ...] = ()
    #: modules in whose forwards its additions and moves are made
    within: frozenset[str] = frozenset()
    #: what follows it; paths of the normalisations in its branch
    activations: tuple[Activation, ...] = ()
    norms: tuple[str, ...] = ()

    @property
    def module(self) -> str:
        """Path of the innermost module in whose forward it is made."""
        return self.frames[-1].module

    @property
    def additions(self) -> tuple[Sum, ...]:
        """All of the step, in order."""
        return (*self.parts, self)

    @property
    def activation_names(self) -> tuple[str, ...]:
        """Names of what follows it."""
        return tuple(name_of(one.func) for one in self.activations)
