"""States of several tensors, as one: tuples and dictionaries are joined to a vector, and taken apart again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from ..fields import FieldError


class Packing:
    """How a state is one tensor: itself, or the entries of a tuple, list or dict one after the other.

    Raises:
        FieldError: a state that is none of these, tensors that are neither floating-point nor complex, or of different
            dtypes or devices.
    """

    def __init__(self, y0: Any) -> None:
        self.keys = tuple(y0) if isinstance(y0, Mapping) else None
        self.single = isinstance(y0, Tensor)
        parts = [y0] if self.single else self._entries(y0)
        if not parts or not all(isinstance(part, Tensor) for part in parts):
            kinds = [type(part).__name__ for part in parts]
            raise FieldError(
                f"y0: got {type(y0).__name__} of {kinds}, expected a tensor, or a tuple or dict of tensors"
            )
        for part in parts:
            if not (part.is_floating_point() or part.is_complex()):
                raise FieldError(f"y0: got {part.dtype}, expected a floating-point or complex dtype; use y0.double()")
            if (part.dtype, part.device) != (parts[0].dtype, parts[0].device):
                raise FieldError(
                    f"y0: got tensors in {part.dtype} on {part.device} and in {parts[0].dtype} on {parts[0].device}, "
                    "expected one dtype and one device"
                )
        self.shapes = [part.shape for part in parts]
        self.sizes = [prod(shape) for shape in self.shapes]

    def _entries(self, y: Any) -> list[Any]:
        if isinstance(y, Mapping):
            return [y[key] for key in self.keys or () if key in y]
        return list(y) if isinstance(y, Sequence) and not isinstance(y, str) else []

    def join(self, y: Any) -> Tensor:
        """The state as one tensor."""
        return y if self.single else torch.cat([part.reshape(-1) for part in self._entries(y)])

    def split(self, u: Tensor) -> Any:
        """The state of a tensor, which may have further dimensions in front."""
        if self.single:
            return u
        lead = u.shape[:-1]
        parts = [x.reshape((*lead, *shape)) for x, shape in zip(u.split(self.sizes, -1), self.shapes, strict=True)]
        return tuple(parts) if self.keys is None else dict(zip(self.keys, parts, strict=True))

    def joined_value(self, value: Any) -> Tensor:
        """What f has returned, as one tensor; FieldError where it is no state."""
        if self.single:
            return value
        parts = self._entries(value)
        found = [getattr(part, "shape", type(part).__name__) for part in parts]
        if found != self.shapes or (self.keys is not None and not isinstance(value, Mapping)):
            raise FieldError(
                f"f: got {type(value).__name__} of {[_shown(x) for x in found]} for a state of "
                f"{[_shown(x) for x in self.shapes]}, expected the same shapes"
            )
        return self.join(value)


def _shown(shape: Any) -> Any:
    return tuple(shape) if isinstance(shape, torch.Size) else shape
