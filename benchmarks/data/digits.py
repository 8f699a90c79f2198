"""scikit-learn's handwritten digits: 1,797 images of 8x8, for a machine with no data at all."""

from __future__ import annotations

from pathlib import Path

import torch

from .in_memory import InMemoryDataset

#: Of the 1,797 images; one of them is then 0.2 % of test error.
TEST_IMAGES = 500


def load(data_dir: Path | None = None) -> InMemoryDataset:
    """The digits with a fixed stratified split: 1,297 training and 500 test images, levels 0..16.

    They come with scikit-learn: ``data_dir`` is there because every loader takes one. Never
    mirrored: a mirrored digit is another shape. Shifted by up to one pixel in training.
    """
    # Loaded here, since it takes longer than torch, and most data sets do without.
    from sklearn.datasets import load_digits  # noqa: PLC0415
    from sklearn.model_selection import train_test_split  # noqa: PLC0415

    del data_dir
    digits = load_digits()
    images = torch.from_numpy(digits.images).to(torch.uint8).unsqueeze(1)
    labels = torch.from_numpy(digits.target).long()
    train, test = train_test_split(
        torch.arange(len(labels)).numpy(), test_size=TEST_IMAGES, stratify=digits.target, random_state=0
    )
    return InMemoryDataset(
        name="digits",
        train_images=images[train],
        train_labels=labels[train],
        test_images=images[test],
        test_labels=labels[test],
        num_classes=10,
        crop_padding=1,
        flip=False,
    )
