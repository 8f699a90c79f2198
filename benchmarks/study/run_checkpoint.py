"""Checkpoints: written whole, read with every byte checked."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import torch

from odenets.analysis.networks.saved_files import DAMAGE

from ..common.errors import CheckpointError
from ..common.files import Check, anyone, write_atomic
from .config import RunConfig

NAME = "checkpoint.pt"


def save(path: Path, config: RunConfig, content: dict[str, Any], check: Check = anyone) -> None:
    """Writes ``content`` (tensors and plain values) with the run it belongs to, atomically."""
    write_tensors(path, {"config": config.to_dict(), **content}, check)


def write_tensors(path: Path, content: dict[str, Any], check: Check = anyone) -> None:
    """Atomic torch.save."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomic(path, buffer.getbuffer(), check)


def read(path: Path, config: RunConfig, expected: frozenset[str]) -> dict[str, Any]:
    """The content of a checkpoint, on the CPU.

    Args:
        path: of the file.
        config: the run it must belong to.
        expected: names the content must have.

    Raises:
        CheckpointError: the file is damaged, or another run's.
    """
    content = _load(path)
    if not isinstance(content, dict) or set(content) != expected | {"config"}:
        raise CheckpointError(f"{path} is not a checkpoint of this benchmark; delete it to start the run again")
    if content.pop("config") != config.to_dict():
        raise CheckpointError(f"{path} belongs to another run than {config.name}; delete it to start the run again")
    return content


def _load(path: Path) -> Any:
    """torch.load after a check of the archive's CRCs, which torch.load does not look at: it would train on."""
    buffer = io.BytesIO(path.read_bytes())  # so that an OSError below is the archive's, not the disk's
    try:
        with zipfile.ZipFile(buffer) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"bad CRC of {damaged}")
        buffer.seek(0)
        return torch.load(buffer, map_location="cpu", weights_only=True)
    except DAMAGE as error:
        reason = str(error).partition("\n")[0]
        raise CheckpointError(f"{path} is damaged ({reason}); delete it to start the run again") from error
