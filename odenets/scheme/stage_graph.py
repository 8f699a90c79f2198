"""The graph of a scheme's stages: stage i depends on stage j where A[i, j] is not zero."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

import sympy


def _dependencies(A: sympy.MatrixBase) -> dict[int, list[int]]:
    return {i: [j for j in range(A.cols) if A[i, j] != 0] for i in range(A.rows)}


def stage_order(A: sympy.MatrixBase) -> tuple[int, ...] | None:
    """Stages so that each comes after those it depends on, or None where A's graph has a cycle."""
    try:
        return tuple(TopologicalSorter(_dependencies(A)).static_order())
    except CycleError:
        return None


def strongly_connected(A: sympy.MatrixBase) -> list[set[int]]:
    """Groups of stages that depend on each other; a group of one is solved by itself."""
    reach = {i: set(js) for i, js in _dependencies(A).items()}
    for via in list(reach):  # Warshall's transitive closure
        for stages in reach.values():
            if via in stages:
                stages.update(reach[via])
    groups: list[set[int]] = []
    for i, stages in reach.items():
        group = {i} | {j for j in stages if i in reach[j]}
        if group not in groups:
            groups.append(group)
    return groups


def evaluation_groups(A: sympy.MatrixBase) -> tuple[tuple[int, ...], ...]:
    """Stages in an order in which each needs earlier ones only; those of a cycle together, in theirs."""
    groups = [tuple(sorted(group)) for group in strongly_connected(A)]
    at = {stage: g for g, group in enumerate(groups) for stage in group}
    needs = {g: {at[j] for i in group for j in range(A.cols) if A[i, j] != 0} - {g} for g, group in enumerate(groups)}
    return tuple(groups[g] for g in TopologicalSorter(needs).static_order())
