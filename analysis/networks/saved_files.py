"""Reading what networks are saved in: files that may be damaged."""

from __future__ import annotations

import pickle
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from odenets import OdenetsError

#: What reading a damaged archive raises, depending on the byte.
DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    LookupError,
    TypeError,
    ValueError,
    OSError,
)


def read(path: Path, load: Callable[[], Any], expected: str) -> Any:
    """What ``load`` makes of the file.

    Raises:
        OdenetsError: a file that is missing, damaged, or no ``expected``.
    """
    if not path.is_file():
        raise OdenetsError(f"got the file {str(path)!r}, which does not exist, expected {expected}")
    try:
        return load()
    except DAMAGE as error:
        # torch explains a refused pickle at length, with what must not be done.
        refused = isinstance(error, pickle.UnpicklingError)
        reason = "it holds more than tensors; save the state_dict" if refused else str(error).split("\n", 1)[0]
        raise OdenetsError(
            f"{path}: got a file that cannot be read as {expected} ({type(error).__name__}: {reason})"
        ) from error
