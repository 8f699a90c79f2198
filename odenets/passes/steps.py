"""Steps of a pass, taken as they are: autograd, where it is on, records them."""

from __future__ import annotations

import torch

from ..program.step import State
from .forward_pass import Pass
from .purity import check_pure
from .segment import Segment


def run_step(run: Pass, n: int, state: State) -> State:
    """The carried values after step n, from those before it."""
    program, solves, repeats = run.net.plan[n]
    if not solves:
        function = run.masked(n) if repeats else run.calls[n]
        return program.run(function, state, run.learned[n])
    # The implicit function theorem wants the step as a function of the tensors it uses.
    segment = Segment(run, n, n + 1)
    if torch.is_grad_enabled():
        check_pure(segment, state[0])
    tensors = segment.copies(segment.tensors)
    state = segment.advance(n, state, tensors)
    segment.context.settle()
    segment.write_back([tensors[place] for place in segment.running])
    return state


def run_steps(run: Pass, first: int, state: State) -> State:
    """The carried values after the last step, from those before step ``first``."""
    for n in range(first, len(run.net.plan)):
        state = run_step(run, n, state)
    return state
