"""BatchNorm statistics of the stages of a step."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _LazyNormBase

from .errors import FieldError

#: names and modules of the BatchNorms of a block
Norms = list[tuple[str, _BatchNorm]]


class StageStatistics(nn.Module):
    """A second set of a block's BatchNorm statistics, for one visit.

    Held by BatchNorms without weights, so that what looks for BatchNorms to reset or to convert
    (``update_bn`` of stochastic weight averaging, SyncBatchNorm) finds them.
    """

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.norms = nn.ModuleList()
        self.training = self.norms.training = block.training
        self._made: tuple[nn.Module, ...] = ()
        self.fit(norms(block), [])

    def fit(self, found: Norms, before: Norms) -> None:
        """Belong to the BatchNorms ``found`` where it belonged to those ``before``; new ones bring what they have.

        Where a BatchNorm and its statistics are other modules than before, a conversion may have gone through the
        whole network, as to SyncBatchNorm: if it has the same statistics, they belong together as they did.
        """
        held = {norm: own for (_, norm), own in zip(before, self.norms, strict=False)}
        moved = len(found) == len(self.norms) and not any(own in self._made for own in self.norms)
        made = []
        for i, (_, norm) in enumerate(found):
            if norm in held:
                made.append(held[norm])
            elif moved and i < len(before) and _same_statistics(norm, before[i][1]):
                made.append(self.norms[i])
            else:
                made.append(without_weights(norm))
        if any(a is not b for a, b in zip(made, self.norms, strict=False)) or len(made) != len(self.norms):
            self.norms = nn.ModuleList(made).train(self.norms.training)
            for own, (_, norm) in zip(made, found, strict=True):
                own.training = norm.training
        self._made = tuple(self.norms)
        self._prefixes = [f"{name}." if name else "" for name, _ in found]

    def named(self) -> dict[str, Tensor]:
        """The statistics under the names that the block's own have."""
        return {
            prefix + name: value
            for prefix, norm in zip(self._prefixes, self.norms, strict=True)
            for name, value in norm.named_buffers(recurse=False)
        }


def without_weights(norm: nn.Module) -> nn.Module:
    """A copy of a BatchNorm with its statistics alone."""
    with torch.inference_mode(False):
        own = copy.deepcopy(norm)
    own._modules.clear()  # those of other stages
    own.register_parameter("weight", None)
    own.register_parameter("bias", None)
    return own


def _same_statistics(norm: _BatchNorm, before: _BatchNorm) -> bool:
    """Whether one has the other's running mean, maybe moved to another device or rounded to another dtype."""
    a, b = norm.running_mean, before.running_mean
    assert a is not None
    assert b is not None
    return a is b or (a.shape == b.shape and torch.allclose(a.double().cpu(), b.double().cpu(), rtol=1e-2, atol=1e-3))


def originals(block: nn.Module, statistics: nn.Module) -> dict[nn.Module, nn.Module]:
    """Norms of the statistics of a block -> the norms of the block that they stand in for, in whose mode they are."""
    if not isinstance(statistics, StageStatistics):
        return {}
    return dict(zip(statistics.norms, (norm for _, norm in norms(block)), strict=False))


def norms(block: nn.Module) -> Norms:
    """Names and modules of the BatchNorms of a block that keep statistics, each once."""
    found: dict[_BatchNorm, str] = {}
    for name, module in modules_of(block):
        if isinstance(module, torch.jit.ScriptModule) and "running_mean" in module._buffers:
            raise FieldError(
                f"got a scripted BatchNorm ({name}), whose statistics cannot be put in turn for the stages of a step, "
                "expected a block that is not scripted, or a scheme of one evaluation a step"
            )
        if isinstance(module, _BatchNorm) and module.running_mean is not None:
            if isinstance(module, _LazyNormBase):  # it is another class once it has weights
                raise FieldError(
                    f"got a lazy BatchNorm ({name}), whose statistics for the stages of a step cannot be made yet, "
                    "expected one that has its weights; call the block once before the network is made of it"
                )
            found.setdefault(module, name)
    return [(name, norm) for norm, name in found.items()]


def modules_of(block: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Names and modules of a block, under every name that they have, without the StageStatistics kept inside it."""
    yield prefix, block
    for name, child in block._modules.items():
        if child is not None and not isinstance(child, StageStatistics):
            yield from modules_of(child, f"{prefix}.{name}" if prefix else name)
