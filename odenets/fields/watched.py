"""Which modules there are in blocks, asked before each pass: by lists, without walking through them."""

from __future__ import annotations

from itertools import chain
from operator import is_
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as modules
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from .stage_statistics import modules_of

DRAWING = (_DropoutNd, nn.RReLU, nn.FractionalMaxPool2d, nn.FractionalMaxPool3d, nn.RNNBase, nn.MultiheadAttention)
#: torch's own modules, but for those that may draw random numbers
QUIET = frozenset(
    kind
    for kind in vars(nn.modules).values()
    if isinstance(kind, type) and issubclass(kind, nn.Module) and not issubclass(kind, DRAWING)
)


class Watched:
    """The modules that a module consists of, and which BatchNorms keep statistics. A copy has seen none."""

    def __init__(self, module: nn.Module | None = None) -> None:
        self._root = None if module is None else module._modules
        self._called = [] if module is None else [m for _, m in modules_of(module) if not isinstance(m, nn.ModuleList)]
        # What is scripted is compiled: nothing in it is replaced.
        found = (
            [] if module is None else [m for _, m in modules_of(module) if not isinstance(m, torch.jit.ScriptModule)]
        )
        self._children = [inner._modules for inner in found]
        self._buffers = [inner._buffers for inner in found if isinstance(inner, _BatchNorm)]
        self._attributes = list(map(vars, found))
        self._hooks = [hooks for inner in found for hooks in (inner._forward_hooks, inner._forward_pre_hooks)]
        self._tensors = [held for inner in found for held in (inner._parameters, inner._buffers)]
        self._seen = None if module is None else self._now()
        self._layouts: tuple[list[object], dict[int, Any]] = [], {}

    def __reduce__(self) -> tuple[Any, ...]:
        return Watched, ()

    def unchanged(self) -> bool:
        """Whether they are the same as when this was made."""
        now = self._now()
        return self._seen is not None and len(now) == len(self._seen) and all(map(is_, now, self._seen))

    def _now(self) -> list[object]:
        kept = [held.get("running_mean") is None for held in self._buffers]
        return [*chain.from_iterable(self._children), *chain.from_iterable(map(dict.values, self._children)), *kept]

    def layouts(self, module: nn.Module) -> dict[int, Any]:
        """What has been noted of the steps of ``module``, for as long as all modules and names of tensors are the same.

        Of a replica of it, whose tensors are others, nothing.
        """
        if module._modules is not self._root:
            return {}
        names: list[object] = [key for held in self._tensors for key, value in held.items() if value is not None]
        if names != self._layouts[0]:
            self._layouts = names, {}
        return self._layouts[1]

    def quiet(self) -> bool:
        """Whether nothing of it draws random numbers, of what is unchanged: torch's own modules, as torch runs them."""
        return not (
            any(self._hooks)
            or modules._global_forward_hooks
            or modules._global_forward_pre_hooks
            or torch._C._len_torch_function_stack()
            or torch._C._len_torch_dispatch_stack()
            or not self._called
            or not QUIET.issuperset(map(type, self._called))
            or any("forward" in held for held in self._attributes)
        )
