"""What an iteration did: which samples converged, and at what cost."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .errors import ConvergenceError


@dataclass(frozen=True, eq=False)
class Report:
    """The outcome of a solve of S samples; with ``per_sample=False`` S = 1, under vmap of B times as many.

    Args:
        converged: (S,) bool.
        residual: (S,) the error norm divided by the tolerance: at most 1 where it converged.
        iterations: (S,) int, the iterations until a sample converged or was given up.
        evaluations: calls of G, each for all samples.
        products: Jacobian-vector products, each for all samples.
        finite: (S,) bool: False where G or a product of its Jacobian was NaN or infinite.
        matrices: Jacobians formed as matrices, each of all samples.
    """

    converged: Tensor
    residual: Tensor
    iterations: Tensor
    evaluations: int
    products: int
    finite: Tensor
    matrices: int = 0

    @property
    def worst(self) -> float:
        """The largest residual over the tolerance; NaN if any is, 0 of no samples."""
        return float(self.residual.max()) if len(self.residual) else 0.0

    def __str__(self) -> str:
        most = int(self.iterations.max()) if len(self.iterations) else 0
        return (
            f"{int(self.converged.sum())} of {len(self.converged)} samples converged, worst residual "
            f"{self.worst:.2g} times the tolerance, at most {most} iterations, "
            f"{self.evaluations} evaluations, {self.products} Jacobian-vector products, "
            f"{self.matrices} Jacobian matrices"
        )


def nothing(z: Tensor) -> Report:
    """The report before anything is done for z (S, D)."""
    no = torch.zeros(len(z), dtype=torch.bool, device=z.device)
    return Report(no, torch.full_like(z[:, 0], torch.inf), no.long(), 0, 0, ~no)


def failure(report: Report, what: str, tolerance: str, advice: str) -> ConvergenceError:
    """The error for a report with samples that did not converge.

    Args:
        report: what happened.
        what: the solver and the equation, the subject of the message.
        tolerance: the tolerance, as text.
        advice: what to do.
    """
    failed = (~report.converged).nonzero().flatten().tolist()
    named = ", ".join(map(str, failed[:8])) + (", ..." if len(failed) > 8 else "")
    message = (
        f"{what} did not converge for {len(failed)} of {len(report.converged)} samples ({named}): worst residual "
        f"{report.worst:.3g} times the tolerance ({tolerance}) after at most {int(report.iterations.max())} iterations"
    )
    broken = int((~report.finite).sum())
    if broken:
        message += f"; the function or its Jacobian is NaN or infinite for {broken} of them: check it at these samples"
    return ConvergenceError(f"{message}. {advice}", report)
