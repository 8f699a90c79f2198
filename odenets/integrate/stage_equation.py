"""The equations of implicit stages of a step: their residual, and their gradient by the implicit function theorem."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..fields import FieldError
from ..fields.context import Context
from ..program import Solve
from ..program.transforms import with_record
from ..stages import NewtonKrylov
from ..stages.implicit_gradient import solve_linear
from .function import Function
from .step import Span

#: numbers of a sample up to which its Jacobian is a matrix: with 1000 of a reaction with diffusion, steps by GMRES took
#: twelve times as long as those by matrices
LARGEST = 1024
#: of the adjoint equation: by matrices where the stages are found by them
ADJOINT = NewtonKrylov(dense=LARGEST)


class Equation:
    """Z = W F(c + Z), for the stages that are solved for together, Z and c a state for each.

    Args:
        function: f.
        what: the evaluations and their weights W, the step size in them.
        span: the step.
        like: a state.
        samples: how many samples a state consists of.

    ``recorded`` says whether autograd records what f depends on; None until f has been evaluated.
    """

    def __init__(self, function: Function, what: Solve, span: Span, like: Tensor, samples: int) -> None:
        self.function, self.what, self.samples = function, what, samples
        self.recorded, self._stretch = None if torch.is_grad_enabled() else False, span.stretch(like)
        self.times = [function.time(span.time(item.node)) for item in what.evaluations]  # type: ignore[arg-type]

    def residual(self, c: Sequence[Tensor], z: Sequence[Tensor]) -> Tensor:
        """Z - W F(c + Z) in the rows of the samples, without a record."""
        y = [a + b for a, b in zip(c, z, strict=True)]
        if self.recorded is None:
            with torch.enable_grad():
                values = self._values(y)
            self.recorded = any(value.requires_grad for value in values)
            values = [value.detach() for value in values]
        else:
            values = self._values(y)
        return self._rest(z, values)

    def moving(self, constants: Sequence[Tensor], z: Sequence[Tensor]) -> list[Tensor]:
        """The solution Z as it moves with all that f and the constants depend on."""
        fixed = [c.detach() for c in constants]
        like, zeros = z[0], [torch.zeros_like(x) for x in z]

        def function(rows: Tensor, given: Sequence[Tensor] = fixed) -> Tensor:
            values = self._values([c + x for c, x in zip(given, parts(rows, like, len(fixed)), strict=True)])
            return -self._rest(zeros, values)

        found = joined(z, self.samples)
        with torch.enable_grad():
            value = function(found, constants)
        pull = partial(solve_linear, function, True, ADJOINT, values=(found,))
        return parts(Moved.apply(value, found, self.function.context, pull), like, len(fixed))

    def _values(self, y: Sequence[Tensor]) -> list[Tensor]:
        """F of the stages: f, times what the step size is to the gradient or to each sample."""
        values = [self.function(t, x) for t, x in zip(self.times, y, strict=True)]
        return values if self._stretch is None else [value * self._stretch for value in values]

    def _rest(self, z: Sequence[Tensor], values: Sequence[Tensor]) -> Tensor:
        """Z - W F in rows."""
        weights = self.what.weights
        return joined([plus(x, [-w for w in row], values) for x, row in zip(z, weights, strict=True)], self.samples)


class Moved(torch.autograd.Function):
    """A solution that has been found; its derivative is that of ``value``, times a matrix.

    Args:
        value: knows what the solution depends on.
        found: the solution.
        context: that of f in the forward pass.
        transposed: the transposed matrix times a cotangent. Of Z = G(Z), with ``value`` = G(Z), (I - G_Z)^-T; of
            M x = ``value`` it is M^-T.
    """

    @staticmethod
    def forward(
        ctx: Any, value: Tensor, found: Tensor, context: Context, transposed: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """The solution."""
        ctx.context, ctx.transposed = context, transposed
        return found.clone()

    @staticmethod
    @with_record
    def backward(ctx: Any, bar: Tensor) -> tuple[Any, ...]:
        """The cotangent of ``value``."""
        if torch.is_grad_enabled():
            raise FieldError(
                "solve: got a backward pass with create_graph=True through adaptive implicit or Rosenbrock steps, "
                "expected one without: they have first derivatives alone; implicit schemes with steps=N have all"
            )
        with ctx.context.precision(), ctx.context.restored():
            return ctx.transposed(bar), None, None, None


def plus(x: Tensor, weights: Sequence[float], values: Sequence[Tensor]) -> Tensor:
    """The sum of x and of weights times values; those that are not there yet are left out."""
    for weight, value in zip(weights, values, strict=False):
        if weight:
            x = torch.add(x, value, alpha=weight)
    return x


def rows(x: Tensor, samples: int) -> Tensor:
    """A state as real numbers, a row for each sample."""
    return (torch.view_as_real(x) if x.is_complex() else x).reshape(samples, -1)


def state(z: Tensor, like: Tensor) -> Tensor:
    """The state of such rows."""
    return torch.view_as_complex(z.reshape(*like.shape, 2)) if like.is_complex() else z.reshape(like.shape)


def joined(states: Sequence[Tensor], samples: int) -> Tensor:
    """States of several stages, in the rows of their samples one after the other."""
    return torch.cat([rows(x, samples) for x in states], 1) if len(states) > 1 else rows(states[0], samples)


def parts(z: Tensor, like: Tensor, stages: int) -> list[Tensor]:
    """The states of such rows."""
    return [state(part, like) for part in z.chunk(stages, 1)] if stages > 1 else [state(z, like)]
