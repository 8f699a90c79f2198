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

from ..fields import FieldError
from ..fields.masks import contents
from ..program import Evaluate
from ..program.transforms import recorded
from .calls import LAYOUT, STATISTICS, Added, Call, among, does_nothing, name_of, put, root, tensors_in, total, version
from .sums import Sum

NUMBERS = (int, float, complex, str, bytes)
KINDS = (type(None), torch.dtype, torch.device, torch.layout, torch.memory_format)


#: generators with states that they were in
Drawn = list[tuple[torch.Generator, Tensor]]


class Generators:
    """The default generators of all devices, and their states after the last call."""

    def __init__(self) -> None:
        self.generators = [torch.default_generator]
        if torch.cuda.is_initialized():
            self.generators += torch.cuda.default_generators
        if torch.backends.mps.is_available():
            self.generators.append(torch.mps._get_default_generator())  # type: ignore[attr-defined]
        self.states: tuple[Tensor, ...] = ()
        self.contents: list[bytes] = []
        self.drawn()

    def drawn(self) -> Drawn | None:
        """The generators with their states before, if something was drawn since the last time."""
        before, old = self.states, self.contents
        self.states = tuple(generator.get_state() for generator in self.generators)
        self.contents = contents(self.states)
        return None if self.contents == old else list(zip(self.generators, before, strict=False))


def surroundings() -> tuple[Any, ...]:
    """Whether gradients are recorded; autocast of the CPU and of the accelerator: device, whether it is on, dtype."""
    kinds = ["cpu"]
    if not torch.compiler.is_compiling() and torch.accelerator.is_available():
        kinds.append(torch.accelerator.current_accelerator().type)  # type: ignore[union-attr]
    autocast = tuple((kind, torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)) for kind in kinds)
    return torch.is_grad_enabled(), autocast


def again(call: Call, args: tuple[Any, ...], kwargs: dict[str, Any], now: tuple[Any, ...]) -> Any:
    """Make a call with other arguments, in what was around it, with the random numbers that it drew."""
    if call.random is None and call.around == now:
        return call.func(*args, **kwargs)
    with ExitStack() as stack:
        if call.around[0] != now[0]:
            stack.enter_context(torch.set_grad_enabled(call.around[0]))
        for kind, enabled, dtype in call.around[1] if call.around[1] != now[1] else ():
            stack.enter_context(torch.autocast(kind, enabled=enabled, dtype=dtype))
        for generator, state in call.random or ():  # outside nothing has been drawn
            stack.callback(generator.set_state, generator.get_state())
            generator.set_state(state)
        return call.func(*args, **kwargs)


class Tape:
    """The calls of a module's forward since the last sum. ``name`` of the module."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.calls: list[Call] = []
        self.generators = None if recorded() else Generators()

    def record(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Make a call and keep it."""
        call = Call(func, args, kwargs)
        call.around = surroundings()
        given = [x for x in (*args, *kwargs.values()) if isinstance(x, torch.Generator)]
        own = [(x, x.get_state()) for x in given]
        value = call.make()
        if self.generators is not None and not _asks(call):
            call.random = [*(self.generators.drawn() or ()), *own] or None
        self.calls.append(call)
        return value

    def refused(self, reason: str) -> FieldError:
        """The error for what cannot be had again."""
        return FieldError(
            f"{self.name}: got {reason}; expected calls that can be made again at the stages of a step: take a "
            "scheme of one evaluation a step, such as euler, lm or ab2"
        )


