"""The Jacobian of a residual function at a state: matrix-free, or as the matrix it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse.linalg import LinearOperator
from torch import Tensor

from odenets import FieldError

from .branch import Function

Array = npt.NDArray[Any]
CHUNK = 64  # directions pushed through at once: memory of that many states


class Jacobian:
    """J = df/du at one sample u of shape (1, ...), N numbers in all.

    J v is one torch.func.jvp, J^T w one torch.func.vjp at a linearisation that is kept.

    Raises:
        FieldError: f that torch cannot differentiate.
    """

    def __init__(self, f: Function, u: Tensor, where: str) -> None:
        self._f, self._u, self._where = f, u, where
        self.size = u.numel()
        self.products = 0
        try:
            _, self._pull, *_ = torch.func.vjp(f, u)
            self.apply(np.zeros(self.size))
        except (RuntimeError, NotImplementedError) as error:
            raise FieldError(
                f"{where}: torch.func cannot differentiate the layer ({str(error).splitlines()[0]}), expected one with "
                "forward and reverse derivatives"
            ) from error

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the vectors."""
        return np.dtype(str(self._u.dtype).removeprefix("torch."))

    def apply(self, v: Array) -> Array:
        """J v of a real vector."""
        self.products += 1
        return self._out(torch.func.jvp(self._f, (self._u,), (self._in(v),))[1])

    def transpose(self, w: Array) -> Array:
        """J^T w of a real vector."""
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

    def dense(self) -> Array:
        """The N x N matrix, column after column; samples of one batch are the directions."""
        found = []
        identity = torch.eye(self.size, dtype=self._u.dtype, device=self._u.device)
        for block in identity.split(CHUNK):
            directions = block.reshape(-1, *self._u.shape[1:])
            points = self._u.expand_as(directions).contiguous()
            columns = torch.func.jvp(self._f, (points,), (directions,))[1]
            self.products += len(block)
            found.append(columns.detach().reshape(len(block), -1))
        matrix: Array = torch.cat(found).T.cpu().numpy()
        return matrix

    def _in(self, v: Array) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(v), dtype=self._u.dtype, device=self._u.device).view_as(self._u)

    def _out(self, value: Tensor) -> Array:
        flat: Array = value.detach().reshape(-1).cpu().numpy()
        return flat
