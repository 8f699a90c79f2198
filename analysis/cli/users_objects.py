"""What a user names on the command line: an object in a module, or in a file."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

from odenets import OdenetsError


def imported(place: str, name: str, given: str, expected: str) -> Any:
    """The object of that name, dots allowed, in a module or a .py file.

    Raises:
        OdenetsError: it cannot be imported; the message says why.
    """
    if not (place and name):
        raise OdenetsError(f"got {given!r}, expected {expected}")
    if os.getcwd() not in sys.path:
        # As python -m does for its modules: a file beside the user. Last, so that it stands before no other module.
        sys.path.append(os.getcwd())
    try:
        found: Any = _from_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
        for part in name.split("."):
            found = getattr(found, part)
    except Exception as error:
        raise OdenetsError(
            f"got {given!r}, expected a name that can be imported: {type(error).__name__}: {error}"
        ) from error
    return found


def _from_file(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
