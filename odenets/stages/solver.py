"""What the solvers share: options and their checks, tolerances of a dtype, the norm of convergence."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .errors import SolverError
from .gmres import GMRES
from .option_values import set_count, set_real
from .solver_report import Report

#: rtol and atol where none are given: a few hundred to a million times the rounding of the dtype
TOLERANCES = {torch.float64: 1e-10, torch.float32: 1e-5}


@dataclass(frozen=True, kw_only=True)
class Solver(ABC):
    r"""Options common to the solvers of z = G(z), z of shape (S, D).

    A sample has converged when the root mean square over its D numbers of
    (z - G(z)) / (atol + rtol \|z\|) is at most 1. The root mean square, not the largest entry: it is
    the norm of step size control (Hairer & Wanner 1996, IV.8), it does not grow with D for a
    residual spread evenly, and it is the one that least squares (GMRES, Anderson) makes small, so
    that a few entries at rounding level do not keep an iteration running.

    The error of z is (I - G_z)^-1 times this residual, to first order. Where the eigenvalues of a
    normal G_z have negative real parts, as in the implicit stage of a stable problem,
    \|(I - G_z)^-1\| < 1 and the residual bounds the error; in stiff directions by far.

    Args:
        rtol, atol: tolerances, positive; None is 1e-10 in float64 and 1e-5 in float32.
        max_iterations: after which a sample counts as not converged.
        per_sample: True if row s of G(z) depends on row s of z alone. False solves the batch as one
            sample of S D numbers: needed where the rows are coupled (batch statistics, attention
            over the batch), and right, but slower, where they are not.
        on_failure: "raise" a ConvergenceError, or "flag": warn (ConvergenceWarning) and return the
            last iterate, the report telling which samples to trust. The adjoint equation of
            backward always raises: a gradient has no flag.
        adjoint: the GMRES that solves the adjoint equation.
        dense: the largest D for which I - G_z is formed and factorised, a matrix for each sample, where GMRES would
            take many small products: by :class:`NewtonKrylov`, and for the adjoint equation. It keeps S D^2 numbers
            a few times. At D = 64, networks took 0.4 (1 sample) to 1.5 times (64 samples) as long by matrices as by
            GMRES, and a stiff heat equation 1/60. 0 is never.

    Raises:
        SolverError: an option of a wrong type or out of range.
    """

    rtol: float | None = None
    atol: float | None = None
    max_iterations: int = 50
    per_sample: bool = True
    on_failure: str = "raise"
    adjoint: GMRES = field(default_factory=GMRES)
    dense: int = 64

    def __post_init__(self) -> None:
        for name in ("rtol", "atol"):
            if getattr(self, name) is not None:
                set_real(self, name, 0, math.inf)
        set_count(self, "max_iterations", 1)
        set_count(self, "dense", 0)
        if not isinstance(self.per_sample, bool):
            raise SolverError(f"per_sample: got {self.per_sample!r}, expected True or False")
        if self.on_failure not in ("raise", "flag"):
            raise SolverError(f'on_failure: got {self.on_failure!r}, expected "raise" or "flag"')
        if not isinstance(self.adjoint, GMRES):
            raise SolverError(f"adjoint: got {self.adjoint!r}, expected GMRES(...)")

    def tolerances(self, dtype: torch.dtype) -> tuple[float, float]:
        """(rtol, atol) for z of this dtype."""
        default = TOLERANCES[dtype]
        return (default if self.rtol is None else self.rtol), (default if self.atol is None else self.atol)

    @abstractmethod
    def iterate(self, function: Callable[[Tensor], Tensor], guess: Tensor) -> tuple[Tensor, Report]:
        """Iterate from the guess (S, D), every sample until it converges; never raises for want of convergence.

        Neither differentiable nor aware of ``per_sample``: call :func:`fixed_point`.
        """

    @property
    @abstractmethod
    def advice(self) -> str:
        """What to do when this solver does not converge."""


class Norm:
    """Root mean square over D in units of the tolerance: weights 1 / (atol + rtol |z|)."""

    def __init__(self, solver: Solver, z: Tensor) -> None:
        rtol, atol = solver.tolerances(z.dtype)
        self.weights = (atol + rtol * z.abs()).reciprocal()

    def __call__(self, x: Tensor) -> Tensor:
        """Norm (S,) of the rows of x."""
        return rms(self.weights * x)


def rms(x: Tensor) -> Tensor:
    """Root mean square of each row."""
    return torch.linalg.vector_norm(x, dim=1) / math.sqrt(x.shape[1])


def finite_rows(x: Tensor) -> Tensor:
    """(S,) bool: no NaN and no infinity in the row."""
    return x.isfinite().all(1)


def rows(mask: Tensor, yes: Tensor, no: Tensor | float) -> Tensor:
    """Row by row: ``yes`` where the mask (S,) holds, else ``no``."""
    return torch.where(mask[:, None], yes, no)
