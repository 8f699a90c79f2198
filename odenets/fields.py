"""What f is at step n: a list of layers with their own weights, or one function f(t, x)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from .errors import FieldError
from .program import Evaluate

#: the random tensors of one step
Noise = tuple[Tensor, ...]


class Field(nn.Module):
    """The residual function of every step: :class:`Layers`, :class:`TimeField`, and the random ones around Layers."""

    steps: int

    @property
    def step_size(self) -> float | None:
        """Step size the field itself fixes, or None where ODENet's h counts."""
        return None

    def prepare(self, visits: Sequence[Sequence[int]]) -> None:
        """Told once, before the first step, how often each step evaluates each of its modules."""

    def draw(self, n: int, u: Tensor, h: float) -> Noise:
        """What is random about step n, drawn once and the same at all its stages; () where nothing is.

        Handed to :meth:`evaluate` rather than kept, so that a step can be computed again.
        """
        return ()

    def evaluate(self, n: int, what: Evaluate, x: Tensor, noise: Noise) -> Tensor:
        """F of step n at stage value x, which stands for the solution at time t_n + what.node * h."""
        raise FieldError(f"{type(self).__name__} has no evaluate(); use Layers or TimeField")

    def call(self, n: int, noise: Noise, what: Evaluate, x: Tensor) -> Tensor:
        """As :meth:`evaluate`, with the result's shape checked: f must map the state's space to itself."""
        version = _version(x)
        value = self.evaluate(n, what, x, noise)
        if _version(x) != version:
            raise FieldError(
                f"layer {n} wrote into its input, which the scheme still needs: an in-place operation such as "
                "nn.ReLU(inplace=True) must not come first in a block; use inplace=False there"
            )
        if not isinstance(value, Tensor):
            raise FieldError(f"layer {n}: got an output of type {type(value).__name__}, expected a tensor")
        if value.shape != x.shape:
            raise FieldError(
                f"layer {n}: got an output of shape {tuple(value.shape)} for an input of shape {tuple(x.shape)}, "
                "expected the same shape; a layer that changes the shape goes first and needs a shortcut module "
                "(ODENet(..., shortcut=...))"
            )
        return value


def _version(x: Tensor) -> int:
    """How often a tensor has been written to, where torch counts it: not in inference mode, nor when tracing."""
    return 0 if torch.compiler.is_compiling() or x.is_inference() else x._version


class Layers(Field):
    """One module per step, or several for a scheme that evaluates several functions a step.

    Args:
        blocks: for each layer a module f_n, or a list of modules (f_n, g_n, ...) in the order in
            which the scheme numbers them.

    BatchNorm: in training each stage normalises with its own batch, so each evaluation of a module
    within a step has its own running statistics, updated once a step; the first one's are the
    module's own. One set for all stages was tried and rejected: whether it averages the stages or
    follows the first, no stage sees in evaluation what it saw in training, and rk4 networks that
    had learned digits to 1 % erred on 77 % of them.
    """

    def __init__(self, blocks: Iterable[nn.Module | Sequence[nn.Module]]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            b if isinstance(b, nn.Module) else b[0] if len(b) == 1 else nn.ModuleList(b) for b in blocks
        )
        if not len(self.layers):
            raise FieldError("blocks: got an empty list, expected one nn.Module per layer")
        self.steps = len(self.layers)
        self.statistics = nn.ModuleDict()
        self._prepared = False

    def modules_of(self, n: int) -> Sequence[nn.Module]:
        """The functions of layer n."""
        layer = self.layers[n]
        return list(layer) if isinstance(layer, nn.ModuleList) else [layer]

    def prepare(self, visits: Sequence[Sequence[int]]) -> None:
        """Check the number of modules per layer; add running statistics for later visits to each."""
        if self._prepared:
            raise FieldError(
                "blocks: got a field that belongs to a network already, and whose BatchNorm statistics that network "
                "has trained; make a new field of the same modules, or a copy.deepcopy of it"
            )
        self._prepared = True
        for n, counts in enumerate(visits):
            modules = self.modules_of(n)
            if len(modules) != len(counts):
                raise FieldError(
                    f"layer {n}: got {len(modules)} module(s), expected {len(counts)}, one for each function that the "
                    "scheme evaluates a step (a list of modules for each layer, or the module alone)"
                )
            for module, (block, count) in enumerate(zip(modules, counts, strict=False)):
                for visit in range(1, count if _norms(block) else 1):
                    self.statistics[f"{n}_{module}_{visit}"] = StageStatistics(block)

    def evaluate(self, n: int, what: Evaluate, x: Tensor, noise: Noise = ()) -> Tensor:
        """The layer's function at x; the node is ignored, since a layer does not depend on time."""
        layer = self.layers[n]
        block = layer[what.module] if isinstance(layer, nn.ModuleList) else layer
        key = f"{n}_{what.module}_{what.visit}"
        if key not in self.statistics:
            return block(x)
        statistics = self.statistics[key]
        assert isinstance(statistics, StageStatistics)
        return functional_call(block, statistics.named(), (x,), tie_weights=False)


class StageStatistics(nn.Module):
    """A second set of a block's BatchNorm statistics, for one visit.

    Held by BatchNorms without weights, so that what looks for BatchNorms to reset or to convert
    (``update_bn`` of stochastic weight averaging, SyncBatchNorm) finds them.
    """

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.norms = nn.ModuleList()
        for _, norm in _norms(block):
            own = copy.deepcopy(norm)
            own.register_parameter("weight", None)
            own.register_parameter("bias", None)
            self.norms.append(own)
        self._prefixes = [f"{name}." if name else "" for name, _ in _norms(block)]

    def named(self) -> dict[str, Tensor]:
        """The statistics under the names that the block's own have."""
        return {
            prefix + name: value
            for prefix, norm in zip(self._prefixes, self.norms, strict=True)
            for name, value in norm.named_buffers(recurse=False)
        }


def _norms(block: nn.Module) -> list[tuple[str, _BatchNorm]]:
    """Names and modules of the BatchNorms of a block that keep statistics."""
    found = [(name, module) for name, module in block.named_modules() if isinstance(module, _BatchNorm)]
    return [(name, norm) for name, norm in found if norm.running_mean is not None]


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

    def extra_repr(self) -> str:
        """Interval and number of steps."""
        return f"t0={self.t0}, t1={self.t1}, steps={self.steps}"


def number(value: Any, what: str) -> float:
    """A Python float; FieldError for what is none."""
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise FieldError(f"{what}: got {value!r}, expected a number") from error


def as_field(blocks: Field | Iterable[nn.Module | Sequence[nn.Module]]) -> Field:
    """The field itself, or the layers of a list of modules (or of lists of modules) as one."""
    if isinstance(blocks, Field):
        return blocks
    if isinstance(blocks, nn.Module) and not isinstance(blocks, (nn.ModuleList, nn.Sequential)):
        raise FieldError(
            f"blocks: got a single {type(blocks).__name__}, expected a list with one nn.Module per layer, "
            "or a TimeField for one function of time"
        )
    if not isinstance(blocks, Iterable):
        raise FieldError(f"blocks: got {blocks!r}, expected a list with one nn.Module per layer, or a TimeField")
    found = list(blocks)
    leaves = [m for block in found for m in (block if isinstance(block, (list, tuple)) else [block])]
    if wrong := [type(block).__name__ for block in leaves if not isinstance(block, nn.Module)]:
        raise FieldError(f"blocks: got {', '.join(sorted(set(wrong)))}, expected nn.Modules, or a TimeField")
    return Layers(found)
