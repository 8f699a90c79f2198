"""The compiler: from the matrices of a scheme to a program, exact until the step size is known."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import sympy

from ..scheme import Scheme, SchemeError
from ..scheme.exact import is_zero
from ..scheme.scheme import Matrices
from .evaluations import Evaluations, Grading, evaluations_of
from .program import Combine, Evaluate, Instruction, OpenProgram, Program, Solve
from .rows import Coefficient, Row, coefficient, operations, reuse


class Compiler:
    """Hands out slots and remembers which rows and functions are already there."""

    def __init__(self, evaluations: Evaluations, blocks: Matrices, grading: Grading) -> None:
        self.evaluations, self.grading = evaluations, grading
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

    def row(self, power: int, functions: sympy.MatrixBase, carried: sympy.MatrixBase) -> Row:
        """The row sum w_j F_j + sum v_j y_j of the functions there are, of this power; coefficients 0 are left out."""
        of, powers = self.grading.functions, self.grading.carried
        row = {slot: Coefficient(functions[j], of - power) for j, slot in self.functions.items() if functions[j] != 0}
        return row | {j: Coefficient(v, powers[j] - power) for j, v in enumerate(carried) if v != 0}

    def evaluate(self, group: tuple[int, ...]) -> None:
        """Evaluate one function, or solve for those of a group."""
        stages = self.grading.stages
        sources = [self.combine(self.row(stages, self.A.row(i), self.U.row(i))) for i in group]
        items = tuple(self._evaluation(i, source) for i, source in zip(group, sources, strict=True))
        block = self.A.extract(group, group)
        if block.is_zero_matrix:
            self.instructions += items
        else:
            power = self.grading.functions - stages
            inverse = self._inverse(block)
            self.instructions.append(Solve(items, _coefficients(block, power), _coefficients(inverse, -power)))
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
        rows = {i: self.row(self.grading.carried[i], self.B.row(i), self.V.row(i)) for i in every}
        slots = {i: self.combine(rows[i]) for i in sorted(every, key=terms.__getitem__)}
        return tuple(slots[i] for i in every)


def _coefficients(matrix: sympy.MatrixBase, power: int) -> tuple[tuple[Any, ...], ...]:
    return tuple(tuple(coefficient(Coefficient(x, power)) for x in row) for row in matrix.tolist())


def instructions(
    evaluations: Evaluations, blocks: Matrices, groups: Iterable[tuple[int, ...]], grading: Grading
) -> tuple[tuple[Instruction, ...], tuple[int, ...]]:
    """Instructions and outputs for folded matrices, evaluations in the order of ``groups``."""
    compiler = Compiler(evaluations, blocks, grading)
    for group in groups:
        compiler.evaluate(group)
    outputs = compiler.outputs()
    return tuple(compiler.instructions), outputs


def carried_slopes(scheme: Scheme) -> tuple[bool, ...]:
    """Which carried values are slopes (h f at a past step) or velocities.

    They are kept without their factor h, so that no operation is spent on it when they are stored.
    """
    return tuple(all(x == 0 for x in multiples[:-1]) for multiples in scheme.seeds)


def grading(slopes: tuple[bool, ...], unit: bool) -> Grading:
    """The powers of h in a scheme's step; none where h is the ``unit``.

    A network's h is 1 more often than not, and its programs are shorter for that: what h would go with is taken as it
    is, and 3/2 and -1/2 are a lerp.
    """
    return Grading(0, 0, (0,) * len(slopes)) if unit else Grading(1, 0, tuple(map(int, slopes)))


@lru_cache(maxsize=256)
def open_program(scheme: Scheme, unit: bool) -> OpenProgram:
    """The program of a scheme, its step size left open, or for the step size 1.

    Raises:
        SchemeError: carried values that start from a learnable multiple, learnable coefficients between stages that
            have to be solved for, a Rosenbrock scheme.
    """
    if any(not multiple.is_number for multiples in scheme.seeds for multiple in multiples):
        raise SchemeError(
            f"{scheme.name}: got carried values that start from {scheme.seeds} times (u_0, h f(u_0)), expected "
            "numbers; carry the past solutions themselves instead of multiples by a learnable coefficient"
        )
    if scheme.Gamma is not None:
        raise SchemeError(
            f"{scheme.name}: got a Rosenbrock scheme, whose steps take f'(u) and df/dt, expected one whose steps "
            "evaluate f alone; odenets.solve runs it"
        )
    if not scheme.explicit and scheme.A.free_symbols:
        raise SchemeError(
            f"{scheme.name}: got learnable coefficients {sorted(map(str, scheme.A.free_symbols))} between stages that "
            "depend on each other, expected numbers there"
        )
    evaluations, slopes = evaluations_of(scheme), carried_slopes(scheme)
    blocks = evaluations.fold((scheme.A, scheme.U, scheme.B, scheme.V))
    parts = instructions(evaluations, blocks, evaluations.groups, grading(slopes, unit))
    return OpenProgram(scheme, *parts, slopes)


@lru_cache(maxsize=256)
def compile_scheme(scheme: Scheme, h: float) -> Program:
    """The program of a scheme for step size h.

    Raises:
        SchemeError: h is zero or not finite, or what :func:`open_program` refuses.
    """
    if h == 0 or not math.isfinite(h):
        raise SchemeError(f"{scheme.name}: got step size h = {h}, expected a finite number other than 0")
    return open_program(scheme, h == 1).bind(h)
