"""The data sets by name. Adding one is a loader and a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..common.errors import DataError
from . import cifar10, digits
from .dataset import Dataset


@dataclass(frozen=True)
class Source:
    """How a data set is loaded, and how many epochs its runs have unless told otherwise."""

    load: Callable[[Path], Dataset]
    epochs: int


SOURCES = {
    "digits": Source(digits.load, epochs=20),
    "cifar10": Source(cifar10.load, epochs=160),
}


def source(name: str) -> Source:
    """The source of that name; DataError lists the known ones."""
    if name not in SOURCES:
        raise DataError(f"unknown data set {name!r}, expected one of {', '.join(SOURCES)}")
    return SOURCES[name]


def load(name: str, data_dir: Path | str) -> Dataset:
    """The data set ``name``, its files read from ``data_dir`` and checked.

    Raises:
        DataError: an unknown name, or a file that is missing, truncated or altered.
    """
    return source(name).load(Path(data_dir))
