"""One step of a compiled scheme: a pure function, carried values in, carried values out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.autograd import forward_ad

from .program import Combine, Evaluate, Program, Solve
from .rows import Learned, Op

State = tuple[Tensor, ...]
#: f(evaluation, y): what an Evaluate instruction names, at stage value y
Function = Callable[[Evaluate, Tensor], Tensor]
#: solver(group, constants): values F_i of the functions that a Solve instruction names
Solver = Callable[[Solve, State], State]
#: values by slot
Slots = Mapping[int, Tensor] | Sequence[Tensor]
#: values by slot, and the number of the next instruction
Begun = tuple[dict[int, Tensor], int]


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
    slots, first = begin(program, state, learned)
    return finish(program, (slots, first), function, learned, solver)


def begin(program: Program, state: State, learned: Mapping[str, Tensor]) -> Begun:
    """The combinations before the first evaluation: the values so far by slot, and the instruction that comes next."""
    slots = dict(enumerate(state))
    for number, instruction in enumerate(program.instructions):
        if not isinstance(instruction, Combine):
            return slots, number
        slots[instruction.slot] = combine(instruction.ops, slots, len(state), learned)
    return slots, len(program.instructions)


def finish(
    program: Program,
    begun: Begun,
    function: Function,
    learned: Mapping[str, Tensor],
    solver: Solver | None = None,
) -> State:
    """The rest of a step that has begun."""
    slots, first = begun
    for instruction in program.instructions[first:]:
        if isinstance(instruction, Combine):
            slots[instruction.slot] = combine(instruction.ops, slots, len(program.outputs), learned)
        elif isinstance(instruction, Evaluate):
            slots[instruction.slot] = function(instruction, slots[instruction.source])
        else:
            assert solver is not None  # ODENet gives one to every implicit scheme
            found = solver(instruction, tuple(slots[item.source] for item in instruction.evaluations))
            slots.update({item.slot: value for item, value in zip(instruction.evaluations, found, strict=True)})
    return tuple(slots[i] for i in program.outputs)


def combine(
    ops: Sequence[Op], slots: Mapping[int, Tensor] | Sequence[Tensor], carried: int, learned: Mapping[str, Tensor]
) -> Tensor:
    """Run one row. The buffer is written in place once it is a fresh one that a function has gone into."""
    acc, owned = slots[ops[0][1]], False
    for op in ops:
        kind, slot = op[0], op[1]
        x = slots[slot]
        if kind == "add":
            acc = _add(acc, x, op[2] if type(op[2]) is float else op[2](learned), owned)
            owned = owned or slot >= carried
        elif kind == "lerp":
            acc = _lerp(x, slots[op[2]], _value(op[3], learned))
            owned = slot >= carried or op[2] >= carried
        elif kind == "scale":
            acc, owned = _scale(x, _value(op[2], learned)), slot >= carried
        elif kind == "plus":
            acc = torch.add(x, acc)  # not in place: under vmap a value of f that does not see u is not batched
    return acc


def _value(coefficient: float | Learned, learned: Mapping[str, Tensor]) -> float | Tensor:
    return coefficient if type(coefficient) is float else coefficient(learned)  # type: ignore[operator]


def _cast(coefficient: Tensor, x: Tensor) -> Tensor:
    # Under autocast the state is bf16 and the Parameter float32; a (C, 1, 1) one would promote the sum.
    return coefficient if coefficient.dtype == x.dtype else coefficient.to(x.dtype)


def _add(acc: Tensor, x: Tensor, c: float | Tensor, owned: bool) -> Tensor:
    if type(c) is not float:
        # Never in place: under vmap over the coefficients the buffer may not be batched.
        return torch.addcmul(acc, x, _cast(c, x))  # type: ignore[arg-type]
    # In place would keep a low-precision function's dtype where the state has a higher one. And torch.func.linearize,
    # which runs in a dual level, takes for leaves the sums that do not depend on a tangent.
    if owned and acc.dtype == x.dtype and forward_ad._current_level < 0:
        return acc.add_(x, alpha=c)
    return torch.add(acc, x, alpha=c)


def _scale(x: Tensor, c: float | Tensor) -> Tensor:
    return x * (_cast(c, x) if isinstance(c, Tensor) else c)


def _lerp(x: Tensor, y: Tensor, c: float | Tensor) -> Tensor:
    if x.dtype != y.dtype:  # a float32 seed beside a bf16 function; lerp, unlike add, does not promote
        common = torch.promote_types(x.dtype, y.dtype)
        x, y = x.to(common), y.to(common)
    return torch.lerp(x, y, _cast(c, x) if isinstance(c, Tensor) else c)
