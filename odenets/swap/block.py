"""What takes the place of a block's forward."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import FieldError
from .additions import argument, locate
from .branch import BlockCall
from .chain import Chain, distinct
from .watch import Watch

#: arguments that no evaluation of a branch can change
PLAIN = (Tensor, type(None), bool, int, float, complex, str, torch.dtype, torch.device)


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
        self.module.__dict__["forward"] = self.forward

    def remove(self) -> None:
        """Give the block its own forward back."""
        del self.module.__dict__["forward"]
        if self.own is not None:
            self.module.__dict__["forward"] = self.own

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """As the block's own, with the scheme's step in the place of each sum."""
        place = locate(args, kwargs)
        if place == -1:
            raise FieldError(f"{self._name}: got no floating-point tensor among its arguments, expected the state")
        x = argument(args, kwargs, place)
        if self.chain.whole:
            return self._whole(args, kwargs, x)
        call = BlockCall(self.original, self.chain.plans[self.index], args, kwargs, place)
        if self.chain.observer is not None:
            self.chain.observer.on_call(call)
        if self.chain.inline(self.index):
            return self._inline(call, x)
        self._refuse_state(args, kwargs)
        return self._staged(call, x)

    @property
    def _name(self) -> str:
        return self.chain.plans[self.index].name or "the model"

    def _inline(self, call: BlockCall, x: Tensor) -> Any:
        """Each sum once, at the state: the forward is run as it is, and its sums are the scheme's combinations."""
        chain, first = self.chain, self.chain.first[self.index]
        state = chain.enter(self.index, x, chain.passing(x))

        def handler(k: int, branch: Tensor) -> Tensor:
            nonlocal state
            # What stands in the sum's place may have been cast since.
            state = chain.combine(first + k, (watch.state, *state[1:]), branch)
            return state[0]

        watch = Watch(call.block, x, handler)
        output = call.run(watch, x)
        chain.leave(self.index, call.state(output), state)
        return output

    def _staged(self, call: BlockCall, x: Tensor) -> Any:
        """Branches first, as often as the scheme wants them, then what follows the last sum."""
        chain = self.chain.bound({call.block.name: call})
        run = chain.passing(x)
        state = self.chain.enter(self.index, x, run)
        for k in range(len(call.block.skips)):
            n = chain.first[self.index] + k
            if not chain.program_of(n).explicit:
                chain.branches.rehearse(n, call, state[0])
            state = distinct(chain.advance(n, state, run))
            call.sums.append(state[0])
        output = call.rest(state[0])
        self.chain.reports = [*(self.chain.reports if self.index else []), *run.reports]
        self.chain.leave(self.index, call.state(output), state)
        if chain is self.chain:
            chain.branches.calls = {}
        return output

    def _whole(self, args: tuple[Any, ...], kwargs: dict[str, Any], x: Tensor) -> Tensor:
        """The first block of a run takes all the steps; the others hand on what it has found."""
        if len(args) != 1 or kwargs:
            how = self.chain.gradient_name
            raise FieldError(f"{self._name}: got arguments beside the state, expected none with gradient={how!r}")
        if self.index:
            self.chain.hand_on(self.index, x)
            return x
        plans = zip(self.chain.plans, self.chain.members, strict=True)
        calls = {plan.name: BlockCall(one.original, plan, (x,), {}, 0) for plan, one in plans}
        chain = self.chain.bound(calls)
        u = chain(x)
        for call in () if torch.compiler.is_compiling() else calls.values():
            if call.rest(u) is not u:
                raise FieldError(
                    f"{call.block.name}: got something after its sum that was not there at the example (in training?), "
                    f"expected nothing with gradient={self.chain.gradient_name!r}; use gradient='direct'"
                )
        self.chain.reports = chain.reports
        self.chain.keep(0, u)
        return u

    def _refuse_state(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """What a second evaluation of a branch could find changed, and what it would give no gradient to."""
        chain = self.chain
        how = f"with {chain.scheme.name} and gradient={chain.gradient_name!r}"
        for value in leaves((args, kwargs)):
            if not isinstance(value, PLAIN):
                raise FieldError(
                    f"{self._name}: got a {type(value).__name__}, which evaluating the block may change (a key-value "
                    f"cache is appended to at each evaluation), {how}, "
                    "which evaluate it more than once or apart from the rest; expected none: pass use_cache=False, or "
                    "take gradient='direct' and a scheme of one evaluation a step, such as euler, lm or ab2"
                )
        place = locate(args, kwargs)
        others = [a for i, a in [*enumerate(args), *kwargs.items()] if i != place]
        plain = chain.recorded and chain.explicit
        if not plain and any(isinstance(value, Tensor) and value.requires_grad for value in leaves(others)):
            raise FieldError(
                f"{self._name}: got an argument beside the state that requires a gradient, which it would not get "
                f"{how}; expected an explicit scheme and gradient='direct'"
            )


def leaves(value: Any) -> Iterator[Any]:
    """What nested tuples, lists and dictionaries hold."""
    if type(value) in (tuple, list):
        for item in value:
            yield from leaves(item)
    elif type(value) is dict:
        yield from leaves(list(value.values()))
    else:
        yield value
