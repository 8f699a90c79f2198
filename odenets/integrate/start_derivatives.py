"""Derivatives of f at the start of a step: products with f_u, and f_t, as they move with what f depends on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..program.transforms import with_record
from ..stages.errors import once_only
from .function import Function
from .stage_equation import rows, state


class StartDerivatives:
    """f_u and f_t at (t, u), recorded, so that they have a gradient.

    What is differentiated is f of a copy of u, and its gradient is handed to u: autograd looks through all that a
    derivative may depend on, which with u itself would be all steps before, in every step.

    Args:
        function: f.
        t: a number, or a tensor that gets a gradient.
        u: the state.
        samples: how many samples it consists of.

    ``f_t`` is None where f does not depend on t; ``z`` is u in the rows of its samples, a real number each.
    """

    def __init__(self, function: Function, t: float | Tensor, u: Tensor, samples: int) -> None:
        self._u, self.z = rows(u, samples), rows(u.detach(), samples).requires_grad_()
        start = function.time(t)
        self._shift = torch.zeros((), dtype=start.dtype, device=u.device, requires_grad=True)
        self._like, self._f, self._t = u, function, t
        value = rows(function(start + self._shift, state(self.z, u)), samples)
        self._v = torch.zeros_like(value, requires_grad=True)
        self._to_u, to_t = _pulled(value, (self.z, self._shift), self._v)
        moved = self._with_u(_pushed(to_t, self._v, torch.ones_like(self._shift), True))
        self.f_t = None if moved is None else state(moved, u)

    def function(self, z: Tensor) -> Tensor:
        """The function f of rows."""
        return rows(self._f(self._t, state(z, self._like)), len(z))

    def product(self, v: Tensor) -> Tensor | None:
        """Find f_u v for v in the rows of samples; None where f does not depend on u."""
        return self._with_u(_pushed(self._to_u, self._v, v, True))

    def _with_u(self, found: Tensor | None) -> Tensor | None:
        """A derivative as it moves with u as well."""
        moves = found is not None and found.requires_grad and self._u.requires_grad
        return _Handed.apply(found, self._u, self.z) if moves else found


class _Handed(torch.autograd.Function):
    """What has been computed of a copy ``z`` of u: its gradient to z is that to u."""

    @staticmethod
    def forward(ctx: Any, found: Tensor, u: Tensor, z: Tensor) -> Tensor:
        """The same value."""
        ctx.found, ctx.z = found, z
        return found.clone()

    @staticmethod
    @with_record
    def backward(ctx: Any, bar: Tensor) -> tuple[Any, ...]:
        """The cotangents of ``found``, which what else it depends on is reached by, and of u."""
        (to_u,) = torch.autograd.grad(ctx.found, ctx.z, bar, retain_graph=True, allow_unused=True)
        return bar, to_u, None


def time_derivative(value: Tensor, shift: Tensor) -> Tensor | None:
    """Find df/dt of a recorded value of f, ``shift`` added to its time; None where it does not depend on that."""
    v = torch.zeros_like(value, requires_grad=True)
    (pulled,) = _pulled(value, (shift,), v)
    moved = _pushed(pulled, v, torch.ones_like(shift), False)
    return None if moved is None else moved.detach()


def _pulled(value: Tensor, at: tuple[Tensor, ...], v: Tensor) -> tuple[Tensor | None, ...]:
    """For each x of ``at`` f_x^T v, linear in v; None where the value does not depend on it."""
    if not value.requires_grad:
        return (None,) * len(at)
    with torch.enable_grad():
        return torch.autograd.grad(value, at, v, create_graph=True, allow_unused=True)


def _pushed(pulled: Tensor | None, v: Tensor, along: Tensor, keep: bool) -> Tensor | None:
    """The derivative of f_x^T v to v, which is f_x, along a direction."""
    if pulled is None or not pulled.requires_grad:
        return None
    try:
        found = torch.autograd.grad(pulled, v, along, create_graph=keep, retain_graph=True, allow_unused=True)
    except RuntimeError as error:  # torch has no other class for a backward pass without derivative
        raise once_only() from error
    return found[0]
