"""The Jacobian of a residual function at a state: matrix-free, or as the matrix it is."""

from __future__ import annotations

import warnings
from collections.abc import Callable
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
#: after so many products J v thousands are to be expected, and a graph of them takes no more time than it saves
MANY = 200


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


class Linearisation:
    """f at states u, kept: p(w) = J^T w by one backward pass, and J v, the derivative of <p(w), v> by w, by another.

    p is linear in w, so that where it is recorded does not matter. Forward mode (torch.func.jvp) gives J v too, but
    evaluates f again for each product, and BatchNorm in evaluation by a decomposition written in Python: that was
    four fifths of a diagnosis.

    Raises:
        RuntimeError: <J p, w> is not <p, p>, p = J^T w. The backward pass of an autograd.Function that is
            once_differentiable has no derivative by w, which torch takes for 0 and does not say.
    """

    def __init__(self, f: Function, u: Tensor) -> None:
        with torch.enable_grad():
            self._u = u.detach().requires_grad_()
            # A copy, into which f may write; and what depends on u even where f does not.
            self._value = f(self._u.clone()) + 0 * self._u
            self._w = torch.zeros_like(self._value, requires_grad=True)
            (self._pulled,) = torch.autograd.grad(self._value, self._u, self._w, create_graph=True)
        drawn = np.random.default_rng(0).standard_normal(self._w.shape)
        w = torch.as_tensor(drawn, dtype=self._w.dtype, device=self._w.device)
        p = self.pull(w)
        size = float(torch.linalg.vector_norm(p))
        if size > 0 and abs(float((self.push(p / size) * w).sum()) - size) > torch.finfo(p.dtype).eps ** 0.25 * size:
            raise RuntimeError("its backward pass is not linear in what it is given, or not differentiable")

    def push(self, v: Tensor) -> Tensor:
        """J v, of each sample."""
        return torch.autograd.grad(self._pulled, self._w, v, retain_graph=True)[0]

    def pull(self, w: Tensor) -> Tensor:
        """J^T w, of each sample."""
        return torch.autograd.grad(self._value, self._u, w, retain_graph=True)[0]


def _straight(f: Function, u: Tensor, push: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """J v by what f does to v alone, all else computed once: of two convolutions a third to a half of ``push``'s time.

    ``push`` where torch cannot look into f. And where the graph is another map: it keeps what it has computed, and may
    write to it in the first product, so that the second is another, which torch does not say.
    """
    drawn = np.random.default_rng(1).standard_normal((2, *u.shape))
    v, w = (torch.as_tensor(one, dtype=u.dtype, device=u.device) for one in drawn)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of torch's own handling of its graph
            _, product = torch.func.linearize(f, u)
            found = [(product(x), push(x)) for x in (v, w, v)]
    except Exception:  # whatever somebody's f lets torch stumble over: push is as good
        return push
    close = torch.finfo(u.dtype).eps ** 0.75
    same = (torch.linalg.vector_norm(a - b) <= close * torch.linalg.vector_norm(b) for a, b in found)
    return torch.no_grad()(product) if all(map(bool, same)) else push


class Jacobian:
    """J = df/du at one sample u of shape (1, ...), N numbers in all.

    J v and J^T w are products of a linearisation that is kept; with ``matrix`` once :meth:`dense` has made it.

    Raises:
        FieldError: f that torch cannot differentiate.
    """

    def __init__(self, f: Function, u: Tensor, where: str) -> None:
        self._f, self._u, self._where = f, u, where
        self.size = u.numel()
        self.products = 0
        self.matrix: Array | None = None
        try:
            torch.func.jvp(f, (u,), (torch.zeros_like(u),))  # as second derivatives are found
            self._linear = Linearisation(f, u)
            self._push: Callable[[Tensor], Tensor] = self._linear.push
            self._pushes = 0
        except (RuntimeError, NotImplementedError) as error:
            raise FieldError(
                f"{where}: torch.func cannot differentiate the layer ({_first_line(error)}), expected one with forward "
                "and reverse derivatives, the latter differentiable once more; call blocks directly instead of through "
                'torch.utils.checkpoint (ODENet has gradient="checkpoint"), and give an autograd.Function '
                "setup_context, vmap rules and jvp"
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
        self._pushes += 1
        if self._pushes == MANY:
            self._push = _straight(self._f, self._u, self._linear.push)
        return self._out(self._push(self._in(v)))

    def recorded(self, v: Array) -> Array:
        """J v of a real vector by the record of f, whatever :meth:`apply` uses: for checks."""
        return self.apply(v) if self.matrix is not None else self._out(self._linear.push(self._in(v)))

    def transpose(self, w: Array) -> Array:
        """J^T w of a real vector."""
        if self.matrix is not None:
            return np.asarray(self.matrix.T @ w)
        self.products += 1
        return self._out(self._linear.pull(self._in(w)))

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
        chunk = min(CHUNK, self.size)
        linear = Linearisation(self._f, self._u.expand(chunk, *self._u.shape[1:]))
        for first in range(0, self.size, chunk):
            count = min(chunk, self.size - first)
            directions = torch.zeros(chunk, self.size, dtype=self._u.dtype, device=self._u.device)
            directions[torch.arange(count), first + torch.arange(count)] = 1
            columns = linear.push(directions.view(chunk, *self._u.shape[1:]))[:count]
            self.products += count
            matrix[:, first : first + count] = columns.reshape(count, -1).T.cpu().numpy()
        self.matrix = matrix
        return matrix

    def quotient_error(self, seed: int) -> float:
        """||J v - (f(u + e v) - f(u - e v))/2e|| relative to the larger of the two, v random.

        A short step, since a ReLU that switches between the two points tells the two apart as well.
        """
        drawn = np.random.default_rng(seed).standard_normal(self.size)
        direction = self._in(drawn / np.linalg.norm(drawn))
        short = float(torch.finfo(self._u.dtype).eps ** 0.45 * max(float(torch.linalg.vector_norm(self._u)), 1e-3))
        exact = self._linear.push(direction)
        self.products += 1
        quotient = (self._f(self._u + short * direction) - self._f(self._u - short * direction)) / (2 * short)
        size = max(float(torch.linalg.vector_norm(one)) for one in (exact, quotient))
        return float(torch.linalg.vector_norm(exact - quotient)) / size if size > 0 else 0.0

    def _in(self, v: Array) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(v), dtype=self._u.dtype, device=self._u.device).view_as(self._u)

    def _out(self, value: Tensor) -> Array:
        flat: Array = value.reshape(-1).cpu().numpy()
        return flat
