"""Calls of torch recorded as they happen, and made again with another value in the place of the state.

Chosen over running a forward again, cut at the sum: no Python of the model runs twice, so that whatever it does
besides (a counter, a list of outputs, an auxiliary loss) is done once. A trace by torch.fx was rejected: it bakes
in what was true when it was made. A recording lives from one sum to the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..fields import FieldError
from ..program.transforms import recorded
from .calls import Function, name_of, named, put, root, tensors_in, version
from .generators import Generators, autocasts, draws, restored

#: what tells of a tensor how it is laid out, not what is in it; the state is laid out in the same way at all stages
LAYOUT = named(
    "shape size dim ndim numel nelement stride storage_offset dtype device layout is_contiguous is_floating_point "
    "is_complex is_cuda is_sparse is_quantized element_size itemsize nbytes __len__ requires_grad is_leaf grad_fn grad "
    "_version data_ptr names get_device type is_meta is_mps is_nested is_inference _base output_nr",
    Tensor,
)
#: these write running statistics without a new version
STATISTICS = frozenset({F.batch_norm, F.instance_norm, torch.batch_norm, torch.instance_norm, torch.native_batch_norm})
ASSIGNING = named("__setitem__ copy_ set_", Tensor)
NUMBERS = (int, float, complex, str, bytes)
KINDS = (type(None), torch.dtype, torch.device, torch.layout, torch.memory_format)


class Call:
    """One call: what went in, what came out, what it wrote to, and what it drew or was surrounded by."""

    def __init__(self, func: Function, args: tuple[Any, ...], kwargs: Mapping[str, Any], given: list[Tensor]) -> None:
        self.func, self.given = func, given
        self.args, self.kwargs = put(args, {}), put(kwargs, {})
        self.versions = [version(x) for x in given]
        self.value: Any = None
        self.made: list[Tensor] = []
        self.written: list[Tensor] = []
        self.around: Any = None
        self.random: Any = None
        #: tells the model's Python something about the values of a tensor
        self.asks = False
        #: written to, but made before the state
        self.outside: list[Tensor] = []
        #: depends on the state; reads what a call that does wrote to something made before the state
        self.live = self.reads = False

    def done(self, value: Any) -> None:
        """It has returned a value."""
        self.value, self.made = value, list(tensors_in(value))
        if self.func in STATISTICS:
            named = (self.kwargs.get("running_mean"), self.kwargs.get("running_var"))
            self.written = [x for x in (*self.args[1:3], *named) if x is not None]
        elif torch.compiler.is_compiling():  # where nothing is counted
            assigned = self.given[:1] if self.func in ASSIGNING else []
            self.written = [x for x in self.given if any(x is y for y in self.made)] + assigned
        else:
            self.written = [x for x, old in zip(self.given, self.versions, strict=True) if version(x) != old]
        told = not (self.made or self.written or isinstance(value, (torch.Size, *KINDS)))
        self.asks = bool(self.given) and told and self.func not in LAYOUT


class Tape:
    """The calls of a module's forward since the last sum; ``name``: of the module."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.calls: list[Call] = []
        self.generators = None if recorded() else Generators()

    def record(self, func: Function, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Make a call and keep it."""
        call = Call(func, args, kwargs, list(tensors_in((args, kwargs))))
        call.around = torch.is_grad_enabled(), autocasts()
        value = func(*args, **kwargs)
        call.done(value)
        if self.generators is not None:
            call.random = None if call.asks else self.generators.drawn()
        self.calls.append(call)
        return value

    def forget(self, calls: bool) -> None:
        """Begin anew after a sum; the calls before it are kept where a later one has an older state."""
        if calls:
            self.calls = []

    def origin(self, u: Tensor, copies: int) -> Tensor:
        """What a state was before so many calls that do nothing."""
        for _ in range(copies):
            maker = next(call for call in reversed(self.calls) if any(x is u for x in call.made))
            u = maker.given[0]
        return u

    def refused(self, reason: str) -> FieldError:
        """The error for what cannot be had again."""
        return FieldError(
            f"{self.name}: got {reason}; expected calls that can be made again at the stages of a step: take a scheme "
            "of one evaluation a step, such as euler, lm or ab2"
        )

    def way(self, u: Tensor, added: Sequence[Sequence[Tensor]]) -> list[Call]:
        """The calls that lead from a state to what is added to it, each of which is made of some tensors.

        Raises:
            FieldError: one of them could not be made again.
        """
        makers = [i for i, c in enumerate(self.calls) if any(x is u for x in (*c.made, *c.written))]
        calls = self.calls[makers[-1] + 1 if makers else 0 :]
        dependent = _mark(calls, u)
        if not all(any(id(x) in dependent for x in terms) for terms in added):
            if any(x is u for call in self.calls for x in call.written):
                raise self.refused("a state that was written to after what is added to it was made of it")
            raise self.refused(
                "no recorded call that leads from the state to what is added to it (numpy, a script, an "
                "autograd.Function under torch.compile?)"
            )
        terms = [x for one in added for x in one]
        needed = {id(x) for x in terms} | {root(x) for x in terms}
        kept = []
        for call in reversed(calls):
            used = any(id(x) in needed for x in call.made) or any(root(x) in needed for x in call.written)
            if call.live and (call.asks or used):
                if reason := _unrepeatable(call, u, dependent):
                    raise self.refused(reason)
                kept.append(call)
                needed.update(id(x) for x in call.given)
                needed.update(root(x) for x in call.given)
        return kept[::-1]

    def replay(
        self, way: Sequence[Call], u: Tensor, y: Tensor, terms: Sequence[Tensor], statistics: Mapping[int, Tensor]
    ) -> tuple[Tensor, ...]:
        """What the terms are where the state is y."""
        found, now = {**statistics, id(u): y}, (torch.is_grad_enabled(), autocasts())
        for call in way:
            others = {id(x): x.detach().clone() for x in call.outside if id(x) not in statistics}
            mapped = {**found, **others} if others else found
            if call.random is None and call.around == now:
                value = call.func(*put(call.args, mapped), **put(call.kwargs, mapped))
            else:
                with ExitStack() as stack:
                    restored(stack, call.around, now, call.random)
                    value = call.func(*put(call.args, mapped), **put(call.kwargs, mapped))
            if call.func not in LAYOUT and not _same(call.value, value):
                raise self.refused(
                    f"a call of {name_of(call.func)} that returned {_brief(call.value)} at the state, and "
                    f"{_brief(value)} at a further stage, which the forward may have gone by"
                )
            found.update(zip(map(id, call.made), tensors_in(value), strict=True))
        return tuple(found.get(id(x), x) for x in terms)


def _mark(calls: Sequence[Call], u: Tensor) -> set[int]:
    """Which calls depend on u, and the ids of all tensors that do.

    What is made between, of nothing that depends on u, and then written to by a call that does, is to be made anew.
    """
    made = {id(x) for c in calls for x in c.made if root(x) == id(x) and not any(x is y for y in c.given)}
    anew: set[int] = set()
    while True:
        dependent: set[int] = {id(u)}
        changed: set[int] = set()
        more: set[int] = set()
        for call in calls:
            call.reads = any(id(x) in changed or root(x) in changed for x in call.given)
            call.outside = []
            call.live = any(id(x) in dependent for x in call.given) or any(root(x) in anew for x in call.made)
            if call.reads:
                changed.update(id(x) for x in call.made)
            if not call.live:
                continue
            for x in call.written:
                if id(x) in dependent:
                    continue
                if root(x) in made:
                    more.add(root(x))
                else:
                    call.outside.append(x)
                    if call.func not in STATISTICS:
                        changed.update((id(x), root(x)))
            dependent.update(id(x) for x in call.made if not any(x is y for y in call.outside))
        if more <= anew:
            return dependent
        anew |= more


def _unrepeatable(call: Call, u: Tensor, dependent: set[int]) -> str:
    """Why a call cannot be made again; empty where it can."""
    name = name_of(call.func)
    if call.reads or any(x is y for x in call.made for y in call.outside):
        return f"{name}, which reads what the branch wrote into a tensor that there was before (a cache, a buffer)"
    if recorded() and draws(call.func, call.args, call.kwargs):
        return (
            f"{name}, which draws random numbers under torch.compile or in a CUDA graph, where the same ones cannot be "
            "drawn again"
        )
    for x, old in zip(call.given, call.versions, strict=True):
        if x is u and version(u) != old:
            return f"a state that was written to after {name} had read it"
        if id(x) not in dependent and version(x) != old and not any(x is y for y in call.written):
            return f"a tensor that was written to between {name}, which read it, and the sum"
    return ""


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and a.shape == b.shape and a.dtype == b.dtype
    if isinstance(a, (list, tuple)):
        return isinstance(b, (list, tuple)) and len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, NUMBERS):
        return type(a) is type(b) and (a == b or repr(a) == repr(b))  # nan is no other number
    return isinstance(a, KINDS) and a == b  # an array of numpy, an object: there is no telling


def _brief(value: Any) -> str:
    return f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else f"{type(value).__name__} {value!s:.60}"
