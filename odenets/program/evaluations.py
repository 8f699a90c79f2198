"""The function evaluations of a step: which stages are one evaluation, and what combines them, h folded in."""

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
    error estimate needs are left out.
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

    def fold(self, blocks: Matrices, h: sympy.Expr, slopes: tuple[bool, ...]) -> Matrices:
        """(A, U, B, V) of the scheme, or of its inverse, for these evaluations and what a network carries.

        Y = A F + U w, w+ = B F + V w: no h is left, and slopes and velocities w are without theirs.
        """
        A, U, B, V = blocks
        first = [own[0] for own in self.stages]
        scale = sympy.diag(*[h if slope else sympy.S.One for slope in slopes])
        gather = sympy.zeros(A.cols, len(self.stages))
        for i, own in enumerate(self.stages):
            for stage in own:
                gather[stage, i] = h
        rows = A.extract(first, list(range(A.cols))), U.extract(first, list(range(U.cols)))
        parts = (rows[0] * gather, rows[1] * scale, scale.inv() * B * gather, scale.inv() * V * scale)
        return tuple(sympy.ImmutableDenseMatrix(part) for part in parts)


def evaluations_of(scheme: Scheme) -> Evaluations:
    """The evaluations of a scheme's step."""
    needed = _needed(scheme)
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
