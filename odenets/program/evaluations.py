"""The function evaluations of a step: which stages are one evaluation, what combines them, and powers of h in it."""

from __future__ import annotations

from dataclasses import dataclass

import sympy

from ..scheme import Scheme
from ..scheme.scheme import Matrices
from ..scheme.stage_graph import evaluation_groups


@dataclass(frozen=True)
class Evaluations:
    """What a step evaluates, in order.

    ``stages[i]`` are the stages of the scheme that share evaluation i: same module at the same
    place. ``groups`` are the evaluations in the order in which they can be had: alone, or, where
    stages depend on each other in a cycle, those to be solved for together. Stages that only an
    error estimate needs are left out by default.
    """

    scheme: Scheme
    stages: tuple[tuple[int, ...], ...]
    groups: tuple[tuple[int, ...], ...]

    @property
    def modules(self) -> tuple[int, ...]:
        """For each evaluation which of the layer's modules it is."""
        return tuple(self.scheme.modules[own[0]] for own in self.stages)

    def visit(self, i: int) -> int:
        """How often the step has evaluated that module before."""
        return self.modules[:i].count(self.modules[i])

    def node(self, i: int) -> float | None:
        """C of the evaluation; None where it depends on a learnable coefficient."""
        node = self.scheme.nodes[self.stages[i][0]]
        return float(node) if node.is_number else None

    def fold(self, blocks: Matrices) -> Matrices:
        """(A, U, B, V) of the scheme, or of its inverse, for these evaluations, a column for each."""
        A, U, B, V = blocks
        first = [own[0] for own in self.stages]
        gather = sympy.zeros(A.cols, len(self.stages))
        for i, own in enumerate(self.stages):
            for stage in own:
                gather[stage, i] = 1
        parts = A.extract(first, list(range(A.cols))) * gather, U.extract(first, list(range(U.cols))), B * gather, V
        return tuple(sympy.ImmutableDenseMatrix(part) for part in parts)


@dataclass(frozen=True)
class Grading:
    """The powers of h that go with functions, stage values and carried values.

    The coefficient of a value in a row is the scheme's times h^(the value's power - the row's):
    Y = h A F + U w with F of power 1, Y of 0, and w of 1 where it is a slope or a velocity kept without its h.
    """

    functions: int
    stages: int
    carried: tuple[int, ...]

    @property
    def transposed(self) -> Grading:
        """That of the cotangents: Fbar = h A^T Ybar + B^T wbar."""
        return Grading(-self.stages, -self.functions, tuple(-power for power in self.carried))


def evaluations_of(scheme: Scheme, every: bool = False) -> Evaluations:
    """The evaluations of a scheme's step, or of ``every`` stage, those for an error estimate among them."""
    needed = set(range(scheme.stages)) if every else _needed(scheme)
    stages: list[list[int]] = []
    groups: list[tuple[int, ...]] = []
    found: dict[object, int] = {}
    for group in evaluation_groups(scheme.A):
        if not needed.issuperset(group):
            continue
        solved = len(group) > 1 or scheme.A[group[0], group[0]] != 0
        place = None if solved else _place(scheme, group[0], stages)
        if place in found:
            stages[found[place]].append(group[0])
            continue
        if place is not None:
            found[place] = len(stages)
        groups.append(tuple(range(len(stages), len(stages) + len(group))))
        stages += [[stage] for stage in group]
    return Evaluations(scheme, tuple(map(tuple, stages)), tuple(groups))


def _place(scheme: Scheme, stage: int, stages: list[list[int]]) -> tuple[object, ...]:
    """Module and stage value of an explicit stage, in terms of the evaluations already there."""
    weights = [sympy.expand(sum(scheme.A[stage, j] for j in own)) for own in stages]
    while weights and weights[-1] == 0:
        weights.pop()
    return scheme.modules[stage], tuple(weights), tuple(scheme.U.row(stage))


def _needed(scheme: Scheme) -> set[int]:
    """Stages that the carried values depend on."""
    every = range(scheme.stages)
    needed = {j for j in every if any(scheme.B[i, j] != 0 for i in range(scheme.carried))}
    for group in reversed(evaluation_groups(scheme.A)):
        if needed.intersection(group):
            needed |= set(group) | {j for j in every for stage in group if scheme.A[stage, j] != 0}
    return needed
