"""What the studies of a folder name, and is not finished there."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ...common.errors import ResultError
from .. import result, run_checkpoint
from ..standing import FAILURE


@dataclass(frozen=True)
class Missing:
    """A run without a result: its name, and where it stands (failed, and why; begun; waiting)."""

    run: str
    standing: str


@dataclass(frozen=True)
class Named:
    """What a study's file in the folder says: its name and title, how many runs, and those without a result."""

    name: str
    title: str
    runs: int
    missing: tuple[Missing, ...]


def studies(out: Path) -> list[Named]:
    """The studies that were begun in a folder, by ``study-NAME.json``.

    Raises:
        ResultError: such a file is damaged.
    """
    return [_study(path) for path in sorted(out.glob("study-*.json"))]


def _study(path: Path) -> Named:
    try:
        values = json.loads(path.read_bytes())
        name, title, names = values["name"], values["title"], [run["name"] for run in values["runs"]]
        if not all(isinstance(text, str) for text in (name, title, *names)):
            raise TypeError("a name is no text")
    except (ValueError, TypeError, LookupError) as error:
        raise ResultError(f"{path} names no study ({error}); run the study again, which writes it") from error
    return Named(name, title, len(names), tuple(_missing(path.parent, names)))


def _missing(out: Path, names: Iterable[str]) -> Iterable[Missing]:
    for name in names:
        directory = out / name
        if not (directory / result.NAME).exists():
            yield Missing(name, _standing(directory))


def _standing(directory: Path) -> str:
    """By the files alone: a checkpoint is read by ``status``, and may be replaced at any time."""
    if (directory / FAILURE).exists():
        return f"failed: {(directory / FAILURE).read_text(encoding='utf-8').strip()}"
    return "begun" if (directory / run_checkpoint.NAME).exists() else "waiting"
