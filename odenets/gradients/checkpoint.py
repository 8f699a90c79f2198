"""Gradients from steps that are run again from stored states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..fields import FieldError
from ..passes import Network, Pass
from ..passes.segment import Segment
from ..program.step import State
from ..program.transforms import traced_as_constant
from ..scheme.given_numbers import integer
from .backward import Recompute
from .checkpoint_schedule import CheckpointedSegment, Splits, checkpointed_segments, recomputed, splits_of
from .defect import Monitor
from .gradient import Gradient, Runner, Stored
from .segment_function import run_segment


@dataclass(frozen=True)
class Checkpoint(Gradient):
    """Store some states, and run the steps between them again in the backward pass. For every scheme and field.

    Args:
        states: None stores the square root of the number of steps, and runs each segment between
            them once more with autograd's record: one forward pass more, activations of sqrt(N)
            steps (Chen et al. 2016). A number stores so many states at any one time, the first
            included, and one step's activations, and runs as few steps again as that allows
            (Griewank & Walther 2000).
    """

    states: int | None = None

    def __post_init__(self) -> None:
        if self.states is not None:
            object.__setattr__(self, "states", integer(self.states, "Checkpoint: states", error=FieldError))

    def attach(self, net: Network) -> Runner:
        """Any network will do."""
        return _Run(tuple(checkpointed_segments(net.first_step, net.steps, self.states)))

    def __str__(self) -> str:
        return "checkpoint" if self.states is None else f"checkpoint({self.states})"


#: Relative difference that is accepted between a state and the same state when its steps are run again, by dtype.
#: It is 0 but for operations that torch calls nondeterministic.
LIMITS = {torch.float64: 1e-11, torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1e-2}


@traced_as_constant
def _largest_difference(dtype: torch.dtype) -> float:
    return LIMITS[dtype]


class _Run(Runner):
    def __init__(self, segments: Sequence[CheckpointedSegment]) -> None:
        self.segments = tuple(segments)
        self.splits: dict[tuple[int, int], Splits | None] = {
            (start, stop): splits_of(stop - start, slots) if slots else None for start, stop, slots in self.segments
        }

    @property
    def stored(self) -> Stored | None:
        """Checkpoints and steps run again."""
        steps = sum(stop - start for start, stop, _ in self.segments)
        twice = sum(recomputed(stop - start, slots) for start, stop, slots in self.segments if slots)
        return Stored(steps, max(len(self.segments) - 1, 0), steps + twice, 0)

    def integrate(self, run: Pass, first: int, state: State) -> State:
        """One node of the graph for each segment between two stored states."""
        limit = _largest_difference(state[0].dtype)
        for start, stop, _ in self.segments:
            monitor = Monitor(start, stop, limit)
            state = run_segment(Recompute(Segment(run, start, stop), monitor, self.splits[start, stop]), state)
        return state
