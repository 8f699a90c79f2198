"""Files that are whole or absent, and a lock that ends with its process."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock

from .errors import LockedError

PARTIAL = ".partial"


def write_atomic(path: Path, content: bytes | memoryview) -> None:
    """Writes a file so that a reader, a second writer or a crash never meets half of it.

    The temporary name holds the process id: two processes may write the same report.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Atomic strict JSON: raises ValueError on NaN and infinity, which JSON does not have."""
    write_atomic(path, (json.dumps(values, indent=1, allow_nan=False) + "\n").encode())


@contextmanager
def exclusive(directory: Path) -> Iterator[None]:
    """Makes ``directory`` and keeps every other process out of it; a killed process lets go by itself.

    Also removes what a killed process had half written.

    Raises:
        LockedError: another process is in it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(directory / "lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise LockedError(f"{directory} is being trained by another process; wait for it to end") from error
    try:
        for left in directory.glob(f".*{PARTIAL}"):
            left.unlink()
        yield
    finally:
        lock.release()
