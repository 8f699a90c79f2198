"""Archives on the web: fetched, checked and unpacked as a whole, or not at all."""

from __future__ import annotations

import os
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.error import URLError

import torch

from ..common.errors import DataError


@dataclass(frozen=True)
class Archive:
    """A tar file on the web that holds one folder.

    Args:
        url: where it is.
        sha256: of the file.
        folder: name of what is in it.
    """

    url: str
    sha256: str
    folder: str

    def get(self, data_dir: Path, check: Callable[[Path], object]) -> Path:
        """Lays the folder into ``data_dir``, unless it is there; returns where it is.

        All is done in a temporary folder beside it, and the last step is to rename: who interrupts it finds nothing.

        Args:
            data_dir: made if it is not there.
            check: raises DataError if what is in a folder like ``data_dir`` is damaged.

        Raises:
            DataError: no network, another file than expected, a folder that cannot be written to, damaged data.
        """
        target = data_dir / self.folder
        if target.exists():
            check(data_dir)
            return target
        try:
            data_dir.mkdir(parents=True, exist_ok=True)
            temporary = TemporaryDirectory(dir=data_dir, prefix=f".{self.folder}.")
        except OSError as error:
            raise DataError(
                f"{data_dir} cannot be written to ({error.strerror}); give another folder by --data-dir"
            ) from error
        with temporary:
            partial = Path(temporary.name)
            self._unpack(partial)
            check(partial)
            os.replace(partial / self.folder, target)
        return target

    def _unpack(self, into: Path) -> None:
        path, by_hand = into / "archive", f"unpack it here: tar -xf FILE -C {into.parent}"
        if not hasattr(tarfile, "data_filter"):
            raise DataError(
                f"this version of Python would let an archive write anywhere; take 3.10.12, 3.11.4 or a later one, or "
                f"fetch {self.url} by hand and {by_hand}"
            )
        try:
            torch.hub.download_url_to_file(self.url, str(path), self.sha256, progress=sys.stderr.isatty())
            with tarfile.open(path) as archive:
                archive.extractall(into, filter="data")
        except (URLError, HTTPException, ConnectionError, TimeoutError) as error:
            raise DataError(
                f"{self.url} cannot be fetched ({getattr(error, 'reason', error)}); try again, or fetch it where there "
                f"is a network and {by_hand}"
            ) from error
        except RuntimeError as error:
            raise DataError(f"{self.url} is not the file it was: {error}; try again") from error
        except tarfile.TarError as error:
            raise DataError(f"{self.url} cannot be unpacked ({str(error).splitlines()[0]})") from error
