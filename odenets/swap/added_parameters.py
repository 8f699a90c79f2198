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

    def remove(self) -> None:
        """Take them out of the blocks."""
        for n, names in self._names.items():
            for name in names.values():
                delattr(self._homes[n][0], name)


def add_statistics(norm: nn.Module, label: str, visit: int) -> StageStatistics:
    """Statistics of a further evaluation of a sum, kept in the normalisation that they are of."""
    own, name = StageStatistics(norm), f"{PREFIX}{label}_{visit}"
    while name in norm._modules:  # blocks may share it
        name += "_"
    norm.add_module(name, own)
    return own


def accept_originals(model: nn.Module) -> None:
    """From now on, the model loads a state_dict of the original, too, and keeps then what the chains have added."""
    # Public under another name since torch 2.5 only.
    model._register_load_state_dict_pre_hook(_fill, with_module=True)


def remove_added(model: nn.Module) -> None:
    """Take statistics and hooks out again."""
    for module in model.modules():
        for name in [name for name, child in module._modules.items() if isinstance(child, StageStatistics)]:
            delattr(module, name)
        hooks = module._load_state_dict_pre_hooks
        for key in [key for key, hook in hooks.items() if getattr(hook, "hook", None) is _fill]:
            del hooks[key]


def _fill(model: nn.Module, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
    """Coefficients stay; the statistics of further stages become those of the norms that they belong to."""
    if any(key.startswith(prefix) and is_added(key[len(prefix) :]) for key in state_dict):
        return
    own = model.state_dict(prefix=prefix)
    state_dict.update({key: value for key, value in own.items() if is_added(key[len(prefix) :])})
    names = {module: name for name, module in model.named_modules(prefix=prefix.rstrip("."))}
    for norm, name in names.items():
        for copied in (child.norms[0] for child in norm.children() if isinstance(child, StageStatistics)):
            for key, _ in copied.named_buffers(recurse=False):
                loaded = state_dict.get(f"{name}.{key}".lstrip("."))
                if loaded is not None:
                    state_dict[f"{names[copied]}.{key}"] = loaded.clone()  # or assign=True would tie them
