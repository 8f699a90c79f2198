"""Where the chains of a swapped model keep what the original had not: in the blocks that it belongs to.

Coefficients are parameters of the blocks themselves, ``<block>.odenets_k_<sum>``, and the statistics of further
stages are kept in the BatchNorm that they are of. A module of the model's own for all of it was rejected:
who iterates over the children of the model, or cuts the last one off, would meet it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from ..fields.stage_statistics import StageStatistics
from ..net.learnable_coefficients import PREFIX, Coefficients, is_added


class AddedCoefficients(Coefficients):
    """Those of a chain, put into the blocks that they belong to: ``homes[n]`` is (block, label) of layer n."""

    def __init__(self, own: Coefficients, homes: Sequence[tuple[nn.Module, str]]) -> None:
        nn.Module.__init__(self)
        self._init, self._names, self._homes = own._init, dict[int, dict[str, str]](), list(homes)
        for n, (block, label) in enumerate(homes):
            for symbol, parameter in own.at(n).items():
                name = self._names.setdefault(n, {})[symbol] = f"{PREFIX}{symbol}_{label}"
                block.register_parameter(name, parameter)  # type: ignore[arg-type]

    def at(self, n: int) -> dict[str, Tensor]:
        """Symbol -> Parameter of layer n; empty where the layer has none."""
        return {symbol: getattr(self._homes[n][0], name) for symbol, name in self._names.get(n, {}).items()}


def add_statistics(norm: nn.Module, label: str, visit: int) -> StageStatistics:
    """Statistics of a further evaluation of a sum, kept in the normalisation that they are of."""
    own, name = StageStatistics(norm), f"{PREFIX}{label}_{visit}"
    while name in norm._modules:  # blocks may share it
        name += "_"
    norm.add_module(name, own)
    return own


def remove_added(model: nn.Module) -> None:
    """Take parameters, statistics and hooks out again."""
    for module in model.modules():
        for name in [name for name in (*module._parameters, *module._modules) if name.startswith(PREFIX)]:
            delattr(module, name)
        hooks = module._load_state_dict_post_hooks
        for key in [key for key, hook in hooks.items() if hook is forgive]:
            del hooks[key]


def forgive(model: nn.Module, incompatible: Any) -> None:
    """After a state_dict of the original was loaded: coefficients stay, statistics are those of their norms."""
    # Of counts of batches nobody says that they are missing: BatchNorm makes them.
    own = [key for key in model.state_dict() if is_added(key) and not key.endswith("num_batches_tracked")]
    lacking = [key for key in incompatible.missing_keys if key.endswith(tuple(own))]
    if len(lacking) == len(own):
        for key in lacking:
            incompatible.missing_keys.remove(key)
        for norm in model.modules():
            for copied in (child.norms[0] for child in norm.children() if isinstance(child, StageStatistics)):
                copied.load_state_dict(dict(norm.named_buffers(recurse=False)))
