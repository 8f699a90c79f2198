"""The equations of implicit stages of a step: their residual, and their gradient by the implicit function theorem."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..fields import FieldError
from ..program import Solve
from ..program.transforms import saved, with_record
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
        samples: how many samples a state consists of.

    ``recorded`` says whether autograd records what f depends on; None until f has been evaluated.
    """

    def __init__(self, function: Function, what: Solve, span: Span, samples: int) -> None:
        self.function, self.what, self.span, self.samples = function, what, span, samples
        self.recorded = None if torch.is_grad_enabled() else False
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
        return joined([self._less(x, row, values) for x, row in zip(z, self.what.weights, strict=True)], self.samples)

    def moving(self, constants: Sequence[Tensor], z: Sequence[Tensor]) -> list[Tensor]:
        """The solution Z as it moves with all that f and the constants depend on."""
        fixed = [c.detach() for c in constants]
        stretch, like, samples = self.span.stretch(z[0]), z[0], self.samples

        def function(rows: Tensor, given: Sequence[Tensor] = fixed) -> Tensor:
            values = self._values([c + x for c, x in zip(given, parts(rows, like, len(fixed)), strict=True)])
            if stretch is not None:
                values = [value * stretch for value in values]
            zero = torch.zeros_like(like)
            return -joined([self._less(zero, row, values) for row in self.what.weights], samples)

        found = joined(z, samples)
        with torch.enable_grad():
            value = function(found, constants)
        return parts(_Moving.apply(value, found, function), like, len(fixed))

    def _values(self, y: Sequence[Tensor]) -> list[Tensor]:
        return [self.function(t, x) for t, x in zip(self.times, y, strict=True)]

    @staticmethod
    def _less(x: Tensor, weights: Sequence[float], values: Sequence[Tensor]) -> Tensor:
        for weight, value in zip(weights, values, strict=True):
            x = torch.add(x, value, alpha=-weight)
        return x


class _Moving(torch.autograd.Function):
    """Z of Z = G(Z): of ``value`` = G(Z), which knows what else G depends on, the derivative times (I - G_Z)^-1."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, z: Tensor, function: Any) -> Tensor:
        ctx.function = function
        ctx.save_for_backward(z)
        return z.clone()

    @staticmethod
    @with_record
    def backward(ctx: Any, bar: Tensor) -> tuple[Any, ...]:
        if torch.is_grad_enabled():
            raise FieldError(
                "solve: got a backward pass with create_graph=True through adaptive implicit steps, expected one "
                "without: they have first derivatives alone; steps=N has all"
            )
        (z,) = saved(ctx)
        return solve_linear(ctx.function, True, ADJOINT, bar, (z,)), None, None


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
