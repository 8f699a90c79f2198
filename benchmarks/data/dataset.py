"""What the trainer uses of a data set, whether it lies in memory or is read on the way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from ..common.errors import DataError


@runtime_checkable
class Dataset(Protocol):
    """Labelled images for training and testing.

    What is random about training images is drawn for a whole epoch by ``draw``, and ``batch`` is a function of that
    plan: a run resumes at any step with the same bits, and several processes may share an epoch.
    """

    @property
    def num_classes(self) -> int:
        """Labels are 0..num_classes-1."""

    @property
    def in_channels(self) -> int:
        """Channels of an image."""

    @property
    def train_size(self) -> int:
        """Training images."""

    @property
    def test_size(self) -> int:
        """Test images."""

    @property
    def device(self) -> torch.device:
        """Where batches are."""

    def draw(self, random: torch.Generator) -> Any:
        """The plan of an epoch: the order of the training images and how each is augmented."""

    def batch(self, plan: Any, chosen: slice) -> tuple[Tensor, Tensor]:
        """Training images (B, C, H, W) float32, normalised and augmented, and labels (B,) int64 of a slice of it."""

    def test_batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All test images and labels in their order, normalised; the last batch may be smaller."""

    def to(self, device: torch.device) -> Dataset:
        """The same data with its batches on another device."""


def check_labels(labels: Tensor, num_classes: int, source: str) -> None:
    """Raises DataError naming the first record of ``labels`` (N,) that is not in 0..num_classes-1."""
    outside = ((labels < 0) | (labels >= num_classes)).nonzero().flatten()
    if len(outside):
        first = int(outside[0])
        raise DataError(
            f"{source}: label of record {first} is {int(labels[first])}, expected 0..{num_classes - 1}; "
            f"{len(outside)} of {len(labels)} labels are out of range, get the data afresh"
        )
