"""Newton's iteration for small systems: full steps, matrices that are kept from one iterate to the next."""

from __future__ import annotations

import torch
from torch import Tensor

from .dense import Function, Matrix
from .solver import Norm, Solver, finite_rows, rows
from .solver_report import Report

#: Newton goes on without a line search while each correction is at most so much of the one before.
CONTRACTION = 0.9
#: A matrix is kept where so many more corrections, each shorter by as much as the last, would reach the tolerance.
AHEAD = 3


def simplified_newton(solver: Solver, function: Function, z: Tensor) -> tuple[Tensor, Report]:
    """Corrections d = (I - G_z)^-1 (G(z) - z), G_z that of an earlier z while good enough (Hairer & Wanner 1996, IV.8).

    A sample has converged as in :class:`NewtonKrylov`, and is corrected once more, as its last d costs no evaluation.
    One whose corrections do not shorten, whatever the matrix, is left as not converged: it needs a line search. So are
    all where rows of G depend on other rows of z: a short correction by a matrix that leaves this out says nothing.
    """
    g, corrections, evaluations = function(z), _Corrections(function), 1
    size, last = Norm(solver, z)(g - z), torch.full_like(z[:, 0], torch.inf)
    converged, active = size <= 1, (size > 1) & finite_rows(g)
    iterations = torch.zeros_like(active, dtype=torch.long)
    for _ in range(solver.max_iterations if bool(active.any()) else 0):
        iterations, norm, r = iterations + active, Norm(solver, z), g - z
        size = torch.where(active, norm(r), size)
        near = active & (size <= 1)
        d, length, able, fresh = corrections.next(z, r, norm, active & ~near, last)
        z = rows(able | (near & (length <= last)), z + d, z)
        converged, active, last = converged | near, able, length
        if fresh is not None:
            # Short ones may be those of a function which is steep there and flat here: the last has a new matrix.
            exact = able & fresh & (length <= 1)
            converged, active, size = converged | exact, able & ~exact, torch.where(exact, length, size)
        if not bool(active.any()):
            break
        g, evaluations = function(z), evaluations + 1
    matrices = corrections.matrices
    return z, Report(converged, size, iterations, evaluations + matrices, 0, converged, matrices)


class _Corrections:
    """The corrections of one solve, and the matrix they are made with."""

    def __init__(self, function: Function) -> None:
        self.function, self.matrices = function, 0
        self.matrix: Matrix | None = None

    def next(
        self, z: Tensor, r: Tensor, norm: Norm, active: Tensor, last: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """d, its norm, which active samples can go on, and which have another matrix than before, None for none.

        ``last`` is the norm before.
        """
        if self.matrix is None:
            self.matrix = self._new(z)
            d = self.matrix.solve(r)
            length = norm(d)
            return d, length, active & length.isfinite(), None
        matrix = self.matrix
        d = matrix.solve(r)
        length = norm(d)
        slow = active & ~((length * (length / last) ** AHEAD <= 1) & (last > 1))
        if not bool(slow.any()):
            return d, length, active, None
        fresh = self._new(z)
        matrix.replace(slow, fresh)
        d = rows(slow, matrix.solve(r), d)
        length = norm(d)
        short = slow & (length <= 1)
        separate = len(z) == 1 or not bool(short.any()) or fresh.separate(short)
        shorter = length.isfinite() & ((length <= CONTRACTION * last) | ((length <= 1) & (last <= 1)))
        return d, length, active & (~slow | (shorter & separate)), slow

    def _new(self, z: Tensor) -> Matrix:
        self.matrices += 1
        return Matrix(self.function, z)
