"""What modules keep in themselves, as it was: to put it back after a run for a value alone, or to see what changed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from .sums import tensors_in

#: attributes that every module has: flags, hooks, and what holds its tensors
INTERNAL = frozenset(vars(nn.Module()))
#: those of them that hold hooks
HOOKS = tuple(key for key, value in vars(nn.Module()).items() if "hook" in key and isinstance(value, dict))
#: elements of a buffer of integers that is a counter or the like
SMALL = 1024
#: what a forward may append to
CONTAINERS = (list, dict, set, deque)

#: compared by value: a forward may compute the same one anew
VALUES = (bool, int, float, complex, str, torch.Size, torch.dtype, torch.device)


class ModuleState:
    """Attributes, buffers and containers of modules, and containers among arguments, as they are now.

    With ``hooks`` those as well: transformers sets hooks in a first pass, and an attribute that says so.
    """

    def __init__(self, modules: Iterable[nn.Module], arguments: Any = (), hooks: bool = False) -> None:
        self.modules = list(modules)
        self.attributes = [_own(m) for m in self.modules]
        self.buffers = [dict(m._buffers) for m in self.modules]
        self.versions = [_versions(m._buffers.values()) for m in self.modules]
        self.contents = [(held, copied(held)) for own in self.attributes for held in _held(own.values())]
        self.contents += [(held, copied(held)) for held in _held([arguments])]
        for held in (vars(m)[key] for m in self.modules for key in HOOKS if hooks):
            self.contents.append((held, copied(held)))
        # What is neither a buffer nor can be put back: parameters, other tensors of the module, arguments.
        self.others: list[Tensor] = [p for m in self.modules for p in m._parameters.values() if p is not None]
        self.others += [x for own in self.attributes for value in own.values() for x in _held_tensors(value)]
        self.others += tensors_in(arguments)
        self.others += [b for m in self.modules for b in m._buffers.values() if b is not None and not _copied(b)]
        self.marks = _versions(self.others)

    def changes(self) -> list[str]:
        """What is no longer as it was; the statistics of normalisations are not looked at."""
        found = []
        for module, own, buffers, versions in self._records():
            held, written = [_own(module), own], False
            if not isinstance(module, _NormBase):
                held = [{**held[0], **module._buffers}, {**held[1], **buffers}]
                written = _versions(buffers.values()) != versions
            for key in sorted((held[0].keys() | held[1].keys()) - _made_by_hooks(module)):
                if not _alike(held[0].get(key, module), held[1].get(key, module)):
                    found.append(f"{type(module).__name__}.{key}")
            if written:
                found.append(f"a buffer of {type(module).__name__}")
        for container, before in self.contents:
            if not _same(container, before):
                found.append(f"a {type(container).__name__}")
        return found

    def overwritten(self) -> str:
        """A parameter, an argument or another tensor that has been written to, in words; empty where none was."""
        wrong = [x for x, before in zip(self.others, self.marks, strict=True) if version(x) != before]
        if not wrong:
            return ""
        held = [(m, {**m._parameters, **own}) for m, own in zip(self.modules, self.attributes, strict=True)]
        names = [f"{type(m).__name__}.{key}" for m, own in held for key, x in own.items() if x is wrong[0]]
        return names[0] if names else f"an argument, or a tensor in a container, of shape {tuple(wrong[0].shape)}"

    def restore(self) -> None:
        """Put back attributes, buffers and contents; what was written into a tensor stays."""
        for module, own, buffers, _ in self._records():
            _put_back(vars(module), _own(module), own)
            _put_back(module._buffers, dict(module._buffers), buffers)
        for held, before in self.contents:
            if not _same(held, before):
                _refill(held, before)

    def _records(self) -> Iterator[tuple[nn.Module, dict[str, Any], dict[str, Tensor | None], Any]]:
        return zip(self.modules, self.attributes, self.buffers, self.versions, strict=True)


@contextmanager
def unchanged(
    modules: Iterable[nn.Module], arguments: Any = (), own: type | None = None, hooks: bool = False
) -> Iterator[ModuleState]:
    """Modules that are afterwards as they were. All but those of kind ``own`` work on copies of their buffers.

    Of all but large ones of integers (masks, relative positions): those written to through ``.data`` do not say so.
    """
    kept = ModuleState(modules, arguments, hooks)
    copies: dict[int, Tensor] = {}
    try:
        for module in kept.modules if own is not nn.Module else ():
            if own is None or not isinstance(module, own):
                for key, b in module._buffers.items():
                    if b is not None and _copied(b):
                        if id(b) not in copies:  # modules may share it
                            copies[id(b)] = b.clone()
                        module._buffers[key] = copies[id(b)]
        yield kept
    finally:
        kept.restore()


def _copied(b: Tensor) -> bool:
    return b.is_floating_point() or b.is_complex() or b.numel() <= SMALL


def version(x: Tensor) -> int:
    """How often x has been written to, where that can be known."""
    return 0 if torch.compiler.is_compiling() or x.is_inference() else x._version


def _own(module: nn.Module) -> dict[str, Any]:
    return {key: value for key, value in vars(module).items() if key not in INTERNAL}


def _put_back(held: dict[str, Any], now: dict[str, Any], before: dict[str, Any]) -> None:
    for key in now.keys() - before.keys():
        del held[key]
    for key, value in before.items():
        if key not in now or now[key] is not value:
            held[key] = value


def _versions(tensors: Iterable[Tensor | None]) -> list[int]:
    return [version(x) for x in tensors if x is not None]


def _made_by_hooks(module: nn.Module) -> set[Any]:
    """Names of the weights that torch's weight_norm, spectral_norm and pruning make before each call."""
    found = set()
    for hook in module._forward_pre_hooks.values():
        found |= {getattr(hook, key, None) for key in ("name", "_tensor_name")}
    return found


def _alike(a: Any, b: Any) -> bool:
    return a is b or (type(a) is type(b) and isinstance(a, VALUES) and a == b)


def _held(values: Iterable[Any], above: tuple[int, ...] = ()) -> Iterator[Any]:
    """The containers among values, and in them."""
    for value in values:
        if isinstance(value, CONTAINERS):
            yield value
        if isinstance(value, (tuple, *CONTAINERS)) and id(value) not in above:
            inner = value.values() if isinstance(value, dict) else value
            yield from _held(inner, (*above, id(value)))


def _held_tensors(value: Any) -> Iterator[Tensor]:
    """The tensors that an attribute is or holds; not those of objects with fields, such as a configuration."""
    if isinstance(value, Tensor):
        yield value
    for held in _held([value]):
        yield from (x for x in (held.values() if isinstance(held, dict) else held) if isinstance(x, Tensor))


def copied(held: Any) -> Any:
    """The contents of a container."""
    return dict(held) if isinstance(held, dict) else list(held)


def _same(held: Any, before: Any) -> bool:
    now = copied(held)
    if isinstance(now, dict):
        return now.keys() == before.keys() and all(now[key] is before[key] for key in now)
    return len(now) == len(before) and all(a is b for a, b in zip(now, before, strict=True))


def _refill(held: Any, before: Any) -> None:
    held.clear()
    if isinstance(held, (list, deque)):
        held.extend(before)
    else:
        held.update(before)
