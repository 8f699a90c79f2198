"""Jacobians that are kept over stages and steps, and the linear equations of implicit stages with them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from .dense import Function, Recorded, pushed
from .gmres import gmres
from .stage_equations import weighted

#: weights of stages that are solved for together, the step size in them
Weights = tuple[tuple[float, ...], ...]
#: factors that are kept: of the stages and of the error estimate, for the step size before as well
KEPT = 4
#: numbers of a sample's equations up to which their matrix is inverted: a product takes a third of a solution's time
SMALL = 16
#: of its right-hand side, what GMRES may leave: so much slower is the iteration than with the exact solution
LEFT = 1e-3
KRYLOV, RESTARTS = 30, 20


class DenseJacobian:
    """J = f_u at u (S, D), a matrix for each sample, and the solutions of (I - W x J) x = r by its factors.

    ``coupled`` says whether rows of f depend on other rows of u, so that J is not what it is taken for.
    """

    def __init__(self, function: Function, u: Tensor) -> None:
        with torch.inference_mode(False):  # where autograd would record nothing
            recorded = Recorded(function, u.clone() if u.is_inference() else u)
            # Inverted, an infinite entry would be 0, and make every step seem exact.
            self.matrix = torch.where(torch.isfinite(recorded.jacobian), recorded.jacobian, torch.nan)
            # A row that is not finite tells nothing of the others.
            finite = torch.isfinite(recorded.jacobian).all(2).all(1)
            self.coupled = len(u) > 1 and not recorded.separate(finite)
        self.factorisations = 0
        self._factors: dict[Weights, tuple[Tensor, Tensor | None]] = {}

    def times(self, factors: Tensor) -> DenseJacobian:
        """That of f times a number for each sample, ``factors`` (S,)."""
        found = copy.copy(self)
        found.matrix, found._factors = self.matrix * factors[:, None, None], {}
        return found

    def solve(self, weights: Weights, r: Tensor) -> Tensor:
        """X (S, s D) for r (S, s D), s the number of stages; not finite where the matrix is singular."""
        return self.solution(weights)(r)

    def transposed(self, weights: Weights) -> Callable[[Tensor], Tensor]:
        """The solution of the transposed equations, for any r; later than now, as well."""
        return partial(self.solution(weights), transposed=True)

    def solution(self, weights: Weights) -> Callable[..., Tensor]:
        """The solution for any r, by factors that are kept."""
        if weights not in self._factors:
            self._factor(weights)
        return partial(_solved, *self._factors[weights])

    def _factor(self, weights: Weights) -> None:
        if len(self._factors) >= KEPT:
            self._factors.clear()
        J = self.matrix
        # torch.kron asks for a view that there is none of where samples are not the first in memory.
        product = J * weights[0][0] if len(weights) == 1 else torch.kron(J.new_tensor(weights), J.contiguous())
        eye = torch.eye(product.shape[1], dtype=J.dtype, device=J.device)
        if product.shape[1] <= SMALL:
            self._factors[weights] = torch.linalg.inv_ex(eye - product)[0], None
        else:
            self._factors[weights] = torch.linalg.lu_factor_ex(eye - product)[:2]
        self.factorisations += 1


def _solved(lu: Tensor, pivots: Tensor | None, r: Tensor, transposed: bool = False) -> Tensor:
    if pivots is None:
        return torch.bmm(lu.mT if transposed else lu, r[:, :, None])[:, :, 0]
    return torch.linalg.lu_solve(lu, pivots, r[:, :, None], adjoint=transposed)[:, :, 0]


class ProductJacobian:
    """The same known by its products alone: all of u (1, D) is one sample, and the equations are solved by GMRES.

    Args:
        function, u: f, and where it is linearised.
        scale: (1, D) what the norm of a right-hand side is in units of.
        goal: of the norm of a right-hand side, the norm of what may be left; by default 1e-3 of it.
    """

    coupled, factorisations = False, 0

    def __init__(
        self,
        function: Function,
        u: Tensor,
        scale: Tensor,
        goal: Callable[[Tensor], Tensor] = lambda norm: LEFT * norm,
    ) -> None:
        self.push, self.scale, self.goal = pushed(function, u.detach()), scale, goal
        #: whether the last solution met its goal
        self.met = True

    def solve(self, weights: Weights, r: Tensor) -> Tensor:
        """X (1, s D) for r (1, s D)."""
        scale = self.scale.repeat(1, len(weights))

        def operator(v: Tensor) -> Tensor:
            products = [self.push(part) for part in (v * scale).chunk(len(weights), 1)]
            return v - torch.cat([weighted(row, products) for row in weights], 1) / scale

        b = r / scale
        x, _, report = gmres(operator, b, self.goal(torch.linalg.vector_norm(b, dim=1)), KRYLOV, RESTARTS)
        self.met = bool(report.converged.all())
        return torch.where(report.finite[:, None], x * scale, torch.nan)
