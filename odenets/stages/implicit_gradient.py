"""The linear equations of the implicit function theorem, differentiable to any order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..program.transforms import plain, saved, with_record
from ..program.vjp import vjp
from .dense import Matrix, fits, pushed
from .errors import SolverError
from .gmres import GMRES
from .solver import Solver

Function = Callable[..., Tensor]


def jacobian(function: Function, z: Tensor, tensors: Sequence[Tensor], transposed: bool) -> Callable[[Tensor], Tensor]:
    """The map v -> G_z v, or G_z^T v, at (z, tensors); G is evaluated once, here.

    By reverse mode alone (G_z is the transpose of G_z^T), so that it also holds for a G with
    operations that have no forward-mode derivative.

    Raises:
        SolverError: by a product G_z v, if G consists of operations that can be differentiated once only.
    """
    if transposed:
        pull = vjp(lambda y: (function(y, *tensors),), z, keep=True)[1]
        return lambda v: pull((v,))[0]
    if plain() and not torch.is_grad_enabled():
        fixed = [t.detach() for t in tensors]
        return pushed(lambda y: function(y, *fixed), z)

    def pulled(u: Tensor) -> tuple[Tensor, ...]:
        return vjp(lambda y: (function(y, *tensors),), z)[1]((u,))

    push = vjp(pulled, torch.zeros_like(z), keep=True)[1]
    return lambda v: push((v,))[0]


def pull_back(
    function: Function, tensors: Sequence[Tensor], needed: Sequence[bool], cotangent: Tensor
) -> list[Tensor | None]:
    """The vector-Jacobian product of ``function(*tensors)``, for the tensors whose gradient is needed."""
    chosen = [i for i, need in enumerate(needed) if need]
    if not chosen:
        return [None] * len(tensors)

    def partial(*some: Tensor) -> tuple[Tensor]:
        values = dict(zip(chosen, some, strict=True))
        return (function(*(values.get(i, t) for i, t in enumerate(tensors))),)

    pull = vjp(partial, *(tensors[i] for i in chosen))[1]
    bars = dict(zip(chosen, pull((cotangent,)), strict=True))
    return [bars.get(i) for i in range(len(tensors))]


def settled(ctx: Any) -> tuple[Tensor, ...]:
    """A saved output, without what it depends on unless that is to be differentiated, and what else was saved."""
    x, *others = saved(ctx)
    return (x if torch.is_grad_enabled() else x.detach()), *others


def push_forward(function: Function, tensors: Sequence[Tensor], tangents: Sequence[Tensor | None]) -> Tensor:
    """The Jacobian-vector product of ``function(*tensors)``; a tangent None is 0. By reverse mode alone."""
    needed = [t is not None for t in tangents]
    like = torch.zeros_like(function(*tensors))

    def pulled(u: Tensor) -> tuple[Tensor, ...]:
        return tuple(bar for bar in pull_back(function, tensors, needed, u) if bar is not None)

    if not any(needed):
        return like
    return vjp(pulled, like)[1](tuple(t for t in tangents if t is not None))[0]


def over_batch(function: Function, size: int, samples: int, dims: Sequence[int | None], randomness: str) -> Function:
    """The function on (size * samples, D) that vmap of ``function`` over its tensors is: more samples, no more."""

    def batched(z: Tensor, *tensors: Tensor) -> Tensor:
        mapped = torch.func.vmap(function, in_dims=(0, *dims), randomness=randomness)
        return mapped(z.reshape(size, samples, -1), *tensors).reshape(z.shape)

    return batched


def stack(x: Tensor, dim: int | None, size: int) -> Tensor:
    """(S, D) or its vmap, to (size * S, D)."""
    x = x.expand(size, *x.shape) if dim is None else x.movedim(dim, 0)
    return x.reshape(size * x.shape[1], x.shape[2])


def solve_linear(
    function: Function, transposed: bool, options: Solver, rhs: Tensor, values: Sequence[Tensor]
) -> Tensor:
    """Solve (I - G_z) x = rhs, or (I - G_z^T) x = rhs, differentiably; values are z and G's tensors.

    Raises:
        ConvergenceError: for some sample GMRES did not converge.
    """
    return _Linear.apply(function, transposed, options, rhs, *values)


def _by_matrix(
    function: Function, transposed: bool, options: GMRES, rhs: Tensor, values: Sequence[Tensor]
) -> Tensor | None:
    """The solution by each sample's matrix; None where a product shows that this is not exact: samples are coupled."""
    z, *tensors = values
    matrix = Matrix(lambda y: function(y, *tensors), z)
    x = matrix.solve(rhs, transposed)
    apply = matrix.pull if transposed else jacobian(function, z, tensors, transposed)
    return x if matrix.solves(x, rhs, rhs - x + apply(x), options.goal(rhs)) else None


class _Linear(torch.autograd.Function):
    """x with (I - G_z) x = rhs, or (I - G_z^T) x = rhs, G_z at (z, tensors).

    Backward and jvp solve an equation of the same form, by this very function: derivatives of any
    order are those of x, not of the iteration that found it.
    """

    @staticmethod
    def forward(
        function: Function, transposed: bool, options: Solver, rhs: Tensor, z: Tensor, *tensors: Tensor
    ) -> Tensor:
        gmres = options.adjoint
        try:
            small = fits(z, options.dense)
            exact = _by_matrix(function, transposed, gmres, rhs, (z, *tensors)) if small else None
            if exact is not None:
                return exact
            apply = jacobian(function, z, tensors, transposed)
            x, report = gmres.iterate(lambda v: v - apply(v), rhs)
        except RuntimeError as error:
            if "Batching rule" not in str(error):
                raise
            raise SolverError(
                "the adjoint of fixed_point was batched by is_grads_batched or vectorize=True of torch.autograd, whose "
                "vmap cannot iterate until data say stop: use torch.func.jacrev, or torch.func.vmap over torch.func.vjp"
            ) from error
        if not bool(report.converged.all()):
            raise gmres.failure(report, f"GMRES for the {'adjoint' if transposed else 'tangent'} of the fixed point")
        return x

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.function, ctx.transposed, ctx.options, _, *values = inputs
        ctx.save_for_backward(output, *values)
        ctx.save_for_forward(output, *values)

    @staticmethod
    @with_record
    def backward(ctx: Any, bar: Tensor) -> tuple[Any, ...]:
        x, *values = settled(ctx)
        adjoint = _Linear.apply(ctx.function, not ctx.transposed, ctx.options, bar, *values)
        bars = pull_back(_Linear._product(ctx, x), values, ctx.needs_input_grad[4:], adjoint)
        return None, None, None, adjoint, *bars

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        x, *values = saved(ctx)
        rhs = push_forward(_Linear._product(ctx, x), values, tangents[4:])
        rhs = rhs if tangents[3] is None else rhs + tangents[3]
        return _Linear.apply(ctx.function, ctx.transposed, ctx.options, rhs, *values)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *args: Any) -> tuple[Tensor, int]:
        function, transposed, options, rhs, z, *tensors = args
        size = info.batch_size
        rhs, z = stack(rhs, in_dims[3], size), stack(z, in_dims[4], size)
        batched = over_batch(function, size, len(z) // size, in_dims[5:], info.randomness)
        x = _Linear.apply(batched, transposed, options, rhs, z, *tensors)
        return x.reshape(size, -1, x.shape[1]), 0

    @staticmethod
    def _product(ctx: Any, x: Tensor) -> Function:
        """(z, tensors) -> G_z x, or G_z^T x."""
        return lambda z, *tensors: jacobian(ctx.function, z, tensors, ctx.transposed)(x)
