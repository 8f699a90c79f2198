"""Anderson acceleration of the fixed-point iteration: evaluations of G alone, no derivative."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .option_values import set_count, set_real
from .solver import Norm, Solver, finite_rows, rows
from .solver_report import Report


@dataclass(frozen=True, kw_only=True)
class Anderson(Solver):
    r"""z <- z + beta f - (dZ + beta dF) gamma, gamma the least-squares solution of dF gamma = f (Walker & Ni 2011).

    f = G(z) - z; the m columns of dZ and dF are the last differences of z and f, gamma is one
    vector per sample. For mildly stiff problems, where h times the Lipschitz constant is of order
    1; beyond, :class:`NewtonKrylov`.

    Args:
        rtol, atol, max_iterations, per_sample, on_failure, adjoint: see :class:`Solver`.
        memory: m; 0 is the plain iteration. 2 m S D numbers are kept.
        damping: beta in (0, 1].
        regularisation: of the normal equations with columns of length 1, added to their diagonal;
            None is 10 eps.

    Raises:
        SolverError: an option of a wrong type or out of range.
    """

    max_iterations: int = 100
    memory: int = 5
    damping: float = 1.0
    regularisation: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        set_count(self, "memory", 0)
        set_real(self, "damping", 0, 1)
        if self.regularisation is not None:
            set_real(self, "regularisation", 0, 1)

    @property
    def advice(self) -> str:
        """What to do when it does not converge."""
        return (
            f"Try NewtonKrylov instead of Anderson, a smaller step h, more max_iterations (now {self.max_iterations}), "
            f"damping below {self.damping:g}, or per_sample=False if the function couples samples."
        )

    def iterate(self, function: Callable[[Tensor], Tensor], guess: Tensor) -> tuple[Tensor, Report]:
        """See :meth:`Solver.iterate`."""
        z, differences = guess, _Differences(guess, self)
        iterations = torch.zeros(len(z), dtype=torch.long, device=z.device)
        settled, finite = torch.zeros_like(iterations, dtype=torch.bool), torch.ones_like(iterations, dtype=torch.bool)
        for k in range(self.max_iterations + 1):
            f = function(z) - z
            size, finite = Norm(self, z)(f), finite & finite_rows(f)
            settled = settled | (size <= 1) | ~finite
            if k == self.max_iterations or bool(settled.all()):
                break
            z = rows(settled, z, differences.mix(z, f))
            iterations = iterations + ~settled
        return z, Report(finite & (size <= 1), size, iterations, k + 1, 0, finite)


class _Differences:
    """The last m differences of z and of f, (S, m, D) each; unused rows are 0 and get no weight."""

    def __init__(self, z: Tensor, options: Anderson) -> None:
        self.m, self.beta = options.memory, options.damping
        given = options.regularisation
        self.regularisation = 10 * torch.finfo(z.dtype).eps if given is None else given
        self.dz = z.new_zeros(len(z), self.m, z.shape[1])
        self.df = torch.zeros_like(self.dz)
        self.last: tuple[Tensor, Tensor] | None = None
        self.calls = 0

    def mix(self, z: Tensor, f: Tensor) -> Tensor:
        """The next iterate."""
        if self.last is not None and self.m:
            slot = self.calls % self.m
            self.dz[:, slot], self.df[:, slot] = z - self.last[0], f - self.last[1]
            self.calls += 1
        self.last = z, f
        plain = z + self.beta * f
        if not self.calls:
            return plain
        gamma = self._coefficients(f)
        return plain - torch.bmm(gamma[:, None], self.dz + self.beta * self.df)[:, 0]

    def _coefficients(self, f: Tensor) -> Tensor:
        """Coefficients gamma (S, m) by normal equations of columns of length 1; 0 where they are not finite."""
        length = torch.linalg.vector_norm(self.df, dim=2)
        scale = torch.where(length > 0, 1 / length, 0.0)
        columns = self.df * scale[:, :, None]
        gram = torch.bmm(columns, columns.mT)
        gram.diagonal(dim1=1, dim2=2).add_(self.regularisation + (length == 0).to(f.dtype))
        right = torch.bmm(columns, f[:, :, None])
        gamma = torch.linalg.solve_ex(gram, right)[0][:, :, 0] * scale
        return torch.where(gamma.isfinite().all(1, keepdim=True), gamma, 0.0)
