"""The times of a solve: Python's numbers, and tensors where they are to get gradients."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..fields import FieldError
from ..fields.numbers import current, learned, number, widest


class Times:
    """Times in increasing or decreasing order, at least two.

    Args:
        t: a tensor or an array of one dimension, or a sequence of numbers and single tensors.
        device: where tensors are kept.

    ``values`` are the times as numbers, ``learned`` as 0-dimensional tensors, None where no gradient is asked for.

    Raises:
        FieldError: times that are no finite numbers, fewer than two, or not in order.
    """

    def __init__(self, t: Any, device: torch.device) -> None:
        if getattr(t, "ndim", 1) != 1 or not isinstance(t, Iterable) or isinstance(t, (str, dict)):
            shape = f" of shape {tuple(t.shape)}" if hasattr(t, "shape") else ""
            raise FieldError(
                f"t: got {type(t).__name__}{shape}, expected times: (t0, t1), or a tensor of one dimension"
            )
        self.values, self.learned = _read(t, device)
        self.given = t if isinstance(t, Tensor) else None
        if len(self.values) < 2:
            raise FieldError(f"t: got {len(self.values)} times, expected the first and at least one more")
        ordered(self.values, "t")

    @property
    def ends(self) -> tuple[float, float]:
        """The first time and the last."""
        return self.values[0], self.values[-1]

    @property
    def learned_ends(self) -> tuple[Tensor, Tensor] | None:
        """The same as tensors, where gradients are asked for."""
        return None if self.learned is None else (self.learned[0], self.learned[-1])

    def before(self, t: float) -> int:
        """How many of the times are before t, rounded as they are in :meth:`tensor`."""
        end = torch.tensor(t, dtype=self.tensor(1, torch.device("cpu")).dtype).item()
        forward = self.values[-1] > self.values[0]
        return sum(x < end if forward else x > end for x in self.values)

    def tensor(self, count: int, device: torch.device) -> Tensor:
        """The first ``count`` times as a tensor."""
        if self.given is not None:
            return self.given[:count]
        if self.learned is not None:
            return torch.stack(self.learned[:count])
        return torch.tensor(self.values[:count], dtype=widest(device), device=device)


def _read(t: Any, device: torch.device) -> tuple[list[float], list[Tensor] | None]:
    if isinstance(t, Tensor):
        # One transfer for all of them, before the first step.
        return _finite(t.detach().tolist()), list(t.to(device, widest(device)).unbind()) if learned(t) else None
    entries = list(t)
    values = [number(current(x) if learned(x) else x, "t") for x in entries]
    if not any(map(learned, entries)):
        return values, None
    kept = (torch.as_tensor(x, dtype=widest(device), device=device).reshape(()) for x in entries)
    return values, list(kept)


def _finite(values: list[Any]) -> list[float]:
    if wrong := [x for x in values if isinstance(x, complex) or not math.isfinite(x)]:
        raise FieldError(f"t: got {wrong[0]}, expected finite times")
    return [float(x) for x in values]


def ordered(values: Sequence[float], what: str) -> None:
    """Refuse times that neither increase nor decrease strictly."""
    pairs = list(itertools.pairwise(values))
    up = values[-1] > values[0]
    for n, (a, b) in enumerate(pairs):
        if a == b or (a < b) != up:
            raise FieldError(
                f"{what}: got {a:.15g} and then {b:.15g} at place {n + 1}, expected times that increase strictly, or "
                "decrease strictly"
            )
