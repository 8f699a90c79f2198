"""What a check finds, and how far it may be from what it is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ..common.errors import BenchmarkError

#: A check's findings; more than it may be raises BenchmarkError.
Found = dict[str, Any]


def difference(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """The largest difference of a tensor from the expected one, relative to that one's largest entry."""
    pairs = zip(found, expected, strict=True)
    return max(float((a.cpu() - b.cpu()).abs().max() / b.abs().max().cpu().clamp_min(1e-30)) for a, b in pairs)


def within(limit: float, found: Found) -> Found:
    """The findings, by name; BenchmarkError that names those beyond the limit (or not numbers)."""
    if far := {name: value for name, value in found.items() if not value <= limit}:
        raise BenchmarkError(f"{far} of {len(found)}, expected at most {limit:g}")
    return {"worst": max(found.values()), "limit": limit, **found}
