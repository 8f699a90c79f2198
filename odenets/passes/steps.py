"""Steps of a pass, taken as they are: autograd, where it is on, records them."""

from __future__ import annotations

import torch

from ..program.step import State
from .forward_pass import Pass
from .purity import check_pure
from .segment import Segment


def run_steps(run: Pass, first: int, state: State, stop: int | None = None) -> State:
    """The carried values before step ``stop``, by default after the last one, from those before step ``first``."""
    plan, calls, learned = run.net.plan, run.calls, run.learned
    for n in range(first, len(plan) if stop is None else stop):
        program, solves, repeats = plan[n]
        if solves:
            state = _solved(run, n, state)
        else:
            state = program.run(run.masked(n) if repeats else calls[n], state, learned[n])
    return state


def _solved(run: Pass, n: int, state: State) -> State:
    """The same after step n, whose stages have to be solved for."""
    # The implicit function theorem wants the step as a function of the tensors it uses.
    segment = Segment(run, n, n + 1)
    if torch.is_grad_enabled():
        check_pure(segment, state[0])
    tensors = segment.copies(segment.tensors)
    state = segment.advance(n, state, tensors)
    segment.context.settle()
    segment.write_back([tensors[place] for place in segment.running])
    return state
