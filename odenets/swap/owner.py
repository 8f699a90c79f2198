"""What takes the place of the forward of a module that has sums in it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..fields import FieldError
from ..net.networks_in_model import CHAIN
from .calls import Function
from .functions import whole_functions
from .steps import Plan
from .tape import Tape
from .watch import Watch

#: arguments that no evaluation of a branch can change
PLAIN = (Tensor, type(None), bool, int, float, complex, str, torch.dtype, torch.device)
#: of a module, called by torch.nn.DataParallel
REPLICATE = "_replicate_for_data_parallel"
#: of a layer of transformers
CHECKPOINT = "_gradient_checkpointing_func"


class Owner:
    """A module with sums in it; :meth:`forward` is set as its forward. ``path``: where it is in the model."""

    def __init__(self, module: nn.Module, path: str, plan: Plan) -> None:
        self.module, self.path, self.plan = module, path, plan
        #: a forward that the module itself had, in the place of its class's
        self.own: Any = None
        self.lock = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles have a lock of their own."""
        return {key: value for key, value in self.__dict__.items() if key != "lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """With a lock of its own."""
        self.__dict__.update(state, lock=threading.RLock())

    def install(self) -> None:
        """Take the place of the module's forward."""
        self.own = self.module.__dict__.get("forward")
        # A bound method: it is copied and pickled with the module, and torch.compile traces through it.
        self.module.__dict__.update({"forward": self.forward, REPLICATE: self.refuse_replica, CHAIN: self.plan.chains})

    def remove(self) -> None:
        """Give the module its own forward back."""
        for key in ("forward", REPLICATE, CHAIN):
            self.module.__dict__.pop(key, None)
        if self.own is not None:
            self.module.__dict__["forward"] = self.own

    def refuse_replica(self) -> nn.Module:
        """A replica would have this forward, and so the weights of the original."""
        raise FieldError(
            f"{self.plan.name}: got a replica for torch.nn.DataParallel, expected none of a swapped block; use "
            "DistributedDataParallel"
        )

    def original(self, *args: Any, **kwargs: Any) -> Any:
        """The module's forward as it was."""
        if self.own is not None:
            return self.own(*args, **kwargs)
        return type(self.module).forward(self.module, *args, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """As the module's own, with the scheme's step in the place of each sum."""
        if type(next(iter((*args, *kwargs.values())), None)) is torch.fx.Proxy:
            raise FieldError(
                f"{self.plan.name}: got a proxy of torch.fx, expected tensors (a swapped model cannot be traced by "
                "torch.fx; torch.export can, strict=False)"
            )
        taped = self.plan.replays
        for chain in self.plan.chains:
            taped = taped or chain.observer is not None
        if taped:
            self._refuse_objects((args, kwargs))
        if torch.compiler.is_compiling():
            self._refuse_compiled()
            return self._run(taped, args, kwargs)
        counts = self.plan.counts or taped
        if not taped and not (counts and torch.is_inference_mode_enabled()):
            return self._run(taped, args, kwargs)
        with self._one_thread(taped), _counted(counts):
            return self._run(taped, args, kwargs)

    def _run(self, taped: bool, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        # transformers checkpoints inside the forward of its layers, which is run again in the backward pass.
        checkpoint: Any = vars(self.module).get(CHECKPOINT)
        if checkpoint is None or torch.compiler.is_compiling():
            return self._watched(taped, self.original, *args, **kwargs)
        vars(self.module)[CHECKPOINT] = partial(self._checkpointed, checkpoint, taped)
        try:
            if self.module.gradient_checkpointing and self.module.training and torch.is_grad_enabled():
                return self.original(*args, **kwargs)
            return self._watched(taped, self.original, *args, **kwargs)
        finally:
            vars(self.module)[CHECKPOINT] = checkpoint

    def _checkpointed(self, checkpoint: Function, taped: bool, forward: Function, *args: Any, **kwargs: Any) -> Any:
        return checkpoint(partial(self._watched, taped, forward), *args, **kwargs)

    def _watched(self, taped: bool, forward: Function, *args: Any, **kwargs: Any) -> Any:
        watch = Watch(self.plan, Tape(self.plan.name) if taped else None)
        if taped and not torch.compiler.is_compiling():
            with whole_functions(), watch:
                output = forward(*args, **kwargs)
        else:
            with watch:
                output = forward(*args, **kwargs)
        watch.finish()
        return output

    def _refuse_compiled(self) -> None:
        plan = self.plan
        if plan.aliased and plan.replays:
            raise FieldError(
                f"{plan.name}: got a forward that writes through views under torch.compile, where nobody can tell what "
                f"is written to, with {plan.scheme}, expected a scheme of one evaluation a step"
            )
        if plan.around and plan.steps:
            raise FieldError(
                f"{plan.name}: got a forward that has sums of its own and calls modules that have others under "
                "torch.compile, which cannot tell them apart, expected it to be run eagerly; compile the modules in it"
            )

    def _refuse_objects(self, value: Any) -> None:
        """What is changed by a branch would be so once a step, and not at its further stages."""
        for item in leaves(value):
            if not isinstance(item, PLAIN):
                raise FieldError(
                    f"{self.plan.name}: got a {type(item).__name__}, which what is added may change and go by (a "
                    "key-value cache grows at each call, and would not hold what further stages of "
                    f"{self.plan.scheme} are to find there); expected none: pass use_cache=False, or take a scheme of "
                    "one evaluation a step, such as euler, lm or ab2"
                )

    @contextmanager
    def _one_thread(self, taped: bool) -> Iterator[None]:
        """Refuse a second thread: random numbers of a stage are drawn from the generators that all threads have."""
        if not taped:
            yield
            return
        if not self.lock.acquire(blocking=False):
            raise FieldError(
                f"{self.plan.scheme}: got a second thread in {self.plan.name}, which would draw the random numbers of "
                "the first one's stages, expected one thread at a time; give each a copy.deepcopy of the model"
            )
        try:
            yield
        finally:
            self.lock.release()


@contextmanager
def _counted(counts: bool) -> Iterator[None]:
    """Out of inference mode, where torch does not count writes, if these matter."""
    if counts and torch.is_inference_mode_enabled():
        with torch.inference_mode(False), torch.no_grad():
            yield
    else:
        yield


def leaves(value: Any) -> Iterator[Any]:
    """What nested tuples, lists and dictionaries hold."""
    if isinstance(value, tuple) or type(value) is list:
        for item in value:
            yield from leaves(item)
    elif type(value) is dict:
        yield from leaves(list(value.values()))
    else:
        yield value
