"""The tensor operations that a step is written in: the generated code of :mod:`.code` has these names."""

from __future__ import annotations

import torch
from torch import Tensor, add
from torch.autograd import forward_ad

__all__ = ["add", "add_product", "add_to", "lerp", "scale"]


def add_to(acc: Tensor, x: Tensor, c: float = 1.0) -> Tensor:
    """Acc + c x, into acc, which is nobody else's: a fresh buffer that a function has gone into."""
    # In place would keep a low-precision function's dtype where the state has a higher one. And torch.func.linearize,
    # which runs in a dual level, takes for leaves the sums that do not depend on a tangent.
    if acc.dtype is x.dtype and forward_ad._current_level < 0:
        return acc.add_(x) if c == 1 else acc.add_(x, alpha=c)
    return add(acc, x, alpha=c)


def add_product(acc: Tensor, x: Tensor, c: Tensor) -> Tensor:
    """Acc + c x, of a learned c. Never in place: under vmap over the coefficients acc may not be batched."""
    return torch.addcmul(acc, x, _like(c, x))


def scale(x: Tensor, c: float | Tensor) -> Tensor:
    """The product c x."""
    return x * (_like(c, x) if isinstance(c, Tensor) else c)


def lerp(x: Tensor, y: Tensor, c: float | Tensor) -> Tensor:
    """(1 - c) x + c y."""
    if x.dtype is not y.dtype:  # a float32 seed beside a bf16 function; lerp, unlike add, does not promote
        common = torch.promote_types(x.dtype, y.dtype)
        x, y = x.to(common), y.to(common)
    return torch.lerp(x, y, _like(c, x) if isinstance(c, Tensor) else c)


def _like(coefficient: Tensor, x: Tensor) -> Tensor:
    # Under autocast the state is bf16 and the Parameter float32; a (C, 1, 1) one would promote the sum.
    return coefficient if coefficient.dtype is x.dtype else coefficient.to(x.dtype)
