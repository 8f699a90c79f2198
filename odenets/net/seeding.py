"""What a scheme carries at the very start: multiples of the components of the state and of h f."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..fields import FieldError
from ..program.step import State
from ..scheme import Scheme


def split(scheme: Scheme, u: Tensor) -> State:
    """The components of the state: u itself, or its equal parts along dimension 1 (channels, features)."""
    if scheme.components == 1:
        return (u,)
    if u.dim() < 2 or u.shape[1] % scheme.components:
        raise FieldError(
            f"{scheme.name}: got a state of shape {tuple(u.shape)}, expected {scheme.components} equal parts along "
            "dimension 1 (channels or features)"
        )
    return u.chunk(scheme.components, 1)


def seed(parts: State, multiples: Sequence[float], slope: Tensor | None, h: float) -> Tensor:
    """One carried value at the very start: multiples of the components and, last, of h f(u_0)."""
    terms = [x if m == 1 else x * m for x, m in zip(parts, multiples, strict=False) if m]
    if slope is not None and multiples[-1]:
        terms.append(slope * (multiples[-1] * h))
    return sum(terms[1:], start=terms[0]) if terms else torch.zeros_like(parts[0])
