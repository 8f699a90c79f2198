"""ImageNet (Russakovsky et al. 2015) in a folder for each class, as its users lay it."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from ..common.errors import DataError
from .image_folder import ImageFolder, Part

FOLDER, TRAIN, TEST = "imagenet", "train", "val"
SUFFIXES = (".jpeg", ".jpg", ".png")
ADVICE = (
    "its images are given to who registers at https://image-net.org/download-images alone: lay those of ILSVRC 2012 "
    f"as {FOLDER}/{TRAIN}/CLASS/*.JPEG and {FOLDER}/{TEST}/CLASS/*.JPEG in the folder given by --data-dir, where CLASS "
    "is n01440764 and so on"
)


def get(data_dir: Path) -> str:
    """Says that the images are there, or how to get them.

    Raises:
        DataError: they are not there, which no command can change.
    """
    data = load(data_dir)
    return f"{data.train_size:,} training and {data.test_size:,} test images of {data.num_classes:,} classes are there"


def load(data_dir: Path) -> ImageFolder:
    """The images of ``data_dir/imagenet``, their classes in the order of their names. Their names alone are read.

    Raises:
        DataError: naming the folder that is missing, that has no image, or the file that is none.
    """
    folder = Path(data_dir) / FOLDER
    classes = classes_of(folder / TRAIN)
    if (found := classes_of(folder / TEST)) != classes:
        different = sorted(set(found) ^ set(classes))
        raise DataError(
            f"{folder / TEST} and {folder / TRAIN} have not the same classes: {different[0]} is in one of them alone, "
            f"as are {len(different) - 1} others; {ADVICE}"
        )
    return ImageFolder(part(folder / TRAIN, classes), part(folder / TEST, classes), len(classes))


def classes_of(folder: Path) -> list[str]:
    """Names of the folders in a folder, sorted; DataError where there are none."""
    found = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    if not found:
        raise DataError(f"{folder} {'has no folders of classes' if folder.is_dir() else 'is missing'}; {ADVICE}")
    return found


def part(folder: Path, classes: list[str]) -> Part:
    """Paths and labels of the images in the folders of the classes, sorted by name."""
    paths, labels = [], []
    for label, name in enumerate(classes):
        # Text, not Path: a million of those take 0.4 GB.
        names = sorted(entry for entry in os.listdir(folder / name) if not entry.startswith("."))
        if not names:
            raise DataError(f"{folder / name} has no images, expected some; {ADVICE}")
        if others := [entry for entry in names if not entry.lower().endswith(SUFFIXES)]:
            raise DataError(f"{folder / name / others[0]}: expected images {', '.join(SUFFIXES)} alone; move it away")
        paths += [os.path.join(folder, name, entry) for entry in names]
        labels += [label] * len(names)
    return Part(paths, torch.tensor(labels))
