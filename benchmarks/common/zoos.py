"""Model zoos that are built for another torch: torchvision, whose wheels expect CUDA, on a CPU-only torch."""

from __future__ import annotations

import importlib
import importlib.util
from functools import lru_cache
from pathlib import Path
from types import ModuleType

import torch

#: operators whose Python side torchvision registers when it is imported, as its C++ library declares them
DECLARED = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def torchvision() -> ModuleType:
    """The package torchvision, importable though its compiled operators are not.

    Its wheels link to CUDA. On a CPU-only torch the library is not found, which torchvision takes note of, and then
    fails all the same where it registers shapes for ``torchvision::nms``. So the two operators are declared first, by
    the public ``torch.library``. They stay without a kernel: models, datasets and transforms work, and
    ``torchvision.ops.nms`` raises torchvision's own error. Where the library loads nothing is declared.
    timm imports torchvision, so call this before importing timm.

    Raises:
        ImportError: torchvision is not installed, or cannot be imported for another reason.
    """
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        raise ImportError("torchvision is not installed")
    if not _loads(Path(spec.origin).parent):
        _declared()
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        raise ImportError(f"torchvision cannot be imported: {error}") from error


def _loads(folder: Path) -> bool:
    """Whether the compiled operators can be loaded; that they are already is fine."""
    for library in folder.glob("_C.*"):
        try:
            torch.ops.load_library(str(library))
        except OSError:
            return False
        return True
    return False


@lru_cache(maxsize=1)
def _declared() -> torch.library.Library:
    """The declarations, which hold for as long as this object is there."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in DECLARED:
        if not hasattr(torch.ops.torchvision, schema.partition("(")[0]):
            library.define(schema)
    return library
