"""The learnable coefficients of a network: one Parameter per free symbol and layer."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..fields import FieldError
from ..fields.bound import Kept
from ..fields.numbers import number
from ..scheme.errors import SchemeWarning
from ..scheme.given_numbers import integer

#: Loaded k_n that are all so large are taken for 1 - k_n.
ONE_MINUS_K = 0.5


class Coefficients(nn.Module):
    """Parameters ``<symbol>_<layer>`` of one network, e.g. ``k_3``.

    Args:
        init: (symbol, low, high) per symbol: Parameters start uniformly in [low, high].
        layers: layer number -> the symbols its step uses.
        shape: of each Parameter: () for a scalar, (C, 1, 1) for one per channel.
        like: a tensor whose dtype and device they take.
    """

    def __init__(
        self,
        init: Sequence[tuple[str, float, float]],
        layers: Mapping[int, Sequence[str]],
        shape: tuple[int, ...],
        like: Tensor,
    ) -> None:
        super().__init__()
        self._init = tuple(init)
        self._names = {n: {symbol: f"{symbol}_{n}" for symbol in symbols} for n, symbols in layers.items() if symbols}
        for names in self._names.values():
            for name in names.values():
                value = torch.empty(shape, dtype=like.dtype, device=like.device)
                self.register_parameter(name, nn.Parameter(value))
        self._count, self._kept = len(self._parameters), Kept[list[dict[str, Tensor]]]()
        self.reset()
        self.register_load_state_dict_post_hook(_hint)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Load one number from any shape: torch itself takes (1,) for (), but not () for (1,)."""
        for name, parameter in self.named_parameters():
            saved = state_dict.get(prefix + name)
            if isinstance(saved, Tensor) and parameter.numel() == saved.numel() == 1:
                state_dict[prefix + name] = saved.reshape(parameter.shape)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def reset(self) -> None:
        """Draw all of them anew, layer by layer."""
        ranges = {symbol: (low, high) for symbol, low, high in self._init}
        for n in self._names:
            for symbol, parameter in self.at(n).items():
                nn.init.uniform_(parameter, *ranges[symbol])

    def ranges(self) -> str:
        """The lowest and the highest value of each symbol, e.g. ``, k in [-0.0951, -0.012]``; "" without any."""
        found: dict[str, list[Tensor]] = {}
        for n in self._names:
            for symbol, parameter in self.at(n).items():
                found.setdefault(symbol, []).append(parameter.detach().reshape(-1))
        ends = {symbol: torch.cat(values).aminmax() for symbol, values in found.items() if not values[0].is_meta}
        return "".join(f", {symbol} in [{low:.3g}, {high:.3g}]" for symbol, (low, high) in ends.items())

    def set(self, values: float | Mapping[str, float]) -> None:
        """Give those of all layers values: one number for all symbols, or by symbol.

        Raises:
            FieldError: a symbol that there is not, or there is none at all.
        """
        symbols = sorted(symbol for symbol, *_ in self._init)
        named = values if isinstance(values, Mapping) else dict.fromkeys(symbols, values)
        given = {str(symbol): value for symbol, value in named.items()}
        if not symbols:
            raise FieldError(f"coefficients: got {values} for a scheme that has no symbols, expected none to be given")
        if set(given) - set(symbols):
            raise FieldError(
                f"coefficients: got {values}, expected a number or a mapping of the symbols of the scheme: {symbols}"
            )
        numbers = {symbol: number(value, f"coefficients: {symbol}") for symbol, value in given.items()}
        with torch.no_grad():
            for n in self._names:
                for symbol, parameter in self.at(n).items():
                    if symbol in numbers:
                        parameter.fill_(numbers[symbol])

    def at(self, n: int) -> dict[str, Tensor]:
        """Symbol -> Parameter of layer n; empty where the layer has none."""
        return {symbol: getattr(self, name) for symbol, name in self._names.get(n, {}).items()}

    def of_steps(self, steps: int) -> list[dict[str, Tensor]]:
        """:meth:`at` of each layer."""
        if not self._names:
            return [{}] * steps
        held = [*self._parameters.values()]
        if not torch.compiler.is_compiling() and (known := self._kept.known(held)) is not None:
            return known
        found = [self.at(n) for n in range(steps)]
        # They are Parameters, and all here, unless something makes them anew at each use, as a parametrization does.
        if torch.compiler.is_compiling() or set(map(type, held)) != {nn.Parameter} or len(held) != self._count:
            return found
        return self._kept.get(held, lambda: found)


def _hint(coefficients: nn.Module, _: Any) -> None:
    """Tell of loaded values that look like 1 - k_n, which some codes store: then LM would not be zero-stable."""
    found = [p.detach().reshape(-1) for name, p in coefficients.named_parameters() if name.startswith("k_")]
    if found and not found[0].is_meta and bool((torch.cat(found) >= ONE_MINUS_K).all()):
        warnings.warn(
            f"coefficients: got k >= {ONE_MINUS_K} in all layers, where trained ones are about 0 and k > 1 is not "
            "zero-stable; a code that stores 1 - k? odenets.from_one_minus_k converts such a state_dict",
            SchemeWarning,
            stacklevel=2,
        )


#: how the names start that :func:`odenets.swap_scheme` adds to the blocks of a model
PREFIX = "odenets_"


def is_added(key: str) -> bool:
    """Whether a key of a model's parameters, or of its state_dict, is of something that swap_scheme has added."""
    return any(part.startswith(PREFIX) for part in key.split("."))


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups for a torch optimiser that leave the learned coefficients undecayed.

    Decay would pull k_n to 0, that is LM to a plain ResNet (or, in a code that stores 1 - k, to
    the midpoint rule): it is a prior on the scheme, not on the weights.

    Returns:
        Two groups, ``weights`` with the given decay and ``coefficients`` with none; the second is
        left out where the model has no learnable coefficients.
    """
    own = [p for module in model.modules() if isinstance(module, Coefficients) for p in module.parameters()]
    swapped = [p for name, p in model.named_parameters() if is_added(name)]
    coefficients = {id(p): p for p in [*own, *swapped]}
    weights = [p for p in model.parameters() if id(p) not in coefficients]
    groups: list[dict[str, Any]] = [{"name": "weights", "params": weights, "weight_decay": weight_decay}]
    if coefficients:
        groups.append({"name": "coefficients", "params": list(coefficients.values()), "weight_decay": 0.0})
    return groups


def check_shape(shape: Any) -> tuple[int, ...]:
    """A coefficient shape as a tuple of positive ints."""
    what = f"coefficient_shape: got {shape!r}, expected a tuple such as () for a scalar or (C, 1, 1) for channels"
    if not isinstance(shape, (tuple, list, torch.Size)):
        raise FieldError(what)
    return tuple(integer(n, what, error=FieldError) for n in shape)


def check_broadcasts(shape: tuple[int, ...], u: Tensor) -> None:
    """FieldError for coefficients that do not fit a state."""
    fits = len(shape) <= u.dim() and all(a in (1, b) for a, b in zip(shape[::-1], u.shape[::-1], strict=False))
    if not fits:
        raise FieldError(
            f"coefficient_shape: got {shape} for a state of shape {tuple(u.shape)}, expected one that broadcasts "
            "to it, such as () for a scalar, (C, 1, 1) for images or (C,) for features"
        )
