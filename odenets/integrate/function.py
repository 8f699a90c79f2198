"""f(t, u) as a solve calls it: of one tensor, checked, counted, its times made tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from ..fields import FieldError, TimeField
from ..fields.context import Context
from ..fields.numbers import widest
from .packing import Packing


class Function:
    """The right-hand side of u' = f(t, u).

    Args:
        f: as the user gives it, of a 0-dimensional time and a state, which returns a state.
        packing: how a state is one tensor.
        u: the first state, as one tensor.
        times: the first time and the last.
        narrow: whether times are in the dtype of the state, as torchdiffeq's are; else in float64.

    ``evaluations`` counts the calls; ``module`` is f where that is a module, else None.

    Raises:
        FieldError: f is not callable; when it is called, f returns what is no state of the same shape, is complex where
            the state is real, or writes into its argument.
    """

    def __init__(
        self,
        f: Callable[[Tensor, Any], Any],
        packing: Packing,
        u: Tensor,
        times: tuple[float, float],
        *,
        narrow: bool = False,
    ) -> None:
        if not callable(f):
            raise FieldError(f"f: got {f!r}, expected a callable f(t, u)")
        whole = f if packing.single else lambda t, x: packing.joined_value(f(t, packing.split(x)))
        self.module = f if isinstance(f, nn.Module) else None
        self.dtype, self.device = u.real.dtype if narrow else widest(u.device), u.device
        # Times in float64, or in float32 where f fails with them: as in a network of a TimeField, which finds it out.
        self._field = None if narrow else TimeField(whole, *times, 1)
        self.at = whole if self._field is None else self._field.at
        self.evaluations = 0

    @property
    def parts(self) -> tuple[Function, ...]:
        """The functions whose sum it is, one by one."""
        return (self,)

    def part(self, g: int, t: float | Tensor, u: Tensor) -> Tensor:
        """The value of one of them."""
        return self(t, u)

    @cached_property
    def context(self) -> Context:
        """What is around f, as it is when this is first asked for; who evaluates f later puts it back."""
        return Context([] if self.module is None else list(self.module.modules()), self.device)

    @contextmanager
    def exact(self) -> Iterator[None]:
        """The forward pass of steps that solve equations with derivatives of f: as on a grid, autocast is off.

        In half precision the residual of a stage does not go down to the tolerance, and a Jacobian has samples depend
        on each other that do not.
        """
        with torch.autocast(self.device.type, enabled=False):
            context = self.context
            yield
            context.settle()

    def beside(self, t: float, up: bool) -> float:
        """The next time above, or below, of those that f can be given."""
        to = torch.tensor(float("inf") if up else float("-inf"), dtype=self.dtype)
        return torch.nextafter(torch.tensor(t, dtype=self.dtype), to).item()

    def time(self, t: float | Tensor) -> Tensor:
        """A time as f is given it."""
        return torch.full((), t, dtype=self.dtype, device=self.device) if isinstance(t, float) else t.to(self.dtype)

    def __call__(self, t: float | Tensor, u: Tensor) -> Tensor:
        """The value at a time, a number or a 0-dimensional tensor."""
        time = self.time(t)
        self.evaluations += 1
        if self.evaluations == 1:
            return self._first(time, u)
        value = self.at(time, u)
        if not isinstance(value, Tensor) or value.shape != u.shape or value.dtype != u.dtype:
            return self._fitted(value, u)
        return value

    def _first(self, time: Tensor, u: Tensor) -> Tensor:
        counted = not (torch.compiler.is_compiling() or u.is_inference())
        before = u._version if counted else 0
        value = self.at(time, u)
        if self._field is not None and (self._field._wide or u.dtype == time.dtype):
            self.at = self._field.f  # it would look at that again in every call
        if counted and u._version != before:
            raise FieldError("f wrote into its argument, which the scheme still needs; expected f(t, u) that leaves u")
        return self._fitted(value, u)

    def _fitted(self, value: Any, u: Tensor) -> Tensor:
        if not isinstance(value, Tensor) or value.shape != u.shape:
            got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise FieldError(f"f: got {got} for a state of shape {tuple(u.shape)}, expected a tensor of the same shape")
        if value.is_complex() and not u.is_complex():
            raise FieldError(f"f: got {value.dtype} for a state of {u.dtype}, expected a complex y0, or a real value")
        return value.to(u.dtype)
