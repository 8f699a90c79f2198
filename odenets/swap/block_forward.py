"""What takes the place of a block's forward."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ..fields import FieldError
from ..gradients import Reversible
from ..net.networks_in_model import CHAIN
from .branch import BlockCall
from .chain import Chain, distinct
from .direct_step import DirectStep
from .history import versions
from .sums import Arguments, arguments

#: arguments that no evaluation of a branch can change
PLAIN = (Tensor, type(None), bool, int, float, complex, str, torch.dtype, torch.device)
#: of a module, called by torch.nn.DataParallel
REPLICATE = "_replicate_for_data_parallel"


class Swapped:
    """A block under a scheme; :meth:`forward` is set as the forward of the block.

    Args:
        module: the block.
        chain: the chain it belongs to.
        index: its number in it.
    """

    def __init__(self, module: nn.Module, chain: Chain, index: int) -> None:
        self.module, self.chain, self.index = module, chain, index
        #: a forward that the module itself had, in the place of its class's
        self.own: Callable[..., Any] | None = module.__dict__.get("forward")

    def original(self, *args: Any, **kwargs: Any) -> Any:
        """The block's forward as it was."""
        if self.own is not None:
            return self.own(*args, **kwargs)
        return type(self.module).forward(self.module, *args, **kwargs)

    def install(self) -> None:
        """Take the place of the block's forward."""
        # A bound method: it is copied and pickled with the block, and torch.compile traces through it.
        self.module.__dict__.update({"forward": self.forward, REPLICATE: self.refuse_replica, CHAIN: self.chain})

    def remove(self) -> None:
        """Give the block its own forward back."""
        for key in ("forward", REPLICATE, CHAIN):
            del self.module.__dict__[key]
        if self.own is not None:
            self.module.__dict__["forward"] = self.own

    def refuse_replica(self) -> nn.Module:
        """A replica would have this forward, and so the weights of the original."""
        raise FieldError(
            f"{self._name}: got a replica for torch.nn.DataParallel, expected none of a swapped block; use "
            "DistributedDataParallel"
        )

    def call(self, given: Arguments, drops: bool) -> BlockCall:
        """A call of the block as it was."""
        return BlockCall(self.module, self.original, self.chain.plans[self.index], given, drops)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """As the block's own, with the scheme's step in the place of each sum."""
        given = arguments(args, kwargs, self.chain.plans[self.index].slot)
        if given.place == -1:
            raise FieldError(
                f"{self._name}: got no floating-point tensor among its arguments, expected the state (a swapped model "
                "cannot be traced by torch.fx; torch.export can, strict=False)"
            )
        if not torch.compiler.is_compiling() and torch.is_inference_mode_enabled() and self._counts():
            # Out of inference mode, where torch does not count writes.
            with torch.inference_mode(False), torch.no_grad():
                return self._run(given.at(given.state.clone()) if given.state.is_inference() else given)
        return self._run(given)

    def _counts(self) -> bool:
        """Whether it matters that something is written to."""
        return self.chain.scheme.carried > 1 or self.chain.nested(self.index)

    def _run(self, given: Arguments) -> Any:
        x, chain = given.state, self.chain
        call = self.call(given, drops=chain.taped)
        if chain.observer is not None:
            chain.observer.on_call(call)
        if chain.taped and not chain.nested(self.index):
            return DirectStep(chain, self.index, call).run(x)
        self._refuse_state(given)
        call.prepare()
        with chain.one_thread():
            return DirectStep(chain, self.index, call).run(x) if chain.taped else self._apart(call, x)

    @property
    def name(self) -> str:
        """Path of the block in the model."""
        return self.chain.plans[self.index].name

    @property
    def _name(self) -> str:
        return self.chain.plans[self.index].name or "the model"

    def _apart(self, call: BlockCall, x: Tensor) -> Any:
        """Steps first, as functions of all tensors that they use, then what follows the last sum."""
        if isinstance(self.chain.gradient, Reversible):
            raise FieldError(
                f"{self._name}: got a call of a block by itself with gradient={self.chain.gradient_name!r}, expected "
                "its nn.Sequential to be called, which runs and undoes its blocks as one (no loop over its children, "
                "no slice of it, no hooks on the blocks, no sums in place under autocast); use gradient='checkpoint'"
            )
        chain = self.chain.bound({call.block.name: call}, self.module.training)
        run = chain.passing(x)
        state = self.chain.enter(self.index, x, run.seed)
        marks = versions(state[1:])
        for k in range(len(call.block.skips)):
            n = chain.first[self.index] + k
            if not chain.program_of(n).explicit:
                chain.branches.rehearse(n, call, state[0])
            state = distinct(chain.advance(n, state, run))
            if call.dtype is not None:
                state = (state[0].to(call.dtype), *state[1:])
            marks = versions(state[1:])
            # Detached: the graph of the step keeps the call, and would keep itself.
            call.sums.append(state[0].detach())
        output = call.rest(state[0])
        self.chain.reports = [*(self.chain.reports if self.index else []), *run.reports]
        self.chain.history.keep(self.index, call.state(output), state[1:], marks)
        return output

    def _refuse_state(self, given: Arguments) -> None:
        """What a second evaluation of a branch could find changed, and what it would give no gradient to."""
        chain = self.chain
        how = f"with {chain.scheme.name} and gradient={chain.gradient_name!r}"
        for value in leaves([given.args, given.kwargs]):
            if not isinstance(value, PLAIN):
                raise FieldError(
                    f"{self._name}: got a {type(value).__name__}, which evaluating the block may change (a key-value "
                    f"cache is appended to at each evaluation), {how}, "
                    "which evaluate it more than once or apart from the rest; expected none: pass use_cache=False, or "
                    "take gradient='direct' and a scheme of one evaluation a step, such as euler, lm or ab2"
                )
        if not chain.taped and any(isinstance(x, Tensor) and x.requires_grad for x in leaves(given.others)):
            raise FieldError(
                f"{self._name}: got an argument beside the state that requires a gradient, which it would not get "
                f"{how}; expected an explicit scheme and gradient='direct'"
            )


def leaves(value: Any) -> Iterator[Any]:
    """What nested tuples, lists and dictionaries hold."""
    if isinstance(value, tuple) or type(value) is list:
        for item in value:
            yield from leaves(item)
    elif type(value) is dict:
        yield from leaves(list(value.values()))
    else:
        yield value
