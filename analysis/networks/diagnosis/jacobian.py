"""The Jacobian of a residual function at a state: matrix-free, or as the matrix it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse.linalg import LinearOperator
from torch import Tensor

from odenets import FieldError

from .residual_function import Function

Array = npt.NDArray[Any]
CHUNK = 64  # directions pushed through at once: memory of that many states


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


class Jacobian:
    """J = df/du at one sample u of shape (1, ...), N numbers in all.

    J v is one torch.func.jvp, J^T w one torch.func.vjp at a linearisation that is kept; both are products with
    ``matrix`` once :meth:`dense` has made it.

    Raises:
        FieldError: f that torch cannot differentiate.
    """

    def __init__(self, f: Function, u: Tensor, where: str) -> None:
        self._f, self._u, self._where = f, u, where
        self.size = u.numel()
        self.products = 0
        self.matrix: Array | None = None
        try:
            _, self._pull, *_ = torch.func.vjp(f, u)
            self.apply(np.zeros(self.size))
        except (RuntimeError, NotImplementedError) as error:
            raise FieldError(
                f"{where}: torch.func cannot differentiate the layer ({_first_line(error)}), expected one with forward "
                "and reverse derivatives; call blocks directly instead of through torch.utils.checkpoint (ODENet has "
                'gradient="checkpoint"), and give an autograd.Function setup_context, vmap rules and jvp'
            ) from error

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the vectors."""
        return np.dtype(str(self._u.dtype).removeprefix("torch."))

    def apply(self, v: Array) -> Array:
        """J v of a real vector."""
        if self.matrix is not None:
            return np.asarray(self.matrix @ v)
        self.products += 1
        return self._out(torch.func.jvp(self._f, (self._u,), (self._in(v),))[1])

    def transpose(self, w: Array) -> Array:
        """J^T w of a real vector."""
        if self.matrix is not None:
            return np.asarray(self.matrix.T @ w)
        self.products += 1
        return self._out(self._pull(self._in(w))[0])

    def operator(self) -> LinearOperator:
        """J for scipy."""
        shape = (self.size, self.size)
        return LinearOperator(shape, matvec=self.apply, rmatvec=self.transpose, dtype=self.dtype)

    def symmetric_part(self) -> LinearOperator:
        """(J + J^T)/2 for scipy."""
        shape = (self.size, self.size)
        half = 0.5
        return LinearOperator(shape, matvec=lambda v: half * (self.apply(v) + self.transpose(v)), dtype=self.dtype)

    def skew_part(self) -> LinearOperator:
        """(J - J^T)/2 for scipy."""

        def product(v: Array) -> Array:
            return (self.apply(v) - self.transpose(v)) / 2

        shape = (self.size, self.size)
        return LinearOperator(shape, matvec=product, rmatvec=lambda v: -product(v), dtype=self.dtype)

    def dense(self) -> Array:
        """The N x N matrix, some columns at a time; samples of one batch are the directions."""
        matrix: Array = np.empty((self.size, self.size), dtype=self.dtype)
        for first in range(0, self.size, CHUNK):
            count = min(CHUNK, self.size - first)
            directions = torch.zeros(count, self.size, dtype=self._u.dtype, device=self._u.device)
            directions[torch.arange(count), first + torch.arange(count)] = 1
            points = self._u.expand(count, *self._u.shape[1:]).contiguous()
            columns = torch.func.jvp(self._f, (points,), (directions.reshape_as(points),))[1]
            self.products += count
            matrix[:, first : first + count] = columns.detach().reshape(count, -1).T.cpu().numpy()
        self.matrix = matrix
        return matrix

    def quotient_error(self, seed: int) -> float:
        """||J v - (f(u + e v) - f(u - e v))/2e|| relative to the larger of the two, v random.

        A short step, since a ReLU that switches between the two points tells the two apart as well.
        """
        drawn = np.random.default_rng(seed).standard_normal(self.size)
        direction = self._in(drawn / np.linalg.norm(drawn))
        short = float(torch.finfo(self._u.dtype).eps ** 0.45 * max(float(torch.linalg.vector_norm(self._u)), 1e-3))
        exact = torch.func.jvp(self._f, (self._u,), (direction,))[1]
        self.products += 1
        quotient = (self._f(self._u + short * direction) - self._f(self._u - short * direction)) / (2 * short)
        size = max(float(torch.linalg.vector_norm(one)) for one in (exact, quotient))
        return float(torch.linalg.vector_norm(exact - quotient)) / size if size > 0 else 0.0

    def _in(self, v: Array) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(v), dtype=self._u.dtype, device=self._u.device).view_as(self._u)

    def _out(self, value: Tensor) -> Array:
        flat: Array = value.detach().reshape(-1).cpu().numpy()
        return flat
