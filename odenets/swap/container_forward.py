"""What takes the place of the forward of an nn.Sequential whose blocks are run, or undone, as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module

from ..fields import FieldError
from .chain import Chain
from .module_state import version
from .sums import Arguments


class Container:
    """An nn.Sequential with chains of blocks among its children; :meth:`forward` is set as its forward.

    Only here is it known that the blocks are called one after the other with nothing between them. A loop over
    the children, an early exit from it or a slice does not come by, and calls them one by one.

    Args:
        module: the nn.Sequential.
        chains: its chains, in order.
    """

    def __init__(self, module: nn.Module, chains: Sequence[Chain]) -> None:
        self.module, self.chains = module, list(chains)

    def install(self) -> None:
        """Take the place of its forward."""
        self.module.__dict__["forward"] = self.forward

    def forward(self, input: Any) -> Any:
        """As nn.Sequential's, with the chains that store states between several of their steps run as one."""
        children = list(self.module._modules.values())
        at = 0
        while at < len(children):
            chain = self._chain_at(children, at)
            if chain is None:
                input, at = children[at](input), at + 1  # type: ignore[misc]
            else:
                input, at = run_as_one(chain, input), at + len(chain.members)
        return input

    def _chain_at(self, children: list[nn.Module | None], at: int) -> Chain | None:
        for chain in self.chains:
            blocks = [member.module for member in chain.members]
            here = children[at : at + len(blocks)]
            same = len(here) == len(blocks) and all(a is b for a, b in zip(here, blocks, strict=True))
            # Hooks are to see each block's input and output.
            if same and not chain.recorded and not any(map(_hooked, blocks)) and not _casts(chain, blocks[0]):
                return chain
        return None


def run_as_one(chain: Chain, x: Tensor) -> Tensor:
    """The state after all blocks of a chain.

    Raises:
        FieldError: what follows a sum is not what it was at the example.
    """
    calls: dict[str, Any] = {member.name: member.call(Arguments((x,), {}, 0), drops=False) for member in chain.members}
    own = chain.bound(calls, chain.members[0].module.training)
    u: Tensor = own(x)
    for name, call in () if torch.compiler.is_compiling() else calls.items():
        before = version(u)
        if call.rest(u) is not u or version(u) != before:
            raise FieldError(
                f"{name}: got something after its sum that was not there at the example (in training?), "
                f"expected nothing with gradient={chain.gradient_name!r}; use gradient='direct'"
            )
    chain.reports = own.reports
    return u


def _hooked(block: nn.Module) -> bool:
    own = (block._forward_hooks, block._forward_pre_hooks, block._backward_hooks, block._backward_pre_hooks)
    return any(own) or bool(module._has_any_global_hook())


def _casts(chain: Chain, block: nn.Module) -> bool:
    """Whether sums have the dtype of what they are written to, which steps in one go do not see."""
    device = next((p.device.type for p in block.parameters()), "cpu")
    return any(plan.in_place for plan in chain.plans) and torch.is_autocast_enabled(device)
