"""What f is at step n: a list of layers with their own weights, or one function f(t, x)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from .errors import FieldError


class Field(nn.Module):
    """The residual function of every step. Final subclasses: :class:`Layers`, :class:`TimeField`."""

    steps: int

    @property
    def step_size(self) -> float | None:
        """Step size the field itself fixes, or None where ODENet's h counts."""
        return None

    def prepare(self, stages: Sequence[int]) -> None:
        """Told once how many stages each step evaluates, before the first one."""

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

    BatchNorm: in training each stage normalises with its own batch, so each stage has its own
    running statistics, updated once a step; the first stage's are the module's own. One set for
    all stages was tried and rejected: whether it averages the stages or follows the first, no
    stage sees in evaluation what it saw in training, and rk4 networks that had learned digits to
    1 % erred on 77 % of them.
    """

    def __init__(self, blocks: Iterable[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(blocks)
        if not len(self.layers):
            raise FieldError("blocks: got an empty list, expected one nn.Module per layer")
        self.steps = len(self.layers)
        self.statistics = nn.ModuleDict()

    def prepare(self, stages: Sequence[int]) -> None:
        """Add running statistics for the later stages of each step."""
        self.statistics = nn.ModuleDict(
            {
                f"{n}_{stage}": StageStatistics(block)
                for n, block in enumerate(self.layers)
                for stage in range(1, stages[n])
                if any(True for _ in _statistics(block))
            }
        )

    def evaluate(self, n: int, stage: int, node: float, x: Tensor) -> Tensor:
        """f_n(x); the node is ignored, since a layer does not depend on time."""
        key = f"{n}_{stage}"
        if key not in self.statistics:
            return self.layers[n](x)
        statistics = self.statistics[key]
        assert isinstance(statistics, StageStatistics)
        return functional_call(self.layers[n], statistics.named(), (x,))


class StageStatistics(nn.Module):
    """A second set of a block's BatchNorm statistics, for one stage. Buffers, so saved and moved along."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        # A buffer's name must not have a dot; the block's own names do.
        self._names = {name: name.replace(".", "__") for name, _ in _statistics(block)}
        for name, value in _statistics(block):
            self.register_buffer(self._names[name], value.clone())

    def named(self) -> dict[str, Tensor]:
        """The statistics under the names that the block's own have."""
        return {name: getattr(self, own) for name, own in self._names.items()}


def _statistics(block: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Names and values of the BatchNorm statistics of a block."""
    for prefix, module in block.named_modules():
        if isinstance(module, _BatchNorm):
            yield from module.named_buffers(prefix, recurse=False)


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
