"""A scheme compiled for one step size: which rows to combine, which functions to evaluate, in order."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import sympy

from ..scheme import Scheme, SchemeError
from ..scheme.exact import is_zero
from ..scheme.scheme import Matrices
from .evaluations import Evaluations, evaluations_of
from .rows import Learned, Op, Row, operations, reuse


@dataclass(frozen=True)
class Evaluate:
    """One function evaluation: F at the stage value in ``source``, at time t_n + node * h, into ``slot``.

    ``module`` says which of the layer's modules F is, ``visit`` how often the step has evaluated it
    before, ``index`` which evaluation of the step this is. ``node`` is None where it depends on a
    learnable coefficient, which layers do not mind.
    """

    slot: int
    source: int
    module: int
    visit: int
    node: float | None
    index: int


@dataclass(frozen=True)
class Solve:
    """Evaluations F_i = F(Y_i) whose stage values depend on each other: Y_i = c_i + sum_j weights[i][j] F_j.

    ``evaluations[i].source`` is the slot of the constant c_i, ``evaluations[i].slot`` that of F_i;
    ``inverse`` is the inverse of the matrix of weights.
    """

    evaluations: tuple[Evaluate, ...]
    weights: tuple[tuple[float, ...], ...]
    inverse: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Combine:
    """One linear combination, into ``slot``."""

    slot: int
    ops: tuple[Op, ...]


Instruction = Evaluate | Solve | Combine


@dataclass(frozen=True)
class Program:
    """What a step does, as data. Slots 0 .. r-1 hold the carried values at the start of the step.

    ``outputs[i]`` is the slot of carried value i at the end; ``slopes[i]`` says whether it is kept
    without its factor h.
    """

    scheme: Scheme
    h: float
    instructions: tuple[Instruction, ...]
    outputs: tuple[int, ...]
    slopes: tuple[bool, ...]

    @property
    def explicit(self) -> bool:
        """Whether nothing has to be solved for."""
        return not any(isinstance(item, Solve) for item in self.instructions)

    @property
    def evaluated(self) -> tuple[Evaluate, ...]:
        """Evaluations of the step, those to be solved for included."""
        found: list[Evaluate] = []
        for item in self.instructions:
            found += [item] if isinstance(item, Evaluate) else item.evaluations if isinstance(item, Solve) else []
        return tuple(found)

    @property
    def visits(self) -> tuple[int, ...]:
        """Evaluations a step of each of the layer's modules."""
        modules = [item.module for item in self.evaluated]
        return tuple(modules.count(module) for module in range(max(self.scheme.modules) + 1))

    @property
    def evaluations(self) -> int:
        """Function evaluations a step; for an implicit scheme the number of its stages, whatever the solver takes."""
        return sum(self.visits)

    @property
    def symbols(self) -> tuple[str, ...]:
        """Names of the learnable coefficients the step uses."""
        ops = [op for item in self.instructions if isinstance(item, Combine) for op in item.ops]
        names = {name for op in ops for part in op if isinstance(part, Learned) for name in part.arguments}
        return tuple(sorted(names))


