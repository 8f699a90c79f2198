"""u' = f(t, u): one function of time and state for all steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..program import Evaluate
from ..scheme.given_numbers import integer, real
from .errors import FieldError
from .field import Field, Noise


class TimeField(Field):
    """u' = f(t, u) on [t0, t1] in ``steps`` equal steps, usable wherever blocks are.

    Args:
        f: callable ``f(t, x)`` as torchdiffeq takes it: t a 0-dimensional tensor, x the state;
            returns a tensor of x's shape. A module's parameters become the network's.
        t0, t1: start and end time, finite and different; t1 < t0 integrates backwards.
        steps: number of steps, at least 1. The step size is (t1 - t0) / steps.

    Raises:
        FieldError: f not callable, times not finite or equal, steps not a positive integer.
    """

    def __init__(self, f: Callable[[Tensor, Tensor], Tensor], t0: float, t1: float, steps: int) -> None:
        super().__init__()
        if not callable(f):
            raise FieldError(f"TimeField: got f = {f!r}, expected a callable f(t, x)")
        steps = integer(steps, "TimeField: steps", error=FieldError)
        self.t0, self.t1 = number(t0, "TimeField: t0"), number(t1, "TimeField: t1")
        self.h: float = (self.t1 - self.t0) / steps
        if not 0 < abs(self.h) < float("inf"):
            raise FieldError(f"TimeField: got t0 = {t0}, t1 = {t1}, expected two different finite times")
        self.f, self.steps = f, steps

    @property
    def step_size(self) -> float:
        """(t1 - t0) / steps."""
        return self.h

    def prepare(self, visits: Sequence[Sequence[int]]) -> None:
        """Refuse a scheme that evaluates several functions a step: there is one f(t, x)."""
        if wanted := max(len(counts) for counts in visits) - 1:
            raise FieldError(f"TimeField: got a scheme of {wanted + 1} functions a step, expected one of f(t, x) alone")

    def evaluate(self, n: int, what: Evaluate, x: Tensor, noise: Noise = ()) -> Tensor:
        """f(t0 + (n + node) h, x). The time is computed as a Python float, without summing h up."""
        if what.node is None:
            raise FieldError(
                "TimeField: got a scheme with a node that depends on a learnable coefficient, expected fixed times"
            )
        # At least float32: bf16 cannot tell t = 1.00 from 1.003.
        dtype = torch.promote_types(x.dtype, torch.float32)
        return self.f(x.new_full((), self.t0 + (n + what.node) * self.h, dtype=dtype), x)

    def uses(self, n: int, what: Evaluate) -> list[tuple[str, nn.Module]]:
        """f, where it is a module."""
        return [("f", self.f)] if isinstance(self.f, nn.Module) else []

    def extra_repr(self) -> str:
        """Interval and number of steps."""
        return f"t0={self.t0}, t1={self.t1}, steps={self.steps}"


def number(value: Any, what: str) -> float:
    """A finite number as a Python float; FieldError for what is none."""
    return real(value, what, FieldError)
