"""The data sets by name: ours, and those of other packages. Adding one is a Source, and a line here or of theirs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from ..common.errors import DataError
from . import cifar, digits, imagenet
from .dataset import Dataset

#: The group of entry points by which a package brings data sets: name = module:Source.
GROUP = "odenets.data"


def nothing_to_get(data_dir: Path) -> str:
    """That a data set comes with the package that reads it."""
    del data_dir
    return "nothing to get: it comes with the package that reads it"


@dataclass(frozen=True)
class Source:
    """How a data set is loaded, and how it comes to this machine.

    Args:
        load: the data set from a folder, its files checked; DataError where they are missing or damaged.
        epochs: of its runs unless told otherwise.
        about: a line that says what it is.
        get: lays its files into a folder unless they are there, and returns a line that says so; DataError where it
            cannot, with what its user must do.
    """

    load: Callable[[Path], Dataset]
    epochs: int
    about: str = ""
    get: Callable[[Path], str] = nothing_to_get


SOURCES = {
    "digits": Source(digits.load, 20, "1,797 grey images of 8x8, 10 classes; they come with scikit-learn"),
    "cifar10": Source(
        cifar.CIFAR10.load, 160, "60,000 colour images of 32x32, 10 classes; 170 MB to fetch", cifar.CIFAR10.get
    ),
    "cifar100": Source(
        cifar.CIFAR100.load, 160, "60,000 colour images of 32x32, 100 classes; 169 MB to fetch", cifar.CIFAR100.get
    ),
    "imagenet": Source(
        imagenet.load, 90, "1.3 million photographs, 1,000 classes; 155 GB that you fetch yourself", imagenet.get
    ),
}


def plug_ins() -> dict[str, EntryPoint]:
    """The data sets of other packages, none of which is loaded; DataError where two have one name."""
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=GROUP):
        if entry.name in SOURCES or entry.name in found:
            other = package(found[entry.name]) if entry.name in found else "odenets"
            raise DataError(
                f"two data sets are called {entry.name!r}, one of {other} and one of {package(entry)}; uninstall one "
                "of these packages"
            )
        found[entry.name] = entry
    return found


def package(entry: EntryPoint) -> str:
    """Name of the package that brings an entry point."""
    return entry.dist.name if entry.dist else entry.value


def names() -> list[str]:
    """Of all data sets."""
    return [*SOURCES, *plug_ins()]


def source(name: str) -> Source:
    """The source of that name.

    Raises:
        DataError: there is none, and the known ones are listed; two have the name; a package's cannot be imported.
    """
    others = plug_ins()
    if name in SOURCES:
        return SOURCES[name]
    if name not in others:
        raise DataError(f"unknown data set {name!r}, expected one of {', '.join([*SOURCES, *others])}")
    try:
        found = others[name].load()
    except Exception as error:  # whatever a stranger's module raises, it is that package that is broken
        raise DataError(
            f"the data set {name!r} of {package(others[name])} cannot be imported ({type(error).__name__}: {error}); "
            "repair that package, or uninstall it"
        ) from error
    if not isinstance(found, Source):
        raise DataError(
            f"the data set {name!r} of {package(others[name])} is {found!r}, expected {Source.__module__}.Source"
        )
    return found


def load(name: str, data_dir: Path | str) -> Dataset:
    """The data set ``name``, its files read from ``data_dir`` and checked.

    Raises:
        DataError: an unknown name, a file that is missing, truncated or altered, or what its source loads is none.
    """
    data = source(name).load(Path(data_dir))
    if not isinstance(data, Dataset):
        raise DataError(f"the source of {name!r} loads {type(data).__name__}, which is no {Dataset.__module__}.Dataset")
    return data
