"""What takes the place of the forwards of modules: of those that have sums in them, and of others inside these."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence, Set
from contextlib import nullcontext
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import _get_current_function_mode, _pop_mode, _push_mode

from ..fields import FieldError
from ..net.networks_in_model import CHAIN
from .calls import Function
from .chain import Chain
from .replay import Tape
from .report import SwapReport
from .sums import Sum
from .watch import Watch, whole_functions

#: arguments that no evaluation of a branch can change, and those of torch.fx, in which no sum will be found
PLAIN = (Tensor, type(None), bool, int, float, complex, str, torch.dtype, torch.device, torch.fx.Proxy)
#: of a module, called by torch.nn.DataParallel
REPLICATE = "_replicate_for_data_parallel"
#: of a layer of transformers
CHECKPOINT = "_gradient_checkpointing_func"


class Quiet:
    """A module whose forward no watch need see: it runs outside, which costs less and leaves torch its fast paths."""

    def __init__(self, module: nn.Module) -> None:
        # A bound method: it is copied and pickled with the module, and torch.compile traces through it. ``own`` is a
        # forward that the module itself had, in the place of its class's.
        self.module, self.own = module, vars(module).get("forward")
        vars(module)["forward"] = self.forward

    def remove(self) -> None:
        """Give the module its own forward back, and leave nothing behind."""
        for key in ("forward", REPLICATE, CHAIN):
            vars(self.module).pop(key, None)
        if self.own is not None:
            vars(self.module)["forward"] = self.own

    def original(self, *args: Any, **kwargs: Any) -> Any:
        """The module's forward as it was."""
        if self.own is not None:
            return self.own(*args, **kwargs)
        return type(self.module).forward(self.module, *args, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The module's own, outside of the innermost mode where that is a watch that records nothing."""
        mode = _get_current_function_mode()
        if type(mode) is not Watch or mode.tape is not None or torch.compiler.is_compiling():
            return self.original(*args, **kwargs)
        _pop_mode()
        try:
            return self.original(*args, **kwargs)
        finally:
            _push_mode(mode)


class Owner(Quiet):
    """A module with sums in it, or with what is between them; ``name``: where it is.

    ``chains`` are those of its sums, or all; ``steps`` the additions that are steps or parts of some.
    """

    def __init__(
        self, module: nn.Module, name: str, chains: Sequence[Chain], steps: Sequence[Sum], report: SwapReport
    ) -> None:
        super().__init__(module)
        vars(module).update({REPLICATE: self.refuse_replica, CHAIN: chains})
        self.name, self.chains, self.steps, self.report = name, chains, steps, report
        self.scheme, self.history = chains[0].scheme.name, next((c.history for c in chains if c.tracked), None)
        #: whether a step evaluates its branch elsewhere than at the state; whether calls are seen, and not recorded
        self.replays = any(chain.elsewhere(n) for one in steps for chain, n in one.places)
        self.quiet = not (self.replays or chains[0].plain)
        self.totals: dict[Any, int] = {one.source: one.total for one in steps}
        self.by_place: dict[Any, Sum] = {(one.source, one.place): one for one in steps}
        # Where torch.compile traces, no line is told: all additions are of one "line", of evaluation or of training.
        for training in (False, True):
            numbers = [one.numbers[training] if one.always else set() for one in steps]
            totals = {total for own in numbers for _, total in own}
            if len(totals) == 1 and all(len(own) == 1 for own in numbers):
                self.totals[training] = totals.pop()
                self.by_place.update({(training, n): one for one in steps for n, _ in one.numbers[training]})

    @property
    def observed(self) -> bool:
        """Whether a diagnosis looks on, which observes all chains or none."""
        return self.chains[0].observer is not None

    def refuse_replica(self) -> nn.Module:
        """A replica would have this forward, and so the weights of the original."""
        raise FieldError(
            f"{self.name}: got a replica for torch.nn.DataParallel, expected none of a swapped block; use "
            "DistributedDataParallel"
        )

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """As the module's own, with the scheme's step in the place of each sum; no watch around sees it."""
        around = _get_current_function_mode()
        if inside := type(around) is Watch:
            _pop_mode()
        # Where torch.compile cannot go on, as at an error, it leaves the whole of a function with a try to Python. It
        # must leave what is called there to Python as well: it cannot begin under a mode, and is told no lines.
        try:
            if self.chains[0].plain and not self.observed:
                return self.original(*args, **kwargs)
            if torch.compiler.is_compiling() or "torch._dynamo" not in sys.modules:
                return self._forward(*args, **kwargs)
            return _uncompiled()(self._forward, *args, **kwargs)
        finally:
            if inside:
                _push_mode(around)

    def _forward(self, *args: Any, **kwargs: Any) -> Any:
        taped, compiled = self.replays or self.observed, torch.compiler.is_compiling()
        if (taped or self.history is not None) and not compiled and torch.is_inference_mode_enabled():
            with torch.inference_mode(False), torch.no_grad():  # where torch counts writes
                return self._forward(*args, **kwargs)
        if taped:
            self._refuse(args, kwargs)
        own, module = self.module.__dict__, self.module
        checkpoint = None if compiled else own.get(CHECKPOINT)
        if not (checkpoint and module.gradient_checkpointing and module.training and torch.is_grad_enabled()):
            return self._watched(taped, self.original, *args, **kwargs)

        # Transformers checkpoints inside the forward of its layers, which is run again in the backward pass.
        def watched(forward: Function, *given: Any, **more: Any) -> Any:
            return checkpoint(partial(self._watched, taped, forward), *given, **more)

        own[CHECKPOINT] = watched
        try:
            return self.original(*args, **kwargs)
        finally:
            own[CHECKPOINT] = checkpoint

    def _refuse(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Refuse what cannot be had at further stages."""
        items: list[Any] = [args, kwargs]
        while items:
            item = items.pop()
            if isinstance(item, tuple) or type(item) in (list, dict):
                items.extend(item.values() if type(item) is dict else item)
            elif not isinstance(item, PLAIN):  # it would be changed once a step
                raise FieldError(
                    f"{self.name}: got a {type(item).__name__}, which what is added may change and go by (a key-value "
                    f"cache grows at each call, and would not hold what further stages of {self.scheme} are to find "
                    "there); expected none: pass use_cache=False, or take a scheme of one evaluation a step, such as "
                    "euler, lm or ab2"
                )

    def _watched(self, taped: bool, forward: Function, *args: Any, **kwargs: Any) -> Any:
        watch, compiled = Watch(self, Tape(self.name) if taped else None), torch.compiler.is_compiling()
        with whole_functions() if taped and not compiled else nullcontext(), watch:
            output = forward(*args, **kwargs)
        watch.finish()
        return output


@cache
def _uncompiled() -> Function:
    """What makes a call of which torch.compile sees nothing; it imports the compiler."""
    return torch.compiler.disable(lambda call, *args, **kwargs: call(*args, **kwargs))


def replaced(model: nn.Module) -> list[Quiet]:
    """What stands in the place of forwards in a model, in the order of its modules."""
    found = (getattr(vars(module).get("forward"), "__self__", None) for module in model.modules())
    return [one for one in found if isinstance(one, Quiet)]


def owners_of(model: nn.Module) -> list[Owner]:
    """The owners in a model, in the order of its modules; none in one that is not swapped."""
    return [one for one in replaced(model) if isinstance(one, Owner)]


def unwatched(module: nn.Module, path: str, watched: Set[str]) -> Iterator[nn.Module]:
    """The largest modules inside one in which nothing is done that a watch must see."""
    for name, child in module.named_children():
        own = f"{path}.{name}" if path else name
        if own in watched or any(other.startswith(f"{own}.") for other in watched):
            yield from unwatched(child, own, watched)
        elif not isinstance(child, torch.jit.ScriptModule) and any(True for _ in child.parameters()):
            yield child
