"""What the example has shown of a sum of the model: a value without tensors, copied and pickled with the model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from ..fields.stage_statistics import StageStatistics
from .calls import Source


@dataclass(eq=False)
class Frame:
    """One call of a module's forward: the module's path, and the number of values before it."""

    module: str
    start: int


#: calls of modules, from the outermost on; values, by their numbers
Frames = tuple[Frame, ...]
Numbers = tuple[int, ...]
NOBODY = Frame("", 0)


@dataclass(eq=False)
class Sum:
    """An addition to a state of what is made of it, by the numbers of values."""

    #: the line; the modules in whose forwards it is made
    source: Source
    frames: Frames
    #: what is added, and the sum; which of these operands may be the state
    operands: Numbers
    made: int
    sides: Numbers
    #: which is the state, the state itself of which that may be a copy, and what is added to it
    side: int = 0
    state: int = -1
    terms: Numbers = ()
    #: by way of a weight of two dimensions or more
    weighed: bool = True
    #: earlier additions of the same step, as x + a in x + a + b
    parts: tuple[Sum, ...] = ()
    #: why it is left alone; why what is added cannot be had at other states, or not where what runs is recorded by
    #: torch, in evaluation and in training
    reason: str = ""
    once: str = ""
    hidden: tuple[str, str] = ("", "")
    #: the innermost call of a module that has seen all between the state and it
    owner: Frame = NOBODY
    #: which addition in its line it is in one call of the owner, and of how many; is it in each call
    place: int = -1
    total: int = 0
    always: bool = True
    #: in evaluation and in training, over all calls of the owner: which of its additions it is, and of how many
    numbers: tuple[set[tuple[int, int]], set[tuple[int, int]]] = field(default_factory=lambda: (set(), set()))
    #: of its coefficients and statistics: its number among the sums of its owner, over all calls
    label: str = ""
    #: whether no later sum of the owner has a state older than it
    clears: bool = True
    #: what follows it; paths of the normalisations in its branch
    activations: tuple[str, ...] = ()
    norms: tuple[str, ...] = ()
    #: once it is a step: which of which chains it may be, several where a module is called several times; the step that
    #: it is a part of; the normalisations of its branch, each with its statistics of further stages
    places: list[tuple[Any, int]] = field(default_factory=list)
    whole: Sum | None = None
    statistics: list[tuple[nn.Module, dict[int, StageStatistics]]] = field(default_factory=list)

    @property
    def module(self) -> str:
        """Path of the innermost module in whose forward it is made."""
        return self.frames[-1].module

    @property
    def additions(self) -> tuple[Sum, ...]:
        """All of the step, in order."""
        return (*self.parts, self)

    def others(self, side: int) -> Numbers:
        """All operands but one."""
        return (*self.operands[:side], *self.operands[side + 1 :])

    @property
    def at(self) -> tuple[str, Source, int]:
        """Where it is made: in a module's forward, a line, and a place in it."""
        return self.owner.module, self.source, self.place

    def statistics_of(self, index: int) -> dict[Tensor, Tensor]:
        """The running statistics of a further stage, by those that they stand for; once a step."""
        found: dict[Any, Any] = {}
        for norm, own in self.statistics:
            copied: Any = own[index].norms[0]
            if copied.num_batches_tracked is not None and norm.training:
                copied.num_batches_tracked.add_(1)
            found.update({norm.running_mean: copied.running_mean, norm.running_var: copied.running_var})
        return found
