"""Order of the data and random crops and flips, drawn for a whole epoch, applied to whole batches."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


class Plan(NamedTuple):
    """What is random about one epoch, for its N training images in the order they are used.

    order: (N,) int64, which image.
    corners: (N, 2) int64, row and column of the crop in the padded image, 0..2 padding.
    flips: (N,) bool, whether it is mirrored.
    """

    order: Tensor
    corners: Tensor
    flips: Tensor


def generator(seed: int, epoch: int) -> torch.Generator:
    """A CPU generator for one epoch of one run; neighbouring seeds and epochs give unrelated streams.

    Seeding by (seed, epoch) rather than saving a state: an epoch can be drawn again without
    those before it, so a run resumes at any step.
    """
    state = np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))


def standardised(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Images (B, C, H, W) uint8 as float32, less the mean and over the deviation, each (1, C, 1, 1) in pixel levels."""
    return (images.float() - mean).div_(std)


def crop_and_flip(images: Tensor, corners: Tensor, flips: Tensor, padding: int) -> Tensor:
    """Each image padded with zeros, cut back to its size at its corner, then mirrored where ``flips``.

    One gather for the batch: a loop over images would launch as many kernels as there are images.

    Args:
        images: (B, C, H, W).
        corners: (B, 2) row and column in the padded image.
        flips: (B,) bool.
        padding: pixels on each side.
    """
    batch, channels, height, width = images.shape
    device = images.device
    across = torch.arange(width, device=device).expand(batch, -1)
    columns = corners[:, 1:] + torch.where(flips[:, None], width - 1 - across, across)
    rows = corners[:, :1] + torch.arange(height, device=device)
    return functional.pad(images, [padding] * 4)[
        torch.arange(batch, device=device)[:, None, None, None],
        torch.arange(channels, device=device)[:, None, None],
        rows[:, None, :, None],
        columns[:, None, None, :],
    ]
