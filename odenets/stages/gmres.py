"""Restarted GMRES for a batch of independent linear systems whose matrices are given as functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .arnoldi import cycle
from .errors import ConvergenceError, SolverError
from .option_values import set_count, set_real
from .solver_report import Report, failure

#: relative tolerance where none is given
RTOL = {torch.float64: 1e-12, torch.float32: 1e-6}
#: multiple of the rounding unit below which a backward error cannot be told from none
ROUNDING = 10.0


@dataclass(frozen=True, kw_only=True)
class GMRES:
    r"""Solves A x = b for S samples at once, A known only by its products (Saad & Schultz 1986).

    A sample has converged when ||b - A x|| <= max(rtol ||b||, atol), or when its backward error is at
    rounding level, ||b - A x|| <= 10 eps (||A|| ||x|| + ||b||) (Rigal & Gaches 1967, with the largest
    ||A v|| seen for ||A||): no better x can be told from this one.

    Args:
        rtol: positive; None is 1e-12 in float64 and 1e-6 in float32.
        atol: not negative.
        krylov: dimension of the Krylov space; S D (krylov + 1) numbers are kept.
        restarts: how often it starts again from the x it has.

    Raises:
        SolverError: an option of a wrong type or out of range.
    """

    rtol: float | None = None
    atol: float = 0.0
    krylov: int = 30
    restarts: int = 100

    def __post_init__(self) -> None:
        if self.rtol is not None:
            set_real(self, "rtol", 0, 1)
        if self.atol != 0:
            set_real(self, "atol", 0, math.inf)
        set_count(self, "krylov", 1)
        set_count(self, "restarts", 0)

    def solve(self, operator: Callable[[Tensor], Tensor], b: Tensor) -> tuple[Tensor, Report]:
        """Solve operator(x) = b; not differentiable.

        Args:
            operator: x (S, D) -> A x (S, D), linear, row s a function of row s.
            b: (S, D), float32 or float64.

        Raises:
            SolverError: b of a wrong shape or dtype.
            ConvergenceError: some sample has not converged; ``iterate`` returns it instead.
        """
        x, report = self.iterate(operator, b)
        if not bool(report.converged.all()):
            raise self.failure(report, "GMRES")
        return x, report

    def iterate(self, operator: Callable[[Tensor], Tensor], b: Tensor) -> tuple[Tensor, Report]:
        """As ``solve``, but never raises for want of convergence."""
        check_state("b", b)
        with torch.no_grad():
            x, _, report = gmres(operator, b, self.goal(b), self.krylov, self.restarts)
        return x, report

    def goal(self, b: Tensor) -> Tensor:
        """The norm (S,) that a residual may have."""
        return (torch.linalg.vector_norm(b, dim=1) * self._rtol(b.dtype)).clamp_min(self.atol)

    def failure(self, report: Report, what: str) -> ConvergenceError:
        """The ConvergenceError of this report."""
        tolerance = f"rtol {self._rtol(report.residual.dtype):g}, atol {self.atol:g}"
        advice = (
            f"Try more restarts (now {self.restarts}), a larger krylov (now {self.krylov}), a smaller step h, or "
            "per_sample=False if the function couples samples; a matrix without inverse has no solution to find."
        )
        return failure(report, what, tolerance, advice)

    def _rtol(self, dtype: torch.dtype) -> float:
        return RTOL[dtype] if self.rtol is None else self.rtol


def check_state(name: str, z: Tensor) -> None:
    """Refuse what is not an (S, D) tensor of float32 or float64."""
    if not isinstance(z, Tensor) or z.dim() != 2 or z.shape[1] == 0:
        got = f"shape {tuple(z.shape)}" if isinstance(z, Tensor) else type(z).__name__
        raise SolverError(f"{name}: got {got}, expected a tensor of shape (S, D), D >= 1: flatten each sample")
    if z.dtype not in RTOL:
        raise SolverError(f"{name}: got {z.dtype}, expected float32 or float64: others round too coarsely to converge")


def gmres(
    operator: Callable[[Tensor], Tensor], b: Tensor, goal: Tensor, krylov: int, restarts: int
) -> tuple[Tensor, Tensor, Report]:
    """GMRES from x = 0 until each sample's ||b - A x|| is at most its ``goal`` (S,), or rounding.

    A sample stops early, unconverged, when a whole cycle has not reduced its residual (the next
    would be the same) or when a product is NaN or infinite.

    Returns:
        x (S, D), ||b - A x|| (S,), and the report.
    """
    x, r = torch.zeros_like(b), b
    size = norm_b = torch.linalg.vector_norm(b, dim=1)
    finite = size.isfinite()
    bound, live, products = goal, finite & (size > goal), 0
    largest, iterations = torch.zeros_like(size), torch.zeros_like(size, dtype=torch.long)
    for _ in range(restarts + 1):
        if not bool(live.any()):
            break
        found = cycle(operator, r, live, goal, min(krylov, b.shape[1]))
        trial = x + found.step
        residual = b - operator(trial)
        norm = torch.linalg.vector_norm(residual, dim=1)
        products, iterations = products + found.products + 1, iterations + found.steps
        finite = finite & (~live | (found.finite & norm.isfinite()))
        # At rounding level a cycle may also lose a little: the best x is kept.
        better = live & (norm < size)
        x, r = torch.where(better[:, None], trial, x), torch.where(better[:, None], residual, r)
        stalled = ~better | (norm > 0.999 * size)
        size, largest = torch.where(better, norm, size), torch.maximum(largest, found.largest)
        rounding = torch.finfo(b.dtype).eps * (largest * torch.linalg.vector_norm(x, dim=1) + norm_b)
        bound = torch.maximum(goal, ROUNDING * rounding)
        live = live & finite & (size > bound) & ~stalled
    relative = torch.where(size == 0, size, size / bound)
    return x, size, Report(finite & (size <= bound), relative, iterations, 0, products, finite)
