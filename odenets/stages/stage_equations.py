"""Implicit stages: stage values that depend on each other, solved for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..program import Evaluate, Solve
from ..program.step import State
from .solver import Solver
from .solver_report import Report

#: function(tensors, evaluation, y): the residual function as a pure function of the tensors it uses
PureFunction = Callable[[Sequence[Tensor], Evaluate, Tensor], Tensor]


def solve_stages(
    what: Solve,
    constants: State,
    function: PureFunction,
    tensors: Sequence[Tensor],
    *,
    places: Sequence[int],
    solver: Solver,
) -> tuple[State, Report | None]:
    """Values F_i = f(c_i + Z_i) of the functions where Z_i = sum_j w_ij f(c_j + Z_j).

    Solved for Z, and F = W^-1 Z: evaluating f at the stages once more would multiply what the solver
    has left by the Lipschitz constant, which is large for the stiff problems implicit schemes are for
    (Hairer & Wanner 1996, IV.8).

    Args:
        what: the evaluations and their weights W, the step size folded in.
        constants: the c_i, all of one shape.
        function: the residual function.
        tensors: the tensors that it uses.
        places: places in ``tensors`` of those to be differentiated by.
        solver: the solver.

    Returns:
        the F_i, and what the solver reports; None where there is nothing to solve for. A state of two dimensions or
        more is a batch of samples along the first; one of fewer is a single sample.
    """
    from .fixed_point import fixed_point  # noqa: PLC0415 - loads torch's compiler, a third of the time of importing odenets

    if not constants[0].numel():
        # Whatever they are, they solve it; as values of f, so that its parameters get gradients of 0 and not none.
        return tuple(
            function(tensors, one, c).to(c.dtype) for one, c in zip(what.evaluations, constants, strict=True)
        ), None
    own = [tensors[place] for place in places]
    shape, stages = constants[0].shape, len(constants)
    samples = shape[0] if len(shape) > 1 else 1

    def stacked(values: Sequence[Tensor]) -> Tensor:
        return torch.cat([value.reshape(samples, -1) for value in values], 1)

    def parts(z: Tensor) -> list[Tensor]:
        return [part.reshape(shape) for part in z.chunk(stages, 1)]

    def equation(z: Tensor, *given: Tensor) -> Tensor:
        at = list(tensors)
        for place, value in zip(places, given[stages:], strict=True):
            at[place] = value
        values = [
            function(at, item, c + part).to(z.dtype)
            for item, c, part in zip(what.evaluations, given[:stages], parts(z), strict=True)
        ]
        return stacked([weighted(row, values) for row in what.weights])

    # Nothing of h f is known before the first evaluation, and 0 is where explicit schemes start.
    z, report = fixed_point(equation, torch.zeros_like(stacked(constants)), (*constants, *own), solver)
    increments = parts(z)
    return tuple(weighted(row, increments) for row in what.inverse), report


def weighted(weights: Sequence[float], values: Sequence[Tensor]) -> Tensor:
    """The sum of weights times values, zeros left out."""
    terms = [(weight, value) for weight, value in zip(weights, values, strict=True) if weight]
    # No row of stages that depend on each other is 0. The product with a number by its own operation: under jvp "*"
    # takes the number for a tensor, with a tangent of zeros: 350 us instead of 74.
    found = torch.ops.aten.mul.Scalar(terms[0][1], terms[0][0])
    for weight, value in terms[1:]:
        found = torch.add(found, value, alpha=weight)
    return found