class Stages:
    """What is added to the state of a step, where the state is another: by the calls that lead from it to ``added``.

    ``outside`` of a call is what it writes to that was made before the state; one that ``reads`` has read such a
    tensor. What is made between, of nothing that depends on the state, and then written to by a call that does, is to
    be made anew. FieldError where a call cannot be made again.
    """

    def __init__(self, tape: Tape, one: Sum, u: Tensor, added: Sequence[Added], training: bool) -> None:
        self.tape, self.sum, self.u, self.added = tape, one, u, added
        terms, self.dependent = [x for own, _ in added for x in own], {u}
        if one.hidden[training] and recorded():
            raise tape.refused(
                f"{one.hidden[training]} under torch.compile or in a CUDA graph, where nobody can tell what is written "
                "to, nor draw the same numbers again"
            )
        live = self._from(u)
        while not all(any(x in self.dependent for x in own) for own, _ in added):
            self.u = self._copied(self.u)
            live = self._from(self.u)
        needed = {i for x in terms for i in (x, root(x))}
        self.calls: list[Call] = []
        for call in reversed(live):
            used = any(x in needed for x in call.made) or any(root(x) in needed for x in call.written)
            if used or _asks(call):
                if reason := self._unrepeatable(call):
                    raise tape.refused(reason)
                self.calls.insert(0, call)
                needed.update(i for x in call.given for i in (x, root(x)))
            elif call.func in LAYOUT or isinstance(call.value, (tuple, list)):
                # Python is told a shape, or a number of parts; of what a mask has chosen it may be another one.
                needed.update(call.given)

    def _copied(self, u: Tensor) -> Tensor:
        """The tensor that a state is a copy of."""
        maker = next((call for call in reversed(self.tape.calls) if among(u, call.made)), None)
        if maker is not None and does_nothing(maker.func, maker.args):
            return maker.given[0]
        if any(among(u, call.written) for call in self.tape.calls):
            raise self.tape.refused("a state that was written to after what is added to it was made of it")
        raise self.tape.refused(
            "no recorded call that leads from the state to what is added to it (numpy, a script; under torch.compile "
            "an autograd.Function, or a tensor that is unpacked, q, k, v = x: take x.unbind(0) there)"
        )

    def _from(self, u: Tensor) -> list[Call]:
        """The calls that depend on a state; their marks, and all tensors that do."""
        calls = self.tape.calls
        makers = [i for i, call in enumerate(calls) if among(u, [*call.made, *call.written])]
        calls = calls[makers[-1] + 1 if makers else 0 :]
        made = {x for c in calls for x in c.made if root(x) is x and not among(x, c.given)}
        anew: set[Tensor] = set()
        more: set[Tensor] = set()
        while True:
            changed: set[Tensor] = set()
            live, self.dependent = [], {u}
            for call in calls:
                call.reads = any(x in changed or root(x) in changed for x in call.given)
                if call.reads:
                    changed.update(call.made)
                if not any(x in self.dependent for x in call.given) and not any(root(x) in anew for x in call.made):
                    continue
                live.append(call)
                written = [x for x in call.written if x not in self.dependent]
                more.update(root(x) for x in written if root(x) in made)
                call.outside = [x for x in written if root(x) not in made]
                if call.func not in STATISTICS:
                    changed.update(i for x in call.outside for i in (x, root(x)))
                self.dependent.update(x for x in call.made if not among(x, call.outside))
            if more <= anew:
                return live
            anew |= more

    def _unrepeatable(self, call: Call) -> str:
        """Why a call cannot be made again; empty where it can."""
        name = name_of(call.func)
        if call.reads or any(among(x, call.outside) for x in call.made):
            return f"{name}, which reads what the branch wrote into a tensor that there was before (a cache, a buffer)"
        for x, old in zip(call.given, call.versions, strict=True):
            if x is self.u and version(x) != old:
                return f"a state that was written to after {name} had read it"
            if x not in self.dependent and version(x) != old and not among(x, call.written):
                return f"a tensor that was written to between {name}, which read it, and the sum"
        return ""

    def __call__(self, what: Evaluate | None, y: Tensor) -> Tensor:
        """Its value at y, in an evaluation of the step, or for an analysis."""
        statistics = {} if what is None else self.sum.statistics_of(what.index)
        found, now = {**statistics, self.u: y}, surroundings()
        for call in self.calls:
            aside = {x: x.detach().clone() for x in call.outside if x not in statistics}
            mapped = {**found, **aside} if aside else found
            value = again(call, put(call.args, mapped), put(call.kwargs, mapped), now)
            if call.func not in LAYOUT and not _same(call.value, value):
                raise self.tape.refused(
                    f"a call of {name_of(call.func)} that returned {_brief(call.value)} at the state, and "
                    f"{_brief(value)} at a further stage, which the forward may have gone by"
                )
            found.update(zip(call.made, tensors_in(value), strict=True))
        return total(self.added, y, found)


def _asks(call: Call) -> bool:
    """Whether a call tells the model's Python something about the values of a tensor."""
    told = not (call.made or call.written or isinstance(call.value, (torch.Size, *KINDS)))
    return told and bool(call.given) and call.func not in LAYOUT


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
