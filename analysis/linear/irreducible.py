"""A scheme without superfluous stages, for criteria that are necessary for irreducible schemes alone."""

from __future__ import annotations

from collections.abc import Sequence

import sympy

Form = tuple[sympy.Matrix, sympy.Matrix, sympy.Matrix, sympy.Matrix]


def irreducible(form: Form, colours: Sequence[int]) -> tuple[Form, list[int]]:
    """(A, U, B, V) with the same result: stages that always agree are one, those nothing depends on are left out.

    ``colours`` says which function each stage evaluates; those of the stages kept are returned, too.

    Source: Butcher, Numerical Methods for Ordinary Differential Equations (2008), section 38
        (equivalent and reducible Runge-Kutta methods).
    """
    A, U, B, V = form
    blocks = _equivalent_stages(A, U, colours)
    first, sums = [block[0] for block in blocks], _sums(blocks, A.rows)
    A, U, B = A.extract(first, list(range(A.cols))) * sums, U.extract(first, list(range(U.cols))), B * sums
    kept = _needed(A, B)
    everything = list(range(V.rows))
    small = A.extract(kept, kept), U.extract(kept, list(range(U.cols))), B.extract(everything, kept), V
    return small, [colours[first[i]] for i in kept]


def _equivalent_stages(A: sympy.MatrixBase, U: sympy.MatrixBase, colours: Sequence[int]) -> list[list[int]]:
    """The coarsest partition of stages with one colour and equal rows of U, and of A summed over blocks."""
    blocks = _grouped([(colours[i], *U.row(i)) for i in range(U.rows)])
    while True:
        sums = A * _sums(blocks, A.rows)
        own = {i: number for number, block in enumerate(blocks) for i in block}
        keys = [(own[i], *(sympy.cancel(sympy.radsimp(sympy.expand(x))) for x in sums.row(i))) for i in range(A.rows)]
        finer = _grouped(keys)
        if len(finer) == len(blocks):
            return blocks
        blocks = finer


def _grouped(keys: Sequence[object]) -> list[list[int]]:
    return [[i for i, own in enumerate(keys) if own == key] for key in dict.fromkeys(keys)]


def _sums(blocks: Sequence[Sequence[int]], size: int) -> sympy.Matrix:
    """The matrix that adds up the columns of each block."""
    return sympy.Matrix(size, len(blocks), lambda i, j: int(i in blocks[j]))


def _needed(A: sympy.MatrixBase, B: sympy.MatrixBase) -> list[int]:
    """The stages some carried value depends on."""
    needed = {j for j in range(A.rows) if any(x != 0 for x in B.col(j))}
    waiting = list(needed)
    while waiting:
        new = {j for j, x in enumerate(A.row(waiting.pop())) if x != 0} - needed
        needed |= new
        waiting += new
    return sorted(needed)
