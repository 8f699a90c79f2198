"""ImageNet (Russakovsky et al. 2015), or any other folder of images by class, decoded on the way to the network."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..common.errors import DataError
from .ahead import Ahead
from .augmentation import standardised

#: Modes of more than 8 bits a channel: Pillow converts them to RGB by cutting off what is above 255.
WIDE = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
#: Mean and standard deviation of ImageNet's channels, as everybody takes them, of pixels in 0..1.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
#: Crops that are tried for an image, before the largest one in its middle is taken.
TRIES = 10
AREA = (0.08, 1.0)
ASPECT = (3 / 4, 4 / 3)
CPU = torch.device("cpu")


#: Left, upper, right and lower edge, in pixels.
Box = tuple[int, int, int, int]


class Crops(NamedTuple):
    """What is random about one epoch, for its N training images in the order they are used. All numbers in [0, 1).

    Numbers, not boxes, since the size of an image is not known before it is read. Not a seed for each image, from
    which a thread would draw them: making a generator takes longer than drawing these 23 numbers.

    order: (N,) int64, which image.
    tries: (N, TRIES, 2), area and aspect ratio of the crops to be tried.
    places: (N, 2), of the crop among all places it can have, across and down.
    flips: (N,) bool, whether it is mirrored.
    """

    order: Tensor
    tries: Tensor
    places: Tensor
    flips: Tensor


class Part(NamedTuple):
    """Paths of N images, and their labels (N,) int64."""

    paths: Sequence[str]
    labels: Tensor


def crop_box(size: tuple[int, int], tries: Sequence[Sequence[float]], place: Sequence[float]) -> Box:
    """The random resized crop of an image (Szegedy et al. 2015).

    A try has an area uniform in 8..100 % of the image's, and an aspect ratio log-uniform in 3/4..4/3. The first one
    that fits in is taken; if there is none, the largest centred crop of an allowed ratio.

    Args:
        size: width and height of the image.
        tries: pairs of numbers in [0, 1), for area and aspect ratio.
        place: two numbers in [0, 1), for the columns and rows that the crop can begin at.
    """
    width, height = size
    for area, aspect in tries:
        pixels = width * height * (AREA[0] + (AREA[1] - AREA[0]) * area)
        ratio = ASPECT[0] * (ASPECT[1] / ASPECT[0]) ** aspect
        w, h = round(math.sqrt(pixels * ratio)), round(math.sqrt(pixels / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, upper = int(place[0] * (width - w + 1)), int(place[1] * (height - h + 1))
            return left, upper, left + w, upper + h
    w, h = min(width, round(height * ASPECT[1])), min(height, round(width / ASPECT[0]))
    left, upper = (width - w) // 2, (height - h) // 2
    return left, upper, left + w, upper + h


def read(path: str) -> Image.Image:
    """An image as RGB, whatever it is stored as; DataError naming the file where it cannot be."""
    try:
        with Image.open(path) as image:
            if image.mode in WIDE:
                raise DataError(f"{path} has pixels of type {image.mode}, expected 8 bits a channel; convert the file")
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be decoded ({error}); get the file afresh, or delete it") from error


def centre_crop(path: str, size: int) -> Tensor:
    """A test image (size, size, 3) uint8: its shorter side resized to 8/7 of ``size``, as 256 of 224; the middle."""
    image = read(path)
    scale = size * 8 // 7 / min(image.size)
    image = image.resize([round(side * scale) for side in image.size], Image.Resampling.BILINEAR)
    left, upper = ((side - size) // 2 for side in image.size)
    return pixels(image.crop((left, upper, left + size, upper + size)))


def random_crop(path: str, size: int, tries: Tensor, place: Tensor, flip: bool) -> Tensor:
    """A training image (size, size, 3) uint8: its random resized crop, mirrored where ``flip``."""
    image = read(path)
    image = image.crop(crop_box(image.size, tries.tolist(), place.tolist()))
    image = image.resize((size, size), Image.Resampling.BILINEAR)
    return pixels(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip else image)


def pixels(image: Image.Image) -> Tensor:
    """(H, W, 3) uint8."""
    return torch.from_numpy(np.array(image))


@dataclass(frozen=True, eq=False)
class ImageFolder:
    """Labelled images in files. A batch is decoded by threads, and those that follow it while the network trains.

    What a batch holds depends on the plan of the epoch alone, not on the threads.

    Args:
        train, test: paths and labels.
        num_classes: labels are 0..num_classes-1.
        size: pixels of a side of what the network sees.
        device: where batches are handed over.
        threads: that decode; by default as many as the machine has cores.
    """

    train: Part = field(repr=False)
    test: Part = field(repr=False)
    num_classes: int
    size: int = 224
    device: torch.device = CPU
    threads: int | None = None
    _ahead: Ahead = field(init=False, repr=False)
    in_channels = 3

    def __post_init__(self) -> None:
        object.__setattr__(self, "_ahead", Ahead(self.threads))

    @property
    def train_size(self) -> int:
        """Training images."""
        return len(self.train.paths)

    @property
    def test_size(self) -> int:
        """Test images."""
        return len(self.test.paths)

    @cached_property
    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the channels, each (1, 3, 1, 1) float32, in pixel levels."""
        mean, std = (255 * torch.tensor(values, device=self.device).view(1, 3, 1, 1) for values in (MEAN, STD))
        return mean, std

    def draw(self, random: torch.Generator) -> Crops:
        """The plan of an epoch; it stays on the CPU, where images are decoded. 124 MB for ImageNet."""
        count = self.train_size
        order = torch.randperm(count, generator=random)
        tries, places = (torch.rand(shape, generator=random) for shape in ((count, TRIES, 2), (count, 2)))
        return Crops(order, tries, places, torch.rand(count, generator=random) < 0.5)

    def batch(self, plan: Crops, chosen: slice) -> tuple[Tensor, Tensor]:
        """Training images (B, 3, size, size) float32, normalised and augmented, and labels (B,) of a slice of the plan.

        Raises:
            DataError: naming a file that is no image.
        """
        wanted = range(self.train_size)[chosen]
        images = self._ahead.take(plan, partial(self._training_image, plan), wanted, self.train_size)
        return self._handed_over(images, self.train.labels[plan.order[chosen]])

    def test_batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All test images and labels in their order, normalised; the last batch may be smaller."""
        for start in range(0, self.test_size, size):
            wanted = range(start, min(start + size, self.test_size))
            images = self._ahead.take(self.test, self._test_image, wanted, self.test_size)
            yield self._handed_over(images, self.test.labels[start : wanted.stop])

    def to(self, device: torch.device) -> ImageFolder:
        """The same data with its batches on another device."""
        return replace(self, device=device)

    def _training_image(self, plan: Crops, i: int) -> Tensor:
        path = self.train.paths[int(plan.order[i])]
        return random_crop(path, self.size, plan.tries[i], plan.places[i], bool(plan.flips[i]))

    def _test_image(self, i: int) -> Tensor:
        return centre_crop(self.test.paths[i], self.size)

    def _handed_over(self, decoded: list[Tensor], labels: Tensor) -> tuple[Tensor, Tensor]:
        """On the device. From pinned memory the copy is one that nobody waits for; as uint8 it is a quarter."""
        parts = [torch.stack(decoded).permute(0, 3, 1, 2), labels]
        if self.device.type == "cuda":
            parts = [part.pin_memory() for part in parts]
        images, labels = (part.to(self.device, non_blocking=True) for part in parts)
        return standardised(images, *self.statistics), labels
