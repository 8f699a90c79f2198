"""One cycle of GMRES: the Arnoldi process and the small least-squares problem, batched over samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Cycle(NamedTuple):
    """What a cycle found, for S samples.

    Args:
        step: (S, D) to add to x.
        steps: (S,) dimension of the Krylov space used.
        largest: (S,) the largest ||A v|| over the unit vectors v of the basis.
        finite: (S,) bool, no product was NaN or infinite.
        products: products with A.
    """

    step: Tensor
    steps: Tensor
    largest: Tensor
    finite: Tensor
    products: int


def cycle(operator: Callable[[Tensor], Tensor], r: Tensor, live: Tensor, goal: Tensor, dimension: int) -> Cycle:
    """The x of the Krylov space of (A, r) with the least ||r - A x||.

    The norm of the residual is followed without solving for x: with u the vector orthogonal to the
    columns of the Hessenberg matrix, u_0 = 1, it is ||r|| / ||u|| (Ayachour 2003).

    Args:
        operator: x (S, D) -> A x.
        r: (S, D) the residual to start from.
        live: (S,) bool; the other samples get a zero step.
        goal: (S,) a sample stops where its residual norm is at most this.
        dimension: the largest dimension of the Krylov space, at most D.
    """
    samples, width = r.shape
    beta = torch.linalg.vector_norm(r, dim=1)
    basis = r.new_empty(samples, dimension + 1, width)
    hessenberg = r.new_zeros(samples, dimension + 1, dimension)
    basis[:, 0] = _unit(r, beta, live)
    active, finite = live, torch.ones_like(live)
    normal, largest = torch.ones_like(beta)[:, None], torch.zeros_like(beta)
    steps, eps = torch.zeros_like(live, dtype=torch.long), torch.finfo(r.dtype).eps
    for j in range(dimension):
        w = operator(basis[:, j])
        size = torch.linalg.vector_norm(w, dim=1)
        fine = size.isfinite()
        finite, active = finite & (fine | ~active), active & fine
        h, w, below = _orthogonalise(basis[:, : j + 1], torch.where(active[:, None], w, 0.0))
        # A w within the space, to rounding, has no direction of its own: x is exact there (or A singular).
        below = torch.where(below > eps * size, below, 0.0)
        hessenberg[:, : j + 1, j] = h
        # Of a sample that has stopped the column is the unit vector of a new row: its coefficient is 0.
        hessenberg[:, j + 1, j] = torch.where(active, below, 1.0)
        steps, largest = steps + active, torch.where(active, torch.maximum(largest, size), largest)
        normal = torch.cat([normal, (-(normal[:, : j + 1] * h).sum(1) / below)[:, None]], 1)
        reached = beta / torch.linalg.vector_norm(normal, dim=1) <= goal
        active = active & (below > 0) & ~reached
        if not bool(active.any()):
            break
        basis[:, j + 1] = _unit(w, below, active)
    y = _least_squares(hessenberg[:, : j + 2, : j + 1], torch.where(live, beta, 0.0))
    step = torch.bmm(y[:, None], basis[:, : j + 1])[:, 0]
    return Cycle(step, steps, largest, finite, j + 1)


def _unit(x: Tensor, norm: Tensor, where: Tensor) -> Tensor:
    return torch.where(where[:, None], x / norm[:, None], 0.0)


def _orthogonalise(basis: Tensor, w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Coefficients of w in the basis (S, k, D), the rest of w and its norm.

    Gram-Schmidt twice: two passes of two large products each are as accurate as the modified
    process (Giraud et al. 2005) and much faster than its k small ones. The second is left out
    where no sample lost more than half of its norm to the first.
    """
    before = torch.linalg.vector_norm(w, dim=1)
    total = torch.zeros_like(basis[:, :, 0])
    for _ in range(2):
        h = torch.bmm(basis, w[:, :, None])[:, :, 0]
        w, total = torch.baddbmm(w[:, None], h[:, None], basis, alpha=-1)[:, 0], total + h
        norm = torch.linalg.vector_norm(w, dim=1)
        if bool((norm >= 0.5 * before).all()):
            break
    return total, w, norm


def _least_squares(hessenberg: Tensor, beta: Tensor) -> Tensor:
    """Minimiser y (S, k) of || beta e_1 - H y ||, H (S, k + 1, k)."""
    q, r = torch.linalg.qr(hessenberg)
    # Singular only in the last column before a breakdown: that coefficient is set to 0, the others stand.
    tiny = r.diagonal(dim1=1, dim2=2).abs() <= torch.finfo(r.dtype).eps * r.abs().amax((1, 2))[:, None]
    right = torch.where(tiny, 0.0, q[:, 0] * beta[:, None])
    r = torch.where(torch.diag_embed(tiny), 1.0, r)
    return torch.linalg.solve_triangular(r, right[:, :, None], upper=True)[:, :, 0]
