"""Times as tensors."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

#: times that are kept, at most: half a kilobyte each
KEPT = 4096


def clock(dtype: torch.dtype, host: bool) -> Callable[[float, Tensor], Tensor]:
    """A function that makes a time a 0-dimensional tensor where x is.

    On the ``host`` it hands out the same one in the passes to come, for to make one takes as long as a small sum. Not
    where somebody has written into it or asked for its gradient, nor beside a tensor of another kind than torch's own.
    On a device a kept one would belong to the stream, or the captured graph, that has made it.
    """
    kept: dict[float, Tensor] = {}

    def made(time: float, x: Tensor) -> Tensor:
        return x.new_full((), time, dtype=dtype)

    def known(time: float, x: Tensor) -> Tensor:
        t = kept.get(time)
        if t is None or t._version or t.requires_grad or type(x) is not Tensor:
            t = made(time, x)
            if type(t) is Tensor and type(x) is Tensor and len(kept) < KEPT:
                kept[time] = t
        return t

    return known if host else made
