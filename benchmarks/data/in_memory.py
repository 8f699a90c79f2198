"""A data set that lies in memory: images and labels as whole tensors, checked when made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from ..common.errors import DataError
from .augmentation import Plan, crop_and_flip, standardised
from .dataset import check_labels

#: Levels a uint8 pixel can have.
LEVELS = 256


def check_part(images: Tensor, labels: Tensor, num_classes: int, source: str) -> None:
    """Raises DataError unless images are (N, C, H, W) uint8 with N > 0 labels in range beside them."""
    if images.ndim != 4 or images.dtype != torch.uint8 or not len(images):
        raise DataError(f"{source}: got images {tuple(images.shape)} {images.dtype}, expected (N, C, H, W) torch.uint8")
    if labels.shape != images.shape[:1] or labels.dtype != torch.int64:
        raise DataError(
            f"{source}: got labels {tuple(labels.shape)} {labels.dtype}, expected ({len(images)},) torch.int64"
        )
    check_labels(labels, num_classes, source)


@dataclass(frozen=True, eq=False)
class InMemoryDataset:
    """Training and test images, (N, C, H, W) uint8, with labels (N,) int64, all on one device.

    uint8 is a quarter of float32: the whole training set stays on the device and a batch is
    converted when it is used.

    Args:
        name: how the command line and the results call it.
        num_classes: labels are 0..num_classes-1.
        crop_padding: pixels of padding for the random crop of training images; 0 for none.
        flip: whether training images are mirrored horizontally at random.

    Raises:
        DataError: shapes, types or labels do not fit.
    """

    name: str
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    num_classes: int
    crop_padding: int
    flip: bool

    def __post_init__(self) -> None:
        check_part(self.train_images, self.train_labels, self.num_classes, f"{self.name} training set")
        check_part(self.test_images, self.test_labels, self.num_classes, f"{self.name} test set")
        if self.train_images.shape[1:] != self.test_images.shape[1:]:
            raise DataError(
                f"{self.name}: training images are {tuple(self.train_images.shape[1:])}, test images "
                f"{tuple(self.test_images.shape[1:])}, expected the same"
            )

    @property
    def in_channels(self) -> int:
        """Channels of an image."""
        return int(self.train_images.shape[1])

    @property
    def train_size(self) -> int:
        """Training images."""
        return len(self.train_labels)

    @property
    def test_size(self) -> int:
        """Test images."""
        return len(self.test_labels)

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.train_images.device

    @cached_property
    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the training pixels, each (1, C, 1, 1) float32, in pixel levels.

        From the exact histogram of each channel: converting 50,000 images to float64 for it
        would take 1.2 GB.
        """
        channels = self.train_images.transpose(0, 1).flatten(1).cpu()
        levels = torch.arange(LEVELS, dtype=torch.float64)
        weights = torch.stack([torch.bincount(channel, minlength=LEVELS) for channel in channels]).double()
        weights /= channels.shape[1]
        mean = weights @ levels
        std = (weights @ levels.square() - mean.square()).sqrt()
        return self._per_channel(mean), self._per_channel(std)

    def _per_channel(self, values: Tensor) -> Tensor:
        return values.float().view(1, -1, 1, 1).to(self.device)

    def normalised(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) uint8 as float32 with the training set's mean 0 and deviation 1 per channel."""
        return standardised(images, *self.statistics)

    def draw(self, random: torch.Generator) -> Plan:
        """The plan of an epoch, on the device of the data: three copies an epoch, none a step."""
        count = self.train_size
        order = torch.randperm(count, generator=random)
        corners = torch.randint(0, 2 * self.crop_padding + 1, (count, 2), generator=random)
        flips = torch.rand(count, generator=random) < 0.5 if self.flip else torch.zeros(count, dtype=torch.bool)
        return Plan(*(part.to(self.device) for part in (order, corners, flips)))

    def batch(self, plan: Plan, chosen: slice | Tensor) -> tuple[Tensor, Tensor]:
        """Training images (B, C, H, W) float32, normalised and augmented, and labels (B,) of a slice of the plan.

        Or of places in it, (B,) int64: on the device they need not be known to the host.

        Padding comes after normalising, so it has the value of the mean, as in the paper's code.
        """
        order, corners, flips = (part[chosen] for part in plan)
        images = self.normalised(self.train_images[order])
        if self.crop_padding or self.flip:
            images = crop_and_flip(images, corners, flips, self.crop_padding)
        return images, self.train_labels[order]

    def test_batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All test images and labels in their order, normalised; the last batch may be smaller."""
        for images, labels in zip(self.test_images.split(size), self.test_labels.split(size), strict=True):
            yield self.normalised(images), labels

    def to(self, device: torch.device) -> InMemoryDataset:
        """The same data on another device."""
        parts = ("train_images", "train_labels", "test_images", "test_labels")
        return replace(self, **{part: getattr(self, part).to(device) for part in parts})
