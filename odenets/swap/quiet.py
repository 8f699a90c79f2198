"""Modules inside a block that have no sum of it: they run outside of its mode, which costs time at each call."""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import Any

import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd
from torch.overrides import _pop_mode, _push_mode

from .watch import Watch


class Quiet:
    """A module whose forward no watch needs to see; so nn.MultiheadAttention has its fast path, too."""

    def __init__(self, module: nn.Module) -> None:
        self.module, self.own = module, module.__dict__.get("forward")

    def install(self) -> None:
        """Take the place of its forward."""
        self.module.__dict__["forward"] = self.forward

    def remove(self) -> None:
        """Give it back."""
        del self.module.__dict__["forward"]
        if self.own is not None:
            self.module.__dict__["forward"] = self.own

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The module's own, outside of the innermost mode where that is a watch that records nothing."""
        forward, given = (self.own, args) if self.own is not None else (type(self.module).forward, (self.module, *args))
        depth = 0 if torch.compiler.is_compiling() else torch._C._len_torch_function_stack()
        mode = torch._C._get_function_stack_at(depth - 1) if depth else None
        if not isinstance(mode, Watch) or mode.tape is not None:
            return forward(*given, **kwargs)
        _pop_mode()
        try:
            return forward(*given, **kwargs)
        finally:
            _push_mode(mode)


def unwatched(module: nn.Module, path: str, watched: Set[str]) -> Iterator[nn.Module]:
    """The largest modules inside one in which nothing is done that a watch must see."""
    for name, child in module.named_children():
        own = f"{path}.{name}" if path else name
        if own in watched or any(other.startswith(f"{own}.") for other in watched):
            yield from unwatched(child, own, watched)
        elif not isinstance(child, (_DropoutNd, torch.jit.ScriptModule)) and any(True for _ in child.parameters()):
            yield child
