"""What is around a block when it is called, and is put back wherever it is called again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import BuiltinFunctionType, FunctionType, NoneType
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack, _pop_mode, _push_mode
from torch.utils import _device

from .errors import FieldError

#: a dictionary of a module, a key of it, and the value
Attribute = tuple[dict[str, Any], str, Any]
#: attributes that every module has: flags, hooks, and what holds its tensors
INTERNAL = frozenset(vars(nn.Module()))
#: What is kept of attributes. A tensor, or what may hold one, would keep the graph of an earlier pass alive.
KEPT = (bool, int, float, complex, str, NoneType, FunctionType, BuiltinFunctionType, torch.dtype, torch.device)
_NONE = object()


class Context:
    """What a block's value depends on besides tensors and random numbers (:class:`.masks.Masks`).

    That is training or evaluation, module by module, the numbers, names and functions that are attributes of these
    modules (Dropout.p, a BatchNorm's momentum), their submodules, autocast, the default dtype, the default device and
    the TorchFunctionModes. Captured in the forward pass; whoever evaluates f again, in whatever backward pass, does so
    inside :meth:`restored`. So the blocks are the same functions whatever of it has been set in between; a module whose
    class has changed, as parametrizations change it, is refused.

    Args:
        modules: the modules that are called.
        device: where they run.
        places: further attributes that decide what is called, as the layer's place in the list of layers.

    While torch.compile traces, nothing but autocast can be read: what is called eagerly from there has the context of
    its first call, which is in the forward pass.
    """

    def __init__(self, modules: Sequence[nn.Module], device: torch.device, places: Sequence[Attribute] = ()) -> None:
        self.modules = modules = tuple(dict.fromkeys(modules))
        self.autocast = autocast_of(device.type)
        # Parts of a block may be on the CPU, with an autocast of their own.
        self._aside = device.type not in {"cpu", "meta"}
        self._then = None if torch.compiler.is_compiling() else self._now()
        self._before = [] if self._then is None else [*places, *_attributes(modules)]
        self._kept: list[Attribute] = []

    def settle(self) -> None:
        """The forward pass is over: attributes that it has not set itself, as a counter is, are kept for what follows.

        By identity, so that nothing is compared or copied. Not seen are attributes that there were none of, hooks, and
        what lists, dictionaries and objects hold.
        """
        self._kept = [item for item in self._before if item[0].get(item[1], _NONE) is item[2]]
        self._before = []

    def precision(self) -> AbstractContextManager[None]:
        """Autocast as it was; its cache is off, for it would hand out weights without a graph."""
        return nullcontext() if self.autocast is None else torch.autocast(**self.autocast, cache_enabled=False)

    def restored(self) -> AbstractContextManager[None]:
        """All of it but autocast, which is off where stages are solved for."""
        if torch.compiler.is_compiling():
            return nullcontext()
        now = self._now()
        if self._then is None:
            self._then = now
        if now.kinds != self._then.kinds:
            raise FieldError(
                "got a module of another class than in the forward pass, expected the same until the backward pass is "
                "over (no parametrization, as weight_norm is one, put on or taken off in between)"
            )
        # Those that have been set since, as they are now.
        new = [
            (held, key, held.get(key, _NONE)) for held, key, value in self._kept if held.get(key, _NONE) is not value
        ]
        return nullcontext() if now == self._then and not new else self._exchanged(now, self._then, new)

    def _now(self) -> _Surroundings:
        modes = tuple(_get_current_function_mode_stack())
        training = tuple([module.training for module in self.modules])
        aside = torch.is_autocast_enabled("cpu") if self._aside else None
        kinds = tuple(map(type, self.modules))
        return _Surroundings(training, kinds, torch.get_default_dtype(), _device.CURRENT_DEVICE, aside, modes)

    @contextmanager
    def _exchanged(self, now: _Surroundings, then: _Surroundings, new: Sequence[Attribute]) -> Iterator[None]:
        self._put(then)
        places = {(id(held), key): (held, key, value) for held, key, value in self._kept}
        put = [places[id(held), key] for held, key, _ in new]
        _set(put)
        try:
            yield
        finally:
            self._put(now)
            # Not what has been set meanwhile, as a hook that counts does.
            _set(late for late, (held, key, mine) in zip(new, put, strict=True) if held.get(key, _NONE) is mine)

    def _put(self, surroundings: _Surroundings) -> None:
        for module, training in zip(self.modules, surroundings.training, strict=True):
            if module.training != training:
                module.training = training
        torch.set_default_dtype(surroundings.dtype)
        if surroundings.aside is not None:
            torch.set_autocast_enabled("cpu", surroundings.aside)
        # A default device is a function mode as well; this is where torch.compile's guards look for it.
        _device.CURRENT_DEVICE = surroundings.device
        for _ in _get_current_function_mode_stack():
            _pop_mode()
        for mode in surroundings.modes:
            _push_mode(mode)


def _plain(value: Any) -> bool:
    return isinstance(value, KEPT) or (isinstance(value, tuple) and all(isinstance(item, KEPT) for item in value))


def _attributes(modules: Sequence[nn.Module]) -> Iterator[Attribute]:
    """The attributes of modules that torch has not given to all, as far as they are :data:`KEPT`; their submodules."""
    for module in modules:
        if isinstance(module, torch.jit.ScriptModule):
            continue  # what it does is compiled
        held = vars(module)
        for key in held.keys() - INTERNAL:
            if _plain(value := held[key]):
                yield held, key, value
        for key, value in module._modules.items():
            yield module._modules, key, value


@contextmanager
def put_back(modules: Iterable[nn.Module]) -> Iterator[None]:
    """What is tried inside leaves the modules' attributes as they were: a flag for a first call stays up."""
    before = [(vars(module), dict(vars(module))) for module in modules]
    try:
        yield
    finally:
        for held, old in before:
            for key in held.keys() - old.keys():
                del held[key]
            held.update(old)


def _set(attributes: Iterable[Attribute]) -> None:
    for held, key, value in attributes:
        if value is _NONE:
            held.pop(key, None)
        else:
            held[key] = value


class _Surroundings(NamedTuple):
    training: tuple[bool, ...]
    kinds: tuple[type[nn.Module], ...]
    dtype: torch.dtype
    device: torch.device | None
    aside: bool | None
    modes: tuple[TorchFunctionMode, ...]


def autocast_of(device: str) -> dict[str, Any] | None:
    """Arguments of torch.autocast that restore what holds now; None on a device that has none.

    Off as well as on: a backward pass may be called inside autocast where the forward pass was not.
    """
    if device == "meta":
        return None
    enabled, dtype = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
    return {"device_type": device, "dtype": dtype, "enabled": enabled}
