"""What an adaptive solve knows of each sample of a batch: a tensor with a row for each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .step import Span

#: numbers of a row from which torch's threads may share its sum, as its grain size is
SHARED = 2**15


@dataclass
class Samples:
    """Samples between two steps; all tensors have a row for each.

    Args:
        sample: which of the batch it is.
        t, u, slope: where it is, and f there.
        to, h: where the next step leads, and the size that was chosen for it.
        most: which its size does not exceed: after a rejected step that one's.
        norm: error norm of the last step that was tried, infinite where it was not finite, NaN where implicit stages
            were not found.
        past: sizes of the last accepted steps, as many as the controller looks back at (:meth:`StepControl.past`).
        accepted, smallest, largest: as in :class:`Stats`.
        extra: evaluations besides those of the steps that are tried.
        reached: how many of the times asked for inside it has passed.
        g: values of the events' functions there, of shape (n, events).
        until: the time of the event that has ended it, or infinity in the direction of time.
    """

    sample: Tensor
    t: Tensor
    u: Tensor
    slope: Tensor
    to: Tensor
    h: Tensor
    most: Tensor
    norm: Tensor
    past: tuple[Tensor, ...]
    accepted: Tensor
    smallest: Tensor
    largest: Tensor
    extra: Tensor
    reached: Tensor
    g: Tensor
    until: Tensor

    def rows(self, index: Tensor) -> Samples:
        """Some of them."""
        found: dict[str, Any] = {
            name: tuple(x.index_select(0, index) for x in value) if name == "past" else value.index_select(0, index)
            for name, value in vars(self).items()
        }
        return Samples(**found)


def column(x: Tensor, like: Tensor) -> Tensor:
    """A number for each sample as a tensor that broadcasts to its state."""
    return x.view(-1, *(1,) * (like.dim() - 1))


def row_norms(x: Tensor) -> Tensor:
    """The root mean square of each row, of shape (n,); to the bit what it is of a row alone.

    torch adds in an order that depends on how many rows there are: on an accelerator, and on a CPU where threads share
    a row. There halves are added to each other.
    """
    rows, width = x.shape[0], max(1, x[0].numel())
    parts = (torch.view_as_real(x) if x.is_complex() else x).reshape(rows, -1)
    if x.is_cpu and width < SHARED:
        return torch.linalg.vector_norm(parts, dim=1) / math.sqrt(width)
    return (_halved(parts * parts) / width).sqrt()


def _halved(parts: Tensor) -> Tensor:
    """The sum of each row."""
    while (half := parts.shape[1] // 2) > 0:
        odd = parts[:, 2 * half :]
        parts = parts[:, :half] + parts[:, half : 2 * half]
        if odd.shape[1]:
            parts[:, :1] += odd
    return parts.sum(1)


class Spans(Span):
    """The interval of each sample's step: ends are tensors of shape (n, 1, ..., 1).

    The program is that of h = 1, and its functions' values are multiplied by the step sizes.
    """

    start: Any
    stop: Any
    h: Any

    def __init__(self, start: Tensor, stop: Tensor) -> None:
        super().__init__(start, stop)  # type: ignore[arg-type]
        self.unit = 1.0

    @property
    def sizes(self) -> Tensor:
        """Absolute step sizes, of shape (n,)."""
        found: Tensor = self.h.abs().reshape(-1)
        return found

    def time(self, node: float) -> Any:
        """Start + node h."""
        return torch.add(self.start, self.h, alpha=node) if 0 < node < 1 else super().time(node)

    def stretch(self, u: Tensor) -> Tensor:
        """The step sizes."""
        return self.h.to(u.real.dtype)

    def rows(self, index: Tensor) -> Spans:
        """Those of some samples."""
        return Spans(self.start.index_select(0, index), self.stop.index_select(0, index))
