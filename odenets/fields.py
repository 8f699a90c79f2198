"""What f is at step n: a list of layers with their own weights, or one function f(t, x)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .errors import FieldError


class Field(nn.Module):
    """The residual function of every step. Final subclasses: :class:`Layers`, :class:`TimeField`."""

    steps: int

    @property
    def step_size(self) -> float | None:
        """Step size the field itself fixes, or None where ODENet's h counts."""
        return None

    def evaluate(self, n: int, stage: int, node: float, x: Tensor) -> Tensor:
        """F of step n at stage value x, which stands for the solution at time t_n + node * h."""
        raise FieldError(f"{type(self).__name__} has no evaluate(); use Layers or TimeField")

    def call(self, n: int, stage: int, node: float, x: Tensor) -> Tensor:
        """As :meth:`evaluate`, with the result's shape checked: f must map the state's space to itself."""
        value = self.evaluate(n, stage, node, x)
        if value.shape != x.shape:
            raise FieldError(
                f"layer {n}: got an output of shape {tuple(value.shape)} for an input of shape {tuple(x.shape)}, "
                "expected the same shape; a layer that changes the shape goes first and needs a shortcut module "
                "(ODENet(..., shortcut=...))"
            )
        return value


class Layers(Field):
    """One module per step: f_n is ``blocks[n]``, at all stages of step n.

    BatchNorm statistics: each stage normalises with its own batch, as it must in training, but
    only the first stage of a step updates the running statistics, so that they are updated once
    a step under every scheme.
    """

    def __init__(self, blocks: Iterable[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(blocks)
        if not len(self.layers):
            raise FieldError("blocks: got an empty list, expected one nn.Module per layer")
        self.steps = len(self.layers)
        self._norms = [[m for m in block.modules() if isinstance(m, _BatchNorm)] for block in self.layers]

    def evaluate(self, n: int, stage: int, node: float, x: Tensor) -> Tensor:
        """f_n(x); the node is ignored, since a layer does not depend on time."""
        if stage and self.training and self._norms[n]:
            with _statistics_kept(self._norms[n]):
                return self.layers[n](x)
        return self.layers[n](x)


@contextmanager
def _statistics_kept(norms: list[_BatchNorm]) -> Iterator[None]:
    """Leave the running statistics alone; momentum = 0 would still count the batch."""
    tracked = [norm.track_running_stats for norm in norms]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm, value in zip(norms, tracked, strict=True):
            norm.track_running_stats = value


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
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise FieldError(f"TimeField: got steps = {steps!r}, expected an integer of at least 1")
        self.t0, self.t1 = float(t0), float(t1)
        self.h: float = (self.t1 - self.t0) / steps
        if not 0 < abs(self.h) < float("inf"):
            raise FieldError(f"TimeField: got t0 = {t0}, t1 = {t1}, expected two different finite times")
        self.f, self.steps = f, steps

    @property
    def step_size(self) -> float:
        """(t1 - t0) / steps."""
        return self.h

    def evaluate(self, n: int, stage: int, node: float, x: Tensor) -> Tensor:
        """f(t0 + (n + node) h, x). The time is computed as a Python float, without summing h up."""
        # At least float32: bf16 cannot tell t = 1.00 from 1.003.
        dtype = torch.promote_types(x.dtype, torch.float32)
        return self.f(x.new_full((), self.t0 + (n + node) * self.h, dtype=dtype), x)

    def extra_repr(self) -> str:
        """Interval and number of steps."""
        return f"t0={self.t0}, t1={self.t1}, steps={self.steps}"


def as_field(blocks: Field | Iterable[nn.Module]) -> Field:
    """The field itself, or the layers of a list of modules as one."""
    if isinstance(blocks, Field):
        return blocks
    if isinstance(blocks, nn.Module) and not isinstance(blocks, (nn.ModuleList, nn.Sequential)):
        raise FieldError(
            f"blocks: got a single {type(blocks).__name__}, expected a list with one nn.Module per layer, "
            "or a TimeField for one function of time"
        )
    found = list(blocks)
    if wrong := [type(block).__name__ for block in found if not isinstance(block, nn.Module)]:
        raise FieldError(f"blocks: got {', '.join(sorted(set(wrong)))}, expected nn.Modules, or a TimeField")
    return Layers(found)
