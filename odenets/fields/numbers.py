"""Numbers that a user gives, and tensors that are to be learned in their place."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..scheme.given_numbers import real
from .errors import FieldError

Kind = TypeVar("Kind", bound=Tensor)


def number(value: Any, what: str) -> float:
    """A finite number as a Python float; FieldError for what is none, a bool or text among it."""
    return real(value, what, FieldError)


def learned(value: Any) -> bool:
    """Whether it is to get a gradient: an nn.Parameter, or a tensor that requires one."""
    return isinstance(value, nn.Parameter) or (isinstance(value, Tensor) and value.requires_grad)


def current(value: float | Tensor) -> float:
    """A number, or what a tensor in its place is now."""
    return float(value.detach()) if isinstance(value, Tensor) else value


def checked(value: Kind, what: str) -> Kind:
    """A tensor that is to be learned in the place of a number; FieldError where it is not a single finite one."""
    if value.numel() != 1 or not value.is_floating_point():
        raise FieldError(
            f"{what}: got a tensor of shape {tuple(value.shape)} in {value.dtype} that is to be learned, expected one "
            "real number"
        )
    number(value.detach().item(), what)
    return value


def widest(device: torch.device) -> torch.dtype:
    """The floating-point dtype of most digits that a device has."""
    return torch.float32 if device.type == "mps" else torch.float64
