"""The coefficients a network has learned, layer by layer, and what they mean."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import sympy
import torch
from torch import Tensor, nn

from odenets import FieldError, Scheme
from odenets.net.networks_in_model import networks

from ..linear.generating_polynomials import effective_step
from ..linear.zero_stability import zero_stable, zero_stable_range


@dataclass(frozen=True)
class LearnedCoefficient:
    """One learnable coefficient of one layer.

    Attributes:
        stage: number of the ODENet in the model, from 0.
        layer: number of the layer over all stages, from 0, those without coefficients counted too.
        symbol: its name in the scheme, e.g. "k".
        value: a float, or a list of floats if there is one per channel.
        effective_step: time the layer advances u' = f by, h sigma(1)/rho'(1); h/(1 + k) for lm. A
            list if value is one; inf where the layer solves a second-order equation (k = -1).
        zero_stable: whether a scheme with these values throughout is zero-stable; likewise.
    """

    stage: int
    layer: int
    symbol: str
    value: float | list[float]
    effective_step: float | list[float]
    zero_stable: bool | list[bool]

    def as_dict(self) -> dict[str, Any]:
        """For JSON, which has neither infinity nor NaN: they become None."""
        return {**asdict(self), "value": _finite(self.value), "effective_step": _finite(self.effective_step)}


def _finite(x: float | list[float]) -> Any:
    if isinstance(x, list):
        return [_finite(entry) for entry in x]
    return x if math.isfinite(x) else None


def learned_coefficients(model: nn.Module) -> list[LearnedCoefficient]:
    """Every learnable coefficient of every :class:`odenets.ODENet` in ``model``, in module order.

    Args:
        model: any module with at least one ODENet in it; each ODENet is a stage.

    Returns:
        Records ordered by layer, then symbol; none for schemes without free symbols and for the
        starting layers of a stage. The values reach the host in one transfer.

    Raises:
        FieldError: a model without any ODENet.
    """
    nets = networks(model)
    if not nets:
        raise FieldError(
            f"learned coefficients: got a {type(model).__name__} without any ODENet, expected at least one; "
            "build the model with odenets.ODENet or odenets.models"
        )
    layers = [(stage, net, n, net.coefficients_at(n)) for stage, net in enumerate(nets) for n in range(net.steps)]
    values = iter(_to_host([tensor for *_, found in layers for tensor in found.values()]))
    records: list[LearnedCoefficient] = []
    for layer, (stage, net, n, found) in enumerate(layers):
        if found:
            scheme = net.program_of(n).scheme  # a starting step's may have fewer coefficients
            named = {symbol: next(values) for symbol in found}
            records += _layer(stage, layer, net.h, _meaning(scheme), named)
    return records


def _to_host(tensors: Sequence[Tensor]) -> list[float | list[float]]:
    """The values of all tensors; a tensor of no dimension gives a float, the others a list."""
    if not tensors:
        return []
    device = tensors[0].device
    flat = torch.cat([tensor.detach().reshape(-1).to(device) for tensor in tensors]).tolist()
    parts: list[float | list[float]] = []
    start = 0
    for tensor in tensors:
        part = flat[start : start + tensor.numel()]
        start += tensor.numel()
        parts.append(part if tensor.dim() else part[0])
    return parts


class _Meaning:
    """Effective step and zero-stability of one scheme as functions of its coefficients, prepared once."""

    def __init__(self, scheme: Scheme) -> None:
        self.names = [str(symbol) for symbol in scheme.symbols]
        top, bottom = sympy.fraction(effective_step(scheme))
        self._top, self._bottom = (sympy.lambdify(scheme.symbols, part, "math") for part in (top, bottom))
        self.zero_stable = _zero_stable_test(scheme)

    def effective_step(self, *values: float) -> float:
        bottom = self._bottom(*values)
        return math.inf if bottom == 0 else float(self._top(*values) / bottom)


@lru_cache(maxsize=64)
def _meaning(scheme: Scheme) -> _Meaning:
    """Kept, since a training run asks after every epoch, and a range of zero-stability takes 60 ms."""
    return _Meaning(scheme)


def _zero_stable_test(scheme: Scheme) -> Callable[..., bool]:
    """A set is asked in microseconds where the exact root condition takes milliseconds a channel."""
    if len(scheme.symbols) == 1:
        stable = zero_stable_range(scheme)
        return lambda value: math.isfinite(value) and bool(stable.contains(sympy.Rational(value)))
    names = [str(symbol) for symbol in scheme.symbols]
    return lambda *values: (
        all(map(math.isfinite, values)) and zero_stable(scheme, **dict(zip(names, values, strict=True)))
    )


def _layer(
    stage: int, layer: int, h: float, meaning: _Meaning, named: dict[str, float | list[float]]
) -> list[LearnedCoefficient]:
    """The records of one layer: one per symbol, all with the layer's step and stability."""
    columns: list[Any] = [named[name] for name in meaning.names]
    if isinstance(columns[0], list):
        channels = list(zip(*columns, strict=True))
        step: Any = [h * meaning.effective_step(*channel) for channel in channels]
        stable: Any = [meaning.zero_stable(*channel) for channel in channels]
    else:
        step = h * meaning.effective_step(*columns)
        stable = meaning.zero_stable(*columns)
    return [LearnedCoefficient(stage, layer, symbol, value, step, stable) for symbol, value in named.items()]
