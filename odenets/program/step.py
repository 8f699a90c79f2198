"""One step of a compiled scheme: a pure function, carried values in, carried values out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from .code import row_code
from .program import Evaluate, Program, Solve
from .rows import Op

State = tuple[Tensor, ...]
#: f(evaluation, y): what an Evaluate instruction names, at stage value y
Function = Callable[[Evaluate, Tensor], Tensor]
#: solver(group, constants): values F_i of the functions that a Solve instruction names
Solver = Callable[[Solve, State], State]


def step(
    program: Program,
    function: Function,
    state: State,
    learned: Mapping[str, Tensor],
    solver: Solver | None = None,
) -> State:
    """Advance the carried values by one step.

    Args:
        program: the compiled scheme.
        function: the residual function of this step; returns a tensor of its argument's shape.
        state: the r carried values, the solution first, slopes and velocities without their factor h.
        learned: value of each free symbol, of a shape that broadcasts with the state.
        solver: what finds the stages of an implicit scheme.

    Neither ``state`` nor what ``function`` returns is written to.
    """
    return program.ready().run(function, state, learned, solver)


def combine(ops: tuple[Op, ...], values: Sequence[Tensor], carried: int, learned: Mapping[str, Tensor]) -> Tensor:
    """One row by itself; ``values`` from number ``carried`` on are those of functions."""
    return row_code(ops, carried)(values, learned)
