"""How far undone steps are from the states they should come back to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import ReversalError
from ..step import State


@dataclass(frozen=True)
class Monitor:
    """Judges the defect of one stretch.

    Args:
        start, stop: its steps.
        limit: largest relative defect allowed.
        scales: factor of each carried value in the state's units: h for slopes, 1 for solutions.
        learned: whether carried values are combined by learnable coefficients (V holds symbols).
        record: ``record[start, stop]`` is set to what has been measured; None while torch.compile traces.
    """

    start: int
    stop: int
    limit: float
    scales: Sequence[float]
    learned: bool
    record: dict[tuple[int, int], float] | None

    def judge(self, defect: float) -> None:
        """Note the defect; ReversalError where it is beyond the limit."""
        if self.record is not None:
            self.record[self.start, self.stop] = max(defect, self.record.get((self.start, self.stop), 0.0))
        if not defect <= self.limit:  # nan is not
            raise ReversalError(self.message(f"{defect:.2g}"))

    def message(self, defect: str) -> str:
        """What went wrong and what to do."""
        return (
            f"steps {self.start} to {self.stop - 1}, undone, missed their stored state by {defect} of its size, "
            f"expected at most {self.limit:.2g}: the gradient would be wrong. The next forward pass places its anchors "
            "by what has been measured; or give a larger tolerance, Reversible(tolerance=...), or take "
            "gradient='checkpoint'. Blocks that are not the same function when called again (states of their own, "
            "random numbers that are not torch's) and states that are not finite have this effect too"
        )


#: Differences of states are taken as at least so large, relative to the states.
SMALLEST_DIFFERENCE = 1e-3


def relative_defect(found: State, expected: State, scales: Sequence[float], learned: bool) -> Tensor:
    """|found - expected| / |expected| in the 2-norm over all carried values, each in the state's units.

    With learnable coefficients in V the error is taken relative to the differences u_n - u_{n-j}, which
    are smaller: the gradient of k_n is made of them.
    """
    missed = [(a.detach() - b.detach()) * scale for a, b, scale in zip(found, expected, scales, strict=True)]
    values = [b.detach() * scale for b, scale in zip(expected, scales, strict=True)]
    size = _norm(values).clamp_min(torch.finfo(torch.float32).tiny)
    if learned and len(values) > 1:
        size = torch.maximum(_norm([value - values[0] for value in values[1:]]), SMALLEST_DIFFERENCE * size)
    return _norm(missed) / size


def _norm(values: Sequence[Tensor]) -> Tensor:
    dtypes = [torch.promote_types(value.dtype, torch.float32) for value in values]
    norms = [torch.linalg.vector_norm(v.to(dtype)) for v, dtype in zip(values, dtypes, strict=True)]
    return torch.linalg.vector_norm(torch.stack([norm.to(max(dtypes, key=_bits)) for norm in norms]))


def _bits(dtype: torch.dtype) -> int:
    return torch.finfo(dtype).bits


def check(monitor: Monitor, expected: State, found: State) -> None:
    """Measure a stretch's defect and judge it, under every transform that torch has."""
    defect = relative_defect(found, expected, monitor.scales, monitor.learned)
    if torch.compiler.is_compiling():
        torch._assert_async(defect <= monitor.limit, monitor.message("more than is allowed"))
    else:
        _Check.apply(monitor, defect)


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
