"""The tensor operations that a step is written in: the generated code of :mod:`.code` has these names."""

from __future__ import annotations

import torch
from torch import Tensor, add, lerp as lerp_alike
from torch.autograd import forward_ad

__all__ = ["add", "add_product", "add_to", "lerp", "scale"]


def add_to(acc: Tensor, xs: tuple[Tensor, ...], cs: tuple[float, ...]) -> Tensor:
    """Acc + c_1 x_1 + c_2 x_2 + ..., into acc, which is nobody else's: a fresh buffer that a function has gone into."""
    # In place would keep a low-precision function's dtype where the state has a higher one. And torch.func.linearize,
    # which runs in a dual level, takes for leaves the sums that do not depend on a tangent.
    dtype = acc.dtype if forward_ad._current_level < 0 else None
    for x, c in zip(xs, cs):  # noqa: B905 - strict takes as long as a product
        if x.dtype is not dtype:
            acc = add(acc, x, alpha=c)
            dtype = dtype and acc.dtype
        elif c == 1:
            acc.add_(x)
        else:
            acc.add_(x, alpha=c)
    return acc


def add_product(acc: Tensor, x: Tensor, c: Tensor) -> Tensor:
    """Acc + c x, of a learned c. Never in place: under vmap over the coefficients acc may not be batched."""
    return torch.addcmul(acc, x, _like(c, x))


def scale(x: Tensor, c: float | Tensor) -> Tensor:
    """The product c x."""
    return x * (_like(c, x) if isinstance(c, Tensor) else c)


def lerp(x: Tensor, y: Tensor, c: float | Tensor) -> Tensor:
    """(1 - c) x + c y."""
    dtype = x.dtype
    if y.dtype is dtype is getattr(c, "dtype", dtype):
        return lerp_alike(x, y, c)
    if y.dtype is not dtype:  # a float32 seed beside a bf16 function; lerp, unlike add, does not promote
        common = torch.promote_types(x.dtype, y.dtype)
        x, y = x.to(common), y.to(common)
    return torch.lerp(x, y, _like(c, x) if isinstance(c, Tensor) else c)


def _like(coefficient: Tensor, x: Tensor) -> Tensor:
    # Under autocast the state is bf16 and the Parameter float32; a (C, 1, 1) one would promote the sum.
    return coefficient if coefficient.dtype is x.dtype else coefficient.to(x.dtype)
