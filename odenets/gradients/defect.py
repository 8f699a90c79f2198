"""How far undone steps are from the states they should come back to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..program.step import State
from ..program.transforms import active, capturing
from .errors import ReversalError


@dataclass(frozen=True)
class Monitor:
    """Judges the defect of one segment.

    Args:
        start, stop: its steps.
        limit: largest relative defect allowed.
        record: ``record[start, stop]`` is set to what has been measured; None where nothing is learned from it.
        undone: whether the steps are undone, not run again.
    """

    start: int
    stop: int
    limit: float
    record: dict[tuple[int, int], float] | None = None
    undone: bool = False

    def judge(self, defect: float) -> None:
        """Note the defect; ReversalError where it is beyond the limit.

        nan, of states that were not finite in the forward pass, is neither: the gradient is not finite
        either, as autograd's own is, and what skips such a step (a GradScaler) finds it so.
        """
        if self.record is not None and not math.isnan(defect):
            self.record[self.start, self.stop] = max(defect, self.record.get((self.start, self.stop), 0.0))
        if defect > self.limit:
            raise ReversalError(self.message(f"{defect:.2g}"))

    def message(self, defect: str) -> str:
        """What went wrong and what to do."""
        how = "undone, missed their stored state" if self.undone else "run again, missed the state they led to"
        advice = (
            "The next forward pass places its anchors by what has been measured (a compiled network has those of its "
            "first eager pass: set its gradient anew and run one); or give a larger tolerance, "
            "Reversible(tolerance=...), or on_failure='rerun', or take gradient='checkpoint'. "
        )
        return (
            f"steps {self.start} to {self.stop - 1}, {how} by {defect} of its size, expected at most {self.limit:.2g}: "
            f"the gradient would be wrong. {advice if self.undone else ''}Blocks that are not the same function when "
            "called again (states of their own, random numbers that are not torch's) have this effect too; for those "
            "there is gradient='direct' alone"
        )


#: A state is taken as at least so large, relative to the same sample after the steps, and differences of states as
#: at least so large, relative to the states: errors relative to what is 0 by chance mean nothing.
SMALLEST = 1e-3


def relative_defect(found: State, expected: State, after: State, scales: Sequence[float], learned: bool) -> Tensor:
    """|found - expected| / |expected|, the largest of all samples; nan where ``expected`` or ``after`` is not finite.

    The norm is the 2-norm over all carried values, each in the state's units, of a sample: along the
    first dimension of a state of two or more. With learnable coefficients in V the error is taken
    relative to the differences u_n - u_{n-j}, which are smaller: the gradient of k_n is made of them.
    """
    missed = [(a.detach() - b.detach()) * scale for a, b, scale in zip(found, expected, scales, strict=True)]
    values = [b.detach() * scale for b, scale in zip(expected, scales, strict=True)]
    later = _sizes([b.detach() * scale for b, scale in zip(after, scales, strict=True)])
    size = torch.maximum(_sizes(values), SMALLEST * later)
    if learned and len(values) > 1:
        size = torch.maximum(_sizes([value - values[0] for value in values[1:]]), SMALLEST * size)
    defect = _sizes(missed) / size.clamp_min(torch.finfo(torch.float32).tiny)
    # Steps that run away on the way back are worse than any number; states that were not finite are another matter.
    each = torch.where((size + later).isfinite(), defect.nan_to_num(nan=math.inf), math.nan)
    return each.amax() if each.numel() else each.new_zeros(())  # a batch of no samples


def _sizes(values: Sequence[Tensor]) -> Tensor:
    """2-norm over several values, of each sample, in float64."""
    sizes = [torch.linalg.vector_norm(_samples(value), dim=1).double() for value in values]
    return torch.linalg.vector_norm(torch.stack(sizes), dim=0)


def _samples(value: Tensor) -> Tensor:
    """A carried value with a row for each sample, in float32 or wider."""
    wide = value.detach().to(torch.promote_types(value.dtype, torch.float32))
    return wide.flatten(1) if wide.dim() > 1 else wide.reshape(1, -1)


def fingerprint(values: Sequence[Tensor]) -> Tensor:
    """For each value its 2-norm and a weighted mean, in float64: what it was, without keeping it.

    The mean tells a permutation of the entries, which leaves the norm as it is.
    """
    found = []
    for value in map(_samples, values):
        # Weights of rows and of columns: to make one for each entry would take longer than all else.
        down, across = (
            _weights(size, ends, value) for size, ends in zip(value.shape, ((1.0, 2.0), (-1.0, 1.0)), strict=True)
        )
        mean = ((value * across).sum(1) * down).sum()
        found += [torch.linalg.vector_norm(value).double(), mean.double()]
    return torch.stack(found)


def _weights(size: int, ends: tuple[float, float], like: Tensor) -> Tensor:
    """Numbers between two others, over the root of how many there are; with ends -1 and 1 none of them is 0.

    By arange, for torch.linspace would have torch.compile take the size of a batch for a constant.
    """
    low, high = ends
    parts = (torch.arange(size, dtype=like.dtype, device=like.device) + 0.25) / size
    return (low + (high - low) * parts) / size**0.5


def changed(found: Tensor, expected: Tensor) -> Tensor:
    """Largest difference of two fingerprints, relative to the norms; nan where those expected are not finite."""
    size = expected[::2].clamp_min(torch.finfo(torch.float32).tiny).repeat_interleave(2)
    defect = ((found.detach() - expected).abs() / size).nan_to_num(nan=math.inf)
    return torch.where(size.isfinite(), defect, math.nan).amax()


def check(monitor: Monitor, defect: Tensor) -> Tensor | None:
    """Judge a segment's defect, under every transform that torch has; there is nothing to judge on the meta device.

    Returns:
        In a CUDA graph, where nothing can be read, what is to be added to the segment's gradients: nan where they
        would be wrong, else 0. An assertion on the device, as under torch.compile, would end all that this process
        does there, other networks' work too. None elsewhere.
    """
    if defect.is_meta:
        return None
    if torch.compiler.is_compiling():
        torch._assert_async((defect <= monitor.limit) | defect.isnan(), monitor.message("more than is allowed"))
    elif capturing():
        return torch.where(defect > monitor.limit, math.nan, 0.0)
    elif active():
        _Check.apply(monitor, defect)
    else:
        monitor.judge(float(defect))
    return None


class _Check(torch.autograd.Function):
    """Reads a number that may be batched: under vmap the largest of the batch is judged."""

    @staticmethod
    def forward(monitor: Monitor, defect: Tensor) -> Tensor:
        monitor.judge(float(defect))
        return defect.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.mark_non_differentiable(output)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[None, None]:
        return None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> None:
        return None

    @staticmethod
    def vmap(info: Any, in_dims: Any, monitor: Monitor, defect: Tensor) -> tuple[Tensor, None]:
        return _Check.apply(monitor, defect.amax()), None
