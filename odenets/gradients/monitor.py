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
        record: ``record[start, stop]`` is set to what has been measured; None where nothing is learned from it.
        undone: whether the steps are undone, not run again.
    """

    start: int
    stop: int
    limit: float
    record: dict[tuple[int, int], float] | None = None
    undone: bool = False

    def judge(self, defect: float) -> None:
        """Note the defect; ReversalError where it is beyond the limit."""
        if self.record is not None:
            self.record[self.start, self.stop] = max(defect, self.record.get((self.start, self.stop), 0.0))
        if not defect <= self.limit:  # nan is not
            raise ReversalError(self.message(f"{defect:.2g}"))

    def message(self, defect: str) -> str:
        """What went wrong and what to do."""
        how = "undone, missed their stored state" if self.undone else "run again, missed the state they led to"
        advice = (
            "The next forward pass places its anchors by what has been measured (a compiled network has those of its "
            "last eager pass: run one); or give a larger tolerance, Reversible(tolerance=...), or on_failure='rerun', "
            "or take gradient='checkpoint'. "
        )
        return (
            f"steps {self.start} to {self.stop - 1}, {how} by {defect} of its size, expected at most {self.limit:.2g}: "
            f"the gradient would be wrong. {advice if self.undone else ''}Blocks that are not the same function when "
            "called again (states of their own, random numbers that are not torch's) and states that are not finite "
            "have this effect; for the former there is gradient='direct'"
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


def norms(values: Sequence[Tensor]) -> Tensor:
    """2-norm of each value, in float64."""
    wide = [value.detach().to(torch.promote_types(value.dtype, torch.float32)) for value in values]
    return torch.stack([torch.linalg.vector_norm(value).double() for value in wide])


def norm_defect(found: Tensor, expected: Tensor) -> Tensor:
    """Largest relative difference of norms; 0 of two zeros."""
    return ((found.detach() - expected).abs() / expected.clamp_min(torch.finfo(torch.float32).tiny)).amax()


def _norm(values: Sequence[Tensor]) -> Tensor:
    return torch.linalg.vector_norm(norms(values))


def check(monitor: Monitor, defect: Tensor) -> None:
    """Judge a stretch's defect, under every transform that torch has."""
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
