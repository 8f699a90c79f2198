"""Derivatives of G at one z, recorded once: products with G_z, and I - G_z of small samples as a matrix."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from .errors import once_only
from .gmres import ROUNDING
from .solver import rows

Function = Callable[[Tensor], Tensor]
#: Rows of the Jacobian that are found at once: a backward pass with so many times the memory of a plain one.
TOGETHER = 32


def fits(z: Tensor, largest: int) -> bool:
    """Whether matrices are formed for z (S, D). Not in inference mode, where autograd records nothing."""
    return z.numel() > 0 and z.shape[1] <= largest and not torch.is_inference_mode_enabled()


class Recorded:
    """G at z (S, D), evaluated once, here, and its derivatives there.

    By reverse mode: torch.func.jvp takes five times as long where the function is small.
    """

    def __init__(self, function: Function, z: Tensor) -> None:
        with torch.enable_grad():
            self.z = z.detach().requires_grad_()
            self.value = function(self.z)

    @cached_property
    def jacobian(self) -> Tensor:
        """G_z (S, D, D), row s of G a function of row s of z."""
        eye = torch.eye(self.z.shape[1], dtype=self.z.dtype, device=self.z.device)
        return self._rows(eye[:, None].expand(-1, len(self.z), -1)).movedim(0, 1)

    def pull(self, u: Tensor, several: bool = False) -> Tensor:
        """G_z^T u; of ``several`` u together, along dimension 0."""
        if not self.value.requires_grad:
            return torch.zeros_like(u)
        (found,) = torch.autograd.grad(
            self.value, self.z, u, retain_graph=True, allow_unused=True, is_grads_batched=several
        )
        return torch.zeros_like(u) if found is None else found

    def _rows(self, units: Tensor) -> Tensor:
        try:
            return torch.cat([self.pull(some, several=True) for some in units.split(TOGETHER)])
        except RuntimeError:  # what cannot be batched, compiled functions among it, is taken row by row
            return torch.stack([self.pull(unit) for unit in units])

    def separate(self, mask: Tensor) -> bool:
        """Whether no row of G but its own depends on a row of z in the mask (S,): by one product."""
        size, width = self.z.shape
        u = torch.arange(1, size * width + 1, dtype=self.z.dtype, device=self.z.device).cos().reshape(size, width)
        left = (self.jacobian.mT @ u[:, :, None])[:, :, 0] - self.pull(u)
        norm = torch.linalg.vector_norm
        scale = (1 + norm(self.jacobian, dim=(1, 2))) * norm(u, dim=1)
        return bool((norm(left, dim=1) <= torch.finfo(u.dtype).eps ** 0.5 * scale)[mask].all())


class Matrix(Recorded):
    """A = I - G_z (S, D, D) at z."""

    def __init__(self, function: Function, z: Tensor) -> None:
        super().__init__(function, z)
        entries = torch.eye(z.shape[1], dtype=z.dtype, device=z.device) - self.jacobian
        self.size = torch.linalg.vector_norm(entries, dim=(1, 2))
        self.lu, self.pivots, _ = torch.linalg.lu_factor_ex(entries)

    def replace(self, mask: Tensor, other: Matrix) -> None:
        """Take the factors of ``other`` for the samples in the mask (S,)."""
        self.lu, self.pivots = (
            torch.where(mask[:, None, None], other.lu, self.lu),
            rows(mask, other.pivots, self.pivots),
        )

    def solve(self, b: Tensor, transposed: bool = False) -> Tensor:
        """Solve A x = b, or A^T x = b, b (S, D); NaN or infinite where A is singular."""
        return torch.linalg.lu_solve(self.lu, self.pivots, b[:, :, None], adjoint=transposed)[:, :, 0]

    def solves(self, x: Tensor, b: Tensor, residual: Tensor, goal: Tensor) -> bool:
        """Whether each residual is at most its ``goal`` (S,), or at rounding level, as :class:`GMRES` has it."""
        norm = torch.linalg.vector_norm
        scale = self.size * norm(x, dim=1) + norm(b, dim=1)
        return bool((norm(residual, dim=1) <= torch.maximum(goal, ROUNDING * torch.finfo(b.dtype).eps * scale)).all())


def pushed(function: Function, z: Tensor) -> Callable[[Tensor], Tensor]:
    """The map v -> G_z v, as the transpose of the linear map u -> G_z^T u.

    G and its transpose are recorded here, once, so that a product is one backward pass. torch.func.jvp evaluates G for
    every product, and where one argument of an operation has no tangent, it takes ten times as long as the operation.

    Raises:
        SolverError: at a product, G consists of operations that have neither.
    """

    def forward(v: Tensor) -> Tensor:
        # The tangent of a 0-dimensional part may come out in float64.
        return torch.func.jvp(function, (z,), (v,))[1].to(v.dtype)

    if torch.is_inference_mode_enabled():
        return forward
    with torch.enable_grad():
        at, u = z.detach().requires_grad_(), torch.zeros_like(z, requires_grad=True)
        value = function(at)
        if not value.requires_grad:
            return torch.zeros_like
        (pulled,) = torch.autograd.grad(value, at, u, create_graph=True, materialize_grads=True)

    def product(v: Tensor) -> Tensor:
        # RuntimeError: torch has no other class for a backward pass without derivative, or what torch.func refuses.
        try:
            return torch.autograd.grad(pulled, u, v, retain_graph=True)[0]
        except RuntimeError:
            try:
                return forward(v)
            except RuntimeError as error:
                raise once_only() from error

    return product
