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

    Args:
        y0: the state.
        samples: whether the first dimension is that of samples, which is kept: a row for each.

    Raises:
        FieldError: a state that is none of these, tensors that are neither floating-point nor complex, or of different
            dtypes or devices; samples that are none.
    """

    def __init__(self, y0: Any, samples: bool = False) -> None:
        self.lead = int(samples)
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
        if samples:
            self._check_samples([part.shape for part in parts])
        self.dims = parts[0].dim()
        self.shapes = [part.shape[self.lead :] for part in parts]
        self.sizes = [prod(shape) for shape in self.shapes]

    @staticmethod
    def _check_samples(shapes: list[torch.Size]) -> None:
        alike = {(len(shape), *shape[:1]) for shape in shapes}
        if len(alike) > 1 or not shapes[0] or not shapes[0][0]:
            raise FieldError(
                f"per_sample: got a state of shapes {list(map(_shown, shapes))}, expected a first dimension of samples "
                "in all of them, at least one, and as many dimensions in each, to which a time for each sample "
                "broadcasts; use unsqueeze(-1)"
            )

    def _entries(self, y: Any) -> list[Any]:
        if isinstance(y, Mapping):
            return [y[key] for key in self.keys or () if key in y]
        return list(y) if isinstance(y, Sequence) and not isinstance(y, str) else []

    def join(self, y: Any) -> Tensor:
        """The state as one tensor."""
        if self.single:
            return y
        entries = zip(self._entries(y), self.sizes, strict=True)
        return torch.cat([part.reshape((*part.shape[: self.lead], size)) for part, size in entries], -1)

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
        rows = found[0][: self.lead] if found and isinstance(found[0], torch.Size) else ()
        if found != [(*rows, *shape) for shape in self.shapes] or (
            self.keys is not None and not isinstance(value, Mapping)
        ):
            raise FieldError(
                f"f: got {type(value).__name__} of {[_shown(x) for x in found]} for a state of "
                f"{[_shown(x) for x in self.shapes]}, expected the same shapes"
            )
        return self.join(value)


def _shown(shape: Any) -> Any:
    return tuple(shape) if isinstance(shape, torch.Size) else shape