class Compiler:
    """Hands out slots and remembers which rows and functions are already there."""

    def __init__(self, evaluations: Evaluations, blocks: Matrices) -> None:
        self.evaluations = evaluations
        self.A, self.U, self.B, self.V = blocks
        self.size = self.V.rows
        self.instructions: list[Instruction] = []
        self.rows: dict[int, Row] = {}
        self.functions: dict[int, int] = {}  # evaluation -> slot of F

    def new_slot(self) -> int:
        """A slot that nothing has been written to."""
        self.size += 1
        return self.size - 1

    def combine(self, row: Row) -> int:
        """Slot that holds the row's value; a carried value or an earlier row is not copied."""
        ops = operations(reuse(row, self.rows))
        if len(ops) == 1 and ops[0][0] == "take":
            return int(ops[0][1])
        slot = self.new_slot()
        self.instructions.append(Combine(slot, ops))
        self.rows[slot] = row
        return slot

    def row(self, functions: sympy.MatrixBase, carried: sympy.MatrixBase) -> Row:
        """The row sum w_j F_j + sum v_j y_j of the functions there are; zero coefficients are left out."""
        row = {slot: functions[j] for j, slot in self.functions.items() if functions[j] != 0}
        return row | {j: v for j, v in enumerate(carried) if v != 0}

    def evaluate(self, group: tuple[int, ...]) -> None:
        """Evaluate one function, or solve for those of a group."""
        sources = [self.combine(self.row(self.A.row(i), self.U.row(i))) for i in group]
        items = tuple(self._evaluation(i, source) for i, source in zip(group, sources, strict=True))
        block = self.A.extract(group, group)
        if block.is_zero_matrix:
            self.instructions += items
        else:
            self.instructions.append(Solve(items, _floats(block), _floats(self._inverse(block))))
        self.functions |= {item.index: item.slot for item in items}

    def _inverse(self, block: sympy.MatrixBase) -> sympy.MatrixBase:
        if is_zero(block.det()):
            raise SchemeError(
                f"{self.evaluations.scheme.name}: got stages that depend on each other by a singular matrix, "
                f"{block.tolist()}, expected one with an inverse"
            )
        return block.inv()

    def _evaluation(self, i: int, source: int) -> Evaluate:
        of = self.evaluations
        return Evaluate(self.new_slot(), source, of.modules[i], of.visit(i), of.node(i), i)

    def outputs(self) -> tuple[int, ...]:
        """Slots of the carried values after the step."""
        # Short rows first: a longer one may then be rewritten through them.
        every = range(self.V.rows)
        terms = {i: sum(x != 0 for x in [*self.B.row(i), *self.V.row(i)]) for i in every}
        slots = {i: self.combine(self.row(self.B.row(i), self.V.row(i))) for i in sorted(every, key=terms.__getitem__)}
        return tuple(slots[i] for i in every)


def _floats(matrix: sympy.MatrixBase) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(map(float, row)) for row in matrix.tolist())


def instructions(
    evaluations: Evaluations, blocks: Matrices, groups: Iterable[tuple[int, ...]]
) -> tuple[tuple[Instruction, ...], tuple[int, ...]]:
    """Instructions and outputs for folded matrices, evaluations in the order of ``groups``."""
    compiler = Compiler(evaluations, blocks)
    for group in groups:
        compiler.evaluate(group)
    outputs = compiler.outputs()
    return tuple(compiler.instructions), outputs


def carried_slopes(scheme: Scheme) -> tuple[bool, ...]:
    """Which carried values are slopes (h f at a past step) or velocities.

    They are kept without their factor h, so that no operation is spent on it when they are stored.
    """
    return tuple(all(x == 0 for x in multiples[:-1]) for multiples in scheme.seeds)


@lru_cache(maxsize=256)
def compile_scheme(scheme: Scheme, h: float) -> Program:
    """The program of a scheme for step size h (folded into the coefficients).

    Raises:
        SchemeError: h is zero or not finite, carried values that start from a learnable multiple,
            learnable coefficients between stages that have to be solved for.
    """
    if h == 0 or not math.isfinite(h):
        raise SchemeError(f"{scheme.name}: got step size h = {h}, expected a finite number other than 0")
    if any(not multiple.is_number for multiples in scheme.seeds for multiple in multiples):
        raise SchemeError(
            f"{scheme.name}: got carried values that start from {scheme.seeds} times (u_0, h f(u_0)), expected "
            "numbers; carry the past solutions themselves instead of multiples by a learnable coefficient"
        )
    if not scheme.explicit and scheme.A.free_symbols:
        raise SchemeError(
            f"{scheme.name}: got learnable coefficients {sorted(map(str, scheme.A.free_symbols))} between stages that "
            "depend on each other, expected numbers there"
        )
    evaluations, slopes = evaluations_of(scheme), carried_slopes(scheme)
    blocks = evaluations.fold((scheme.A, scheme.U, scheme.B, scheme.V), sympy.Rational(h), slopes)
    return Program(scheme, h, *instructions(evaluations, blocks, evaluations.groups), slopes)
