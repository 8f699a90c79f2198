"""Files that are whole or absent."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

PARTIAL = ".partial"
#: Raises an error unless this process may still write.
Check = Callable[[], None]


def anyone() -> None:
    """Where no lock says who may write."""


def write_atomic(path: Path, content: bytes | memoryview, check: Check = anyone) -> None:
    """Writes a file so that a reader, a second writer or a crash never meets half of it.

    The temporary name holds machine and process: two may write the same report. ``check`` raises an error if this
    process may not write there any more, and is asked as late as can be.
    """
    partial = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}{PARTIAL}")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        check()
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, values: dict[str, Any], check: Check = anyone) -> None:
    """Atomic strict JSON: raises ValueError on NaN and infinity, which JSON does not have."""
    write_atomic(path, (json.dumps(values, indent=1, allow_nan=False) + "\n").encode(), check)
