"""z* = G(z*, tensors) as a differentiable function of the tensors."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..program.transforms import saved, with_record
from ..program.vjp import captures
from .errors import ConvergenceWarning, SolverError
from .gmres import check_state
from .implicit_gradient import Function, over_batch, pull_back, push_forward, settled, solve_linear, stack
from .newton import NewtonKrylov
from .solver import Solver
from .solver_report import Report, failure
from .transform_checks import captured, check_captured, check_transforms


# Traced, it would be cut to pieces at every question to the data; so that it runs whole, and eagerly.
@torch.compiler.disable
def fixed_point(
    function: Callable[..., Tensor], guess: Tensor, tensors: Sequence[Tensor] = (), solver: Solver | None = None
) -> tuple[Tensor, Report]:
    r"""Solve z = G(z, tensors), differentiably.

    The gradient is that of the implicit function theorem at the solution, dz = (I - G_z)^-1 G_t dt:
    backward solves lambda = zbar + G_z^T lambda by GMRES (``solver.adjoint``) and returns
    G_t^T lambda (Christianson 1994). Kept for it are z and the tensors, however many iterations
    it took. Derivatives of any order, by reverse or forward mode (torch.func.jvp, torch.autograd.forward_ad) or
    torch.func.vmap, are of this kind; jvp of jvp is refused.

    Args:
        function: G(z, \*tensors), of z's shape and dtype, deterministic. All that it depends on and
            that is to get a gradient, parameters of modules included (torch.func.functional_call),
            must be among the tensors.
        guess: (S, D) in float32 or float64, where the iteration starts; gets no gradient.
        tensors: what z depends on; floating-point ones get gradients.
        solver: NewtonKrylov(...) or Anderson(...); None is NewtonKrylov().

    torch.compile runs it eagerly, at a graph break (with fullgraph=True an error that names it).

    Returns:
        z (S, D) and the Report of the solve. Autocast is off in the whole solve and in its
        backward: everything runs in the dtypes given, of which bf16 could not converge.

    Raises:
        SolverError: a guess, tensors, a solver or a value of G that does not fit; G uses a tensor
            that requires a gradient but is not among the tensors; called while torch.export or
            torch.func.linearize traces, or under forward mode that torch cannot nest.
        ConvergenceError: some sample did not converge (a ConvergenceWarning if
            ``solver.on_failure`` is "flag"), or, in backward, its adjoint equation did not.
    """
    solver = NewtonKrylov() if solver is None else solver
    _check(guess, tensors, solver)
    problem = _Problem(function, solver, guess.shape, torch.is_grad_enabled())
    with torch.amp.autocast(guess.device.type, enabled=False):
        check_captured(function, guess, tensors)
        z = _FixedPoint.apply(problem, problem.function, guess.detach().reshape(problem.shape), *tensors)
    assert problem.report is not None
    return z.reshape(guess.shape), problem.report


def _check(guess: Tensor, tensors: Sequence[Tensor], solver: Solver) -> None:
    if not isinstance(solver, Solver):
        raise SolverError(f"solver: got {solver!r}, expected NewtonKrylov(...) or Anderson(...)")
    check_transforms()
    check_state("guess", guess)
    if isinstance(tensors, Tensor) or not all(isinstance(t, Tensor) for t in tensors):
        raise SolverError(
            f"tensors: got {type(tensors).__name__} of {[type(t).__name__ for t in tensors]}, expected a sequence of "
            "tensors; numbers and modules belong in the function"
        )


class _Problem:
    """One call of fixed_point: the function on rows as the solver sees them, and, after it, the report."""

    def __init__(self, function: Function, solver: Solver, shape: torch.Size, tracked: bool) -> None:
        self.solver, self.tracked = solver, tracked
        self.given, self.full = function, shape
        self.shape = shape if solver.per_sample else torch.Size((1, shape.numel()))
        self.report: Report | None = None

    def function(self, z: Tensor, *tensors: Tensor) -> Tensor:
        """G on z of ``shape``: the batch in one row where the solver takes it as one sample."""
        value = self.given(z.reshape(self.full), *tensors)
        if not isinstance(value, Tensor) or value.shape != self.full or value.dtype != z.dtype:
            got = f"{tuple(value.shape)} {value.dtype}" if isinstance(value, Tensor) else type(value).__name__
            raise SolverError(f"G(z): got {got}, expected {tuple(self.full)} {z.dtype}, the shape and dtype of z")
        return value.reshape(self.shape)

    def solve(self, function: Function, guess: Tensor, tensors: Sequence[Tensor]) -> Tensor:
        """The iteration, without gradient; ``function`` is ``self.function`` or its vmap."""
        calls = 0

        def checked(z: Tensor) -> Tensor:
            nonlocal calls
            calls += 1
            if calls > 1 or not self.tracked:
                # Not detached: parameters that are in their modules already need not be put there.
                return function(z, *tensors)
            fixed = [t.detach() for t in tensors]
            with torch.enable_grad():
                value = function(z, *fixed)
            if captures([value], lambda: [function(z, *fixed)], (z, *fixed)):
                raise captured()
            return value.detach()

        with torch.no_grad():
            z, self.report = self.solver.iterate(checked, guess.clone())
        if not bool(self.report.converged.all()):
            self._failed(self.report, z.dtype)
        return z

    def _failed(self, report: Report, dtype: torch.dtype) -> None:
        rtol, atol = self.solver.tolerances(dtype)
        name = type(self.solver).__name__
        error = failure(report, f"{name} for z = G(z)", f"rtol {rtol:g}, atol {atol:g}", self.solver.advice)
        if self.solver.on_failure == "raise":
            raise error
        warnings.warn(str(error), ConvergenceWarning, stacklevel=2)


class _FixedPoint(torch.autograd.Function):
    """The solution as a function of the tensors; see :func:`fixed_point`."""

    @staticmethod
    def forward(problem: _Problem, function: Function, guess: Tensor, *tensors: Tensor) -> Tensor:
        return problem.solve(function, guess, tensors)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        problem, ctx.function, _, *tensors = inputs
        ctx.options = problem.solver
        ctx.save_for_backward(output, *tensors)
        ctx.save_for_forward(output, *tensors)

    @staticmethod
    @with_record
    def backward(ctx: Any, bar: Tensor) -> tuple[Any, ...]:
        z, *tensors = settled(ctx)
        with torch.amp.autocast(z.device.type, enabled=False):
            adjoint = solve_linear(ctx.function, True, ctx.options, bar, (z, *tensors))
            bars = pull_back(lambda *t: ctx.function(z, *t), tensors, ctx.needs_input_grad[3:], adjoint)
        return None, None, None, *bars

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        z, *tensors = saved(ctx)
        with torch.amp.autocast(z.device.type, enabled=False):
            rhs = push_forward(lambda *t: ctx.function(z, *t), tensors, tangents[3:])
            return solve_linear(ctx.function, False, ctx.options, rhs, (z, *tensors))

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *args: Any) -> tuple[Tensor, int]:
        problem, function, guess, *tensors = args
        size = info.batch_size
        stacked = stack(guess, in_dims[2], size)
        batched = over_batch(function, size, len(stacked) // size, in_dims[3:], info.randomness)
        z = _FixedPoint.apply(problem, batched, stacked, *tensors)
        return z.reshape(size, -1, z.shape[1]), 0
