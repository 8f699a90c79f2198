"""What formulas of step sizes are written in: one text for a number and for a tensor with a number for each sample."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


def least(x: Any, y: Any) -> Any:
    """The smaller one; NaN in a tensor stays."""
    if isinstance(x, Tensor):
        return torch.minimum(x, y) if isinstance(y, Tensor) else x.clamp(max=y)
    return y.clamp(max=x) if isinstance(y, Tensor) else min(x, y)


def most(x: Any, y: Any) -> Any:
    """The larger one; NaN in a tensor stays."""
    if isinstance(x, Tensor):
        return torch.maximum(x, y) if isinstance(y, Tensor) else x.clamp(min=y)
    return y.clamp(min=x) if isinstance(y, Tensor) else max(x, y)


def within(x: Any, low: float, high: float) -> Any:
    """The nearest one in [low, high]; NaN in a tensor stays, for a number it is ``low``."""
    return x.clamp(low, high) if isinstance(x, Tensor) else min(high, max(low, x))


def choose(condition: Any, x: Any, y: Any) -> Any:
    """The one or the other; both are computed."""
    return torch.where(condition, x, y) if isinstance(condition, Tensor) else x if condition else y


def hypotenuse(x: Any, y: Any) -> Any:
    """sqrt(x^2 + y^2), which is not infinite where the squares are."""
    return torch.hypot(x, y) if isinstance(x, Tensor) else math.hypot(x, y)


def power(x: Any, exponent: float) -> Any:
    """x^exponent of x at least 0; 0 to a negative one is infinite."""
    if isinstance(x, Tensor):
        # Not torch.pow, whose last digit depends on where in a tensor a number stands: vectors of numbers, and what is
        # left of them, take other ways on a CPU.
        return torch.exp(torch.log(x) * exponent)
    return x**exponent if x else math.inf
