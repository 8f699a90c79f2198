"""What modules keep in themselves, as it was: to put it back after a run for a value alone, or to see what changed."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

#: attributes that every module has: flags, hooks, and what holds its tensors
INTERNAL = frozenset(vars(nn.Module()))
#: those of them that hold hooks
HOOKS = tuple(key for key, value in vars(nn.Module()).items() if "hook" in key and isinstance(value, dict))
#: what a forward may append to
CONTAINERS = (list, dict, set, deque, OrderedDict, defaultdict)

#: compared by value: a forward may compute the same one anew
VALUES = (bool, int, float, complex, str, torch.Size, torch.dtype, torch.device)


class Kept:
    """Attributes, buffers and containers of modules, and containers among arguments, as they are now.

    With ``hooks`` those as well: transformers sets hooks in a first pass, and an attribute that says so.
    """

    def __init__(self, modules: Iterable[nn.Module], arguments: Any = (), hooks: bool = False) -> None:
        self.modules = list(modules)
        self.attributes = [_own(m) for m in self.modules]
        self.buffers = [dict(m._buffers) for m in self.modules]
        self.versions = [_versions(m) for m in self.modules]
        self.contents = [(held, copied(held)) for own in self.attributes for held in _held(own.values())]
        self.contents += [(held, copied(held)) for held in _held([arguments])]
        for held in (vars(m)[key] for m in self.modules for key in HOOKS if hooks):
            self.contents.append((held, copied(held)))

    def changes(self) -> Iterator[str]:
        """What is no longer as it was; the statistics of normalisations are not looked at."""
        for module, own, buffers, versions in self._records():
            name = type(module).__name__
            now = _own(module)
            keys = sorted(now.keys() | own.keys())
            yield from (f"{name}.{key}" for key in keys if not _alike(now.get(key, module), own.get(key, module)))
            if isinstance(module, _NormBase):
                continue
            found = module._buffers
            yield from (f"{name}.{key}" for key, value in found.items() if value is not buffers.get(key))
            if found.keys() == buffers.keys() and _versions(module) != versions:
                yield f"a buffer of {name}"
        yield from (f"a {type(held).__name__}" for held, before in self.contents if not _same(held, before))

    def written(self) -> set[nn.Module]:
        """Modules whose buffers have been written to."""
        return {module for module, _, _, versions in self._records() if _versions(module) != versions}

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
    modules: Iterable[nn.Module],
    arguments: Any = (),
    own: Callable[[nn.Module], bool] = lambda _: True,
    hooks: bool = False,
) -> Iterator[Kept]:
    """Modules that are afterwards as they were. Those that are to have buffers of their own get copies of them."""
    kept = Kept(modules, arguments, hooks)
    try:
        for module in kept.modules:
            if own(module):
                copies = {key: None if b is None else b.clone() for key, b in module._buffers.items()}
                module._buffers.update(copies)
        yield kept
    finally:
        kept.restore()


def keeps_statistics(module: nn.Module) -> bool:
    """Whether its buffers are those of a BatchNorm, of which each stage has its own."""
    return isinstance(module, _BatchNorm)


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


def _versions(module: nn.Module) -> list[int]:
    return [version(b) for b in module._buffers.values() if b is not None]


def _alike(a: Any, b: Any) -> bool:
    return a is b or (type(a) is type(b) and isinstance(a, VALUES) and a == b)


def _held(values: Iterable[Any]) -> Iterator[Any]:
    """The containers among values, and in them."""
    for value in values:
        if type(value) in CONTAINERS:
            yield value
        if isinstance(value, tuple) or type(value) in CONTAINERS:
            yield from _held(value.values() if isinstance(value, dict) else value)


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
