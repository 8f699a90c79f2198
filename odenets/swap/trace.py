"""One pass of a model at the example, taken down as a graph: which value is made of which, and by which call."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from ..fields import FieldError
from ..fields.masks import capture, replaying
from ..net.copies import copy_of
from .calls import ADD, Call, Function, addition, among, called_from, name_of, tensors_in, version
from .replay import Generators
from .sums import Frame, Frames, Numbers, Sum
from .watch import whole_functions


@dataclass(eq=False)
class Value:
    """A tensor as it is between two writes, and the call that it comes from.

    Sets of values are integers with a bit for each: ``before`` are those that it is made of, itself among them,
    ``weighed`` those that it is made of by way of a weight, a parameter of two dimensions or more, ``scaled`` by way of
    any parameter. ``fixed``: made of parameters and buffers alone; ``kernel``: of a weight, ``parameter``: of any.
    ``name`` of a parameter; ``norm`` whose running mean it is; ``unseen``: the operator that made it where no recorded
    call did; ``drew``: what drew random numbers for it; ``uses``: what is made of it, -1 for the model's output.
    """

    number: int
    tensor: Tensor
    call: Call | None
    inputs: Numbers
    frames: Frames
    before: int
    weighed: int = 0
    scaled: int = 0
    fixed: bool = False
    kernel: bool = False
    parameter: bool = False
    name: str = ""
    norm: str | None = None
    unseen: str = ""
    drew: str = ""
    uses: list[int] = field(default_factory=list)


class Trace:
    """Values by number, in the order in which they were made, and the additions among their calls.

    ``called``: how often each module was; ``aliased``: whether a tensor was written to that is a view.
    """

    def __init__(self, model: nn.Module) -> None:
        self.values, self.additions, self.called, self.aliased = list[Value](), list[Sum](), dict[str, int](), False
        self.numbers, self.last = dict[tuple[int, int], int](), dict[int, int]()
        for name, x in [*model.named_parameters(), *model.named_buffers()]:
            value, (home, _, last) = self.new(x, ()), name.rpartition(".")
            value.fixed, value.parameter, value.name = True, isinstance(x, nn.Parameter), name
            value.kernel = value.parameter and sum(size > 1 for size in x.shape) > 1
            if last == "running_mean" and isinstance(model.get_submodule(home), _BatchNorm):
                value.norm = home

    def new(
        self, x: Tensor, inputs: Numbers, call: Call | None = None, frames: Frames = (), more: Numbers = ()
    ) -> Value:
        """Give a value a number; it is made of the inputs of its call, and of ``more``."""
        number, given = len(self.values), [self.values[i] for i in (*inputs, *more)]
        value = Value(number, x, call, inputs, frames, 1 << number)
        kernel, parameter = any(one.kernel for one in given), any(one.parameter for one in given)
        for one in given:
            value.before |= one.before
            value.weighed |= one.weighed | (one.before if kernel else 0)
            value.scaled |= one.scaled | (one.before if parameter else 0)
            one.uses.append(number)
        value.fixed = bool(given) and all(one.fixed for one in given)
        value.kernel, value.parameter = kernel and value.fixed, parameter and value.fixed
        self.values.append(value)
        self.numbers[id(x), version(x)] = self.last[id(x)] = number
        return value

    def number(self, x: Tensor) -> int:
        """The number of a tensor as it is now."""
        if (id(x), version(x)) not in self.numbers:
            # It was written to, maybe under another name, or comes from outside.
            before = [self.last[id(t)] for t in (x, x._base) if t is not None and id(t) in self.last]
            self.new(x, tuple(dict.fromkeys(before)))
        return self.numbers[id(x), version(x)]

    def make(self, call: Call, frames: Frames = ()) -> list[Value]:
        """Make a call: what it returns and what it writes to are made of its inputs. Returns these values."""
        inputs, first = tuple(dict.fromkeys(map(self.number, call.given))), len(self.values)
        call.make()
        bases = [x._base for x in call.written if x._base is not None]
        self.aliased = self.aliased or bool(bases)
        for x in (*call.written, *bases, *call.made):
            if (id(x), version(x)) not in self.numbers:
                last = None if among(x, call.made) else self.last.get(id(x))
                self.new(x, inputs, call, frames, () if last is None or last in inputs else (last,))
        return self.values[first:]

    def placed(self, owners: Set[str]) -> list[tuple[Sum, Frame, int, int]]:
        """The additions in calls of ``owners``: the call, which one in its line it is there, and which of all."""
        found, counts = [], Counter[Any]()
        for added in self.additions:
            # What is added in an owner is not seen by one around it.
            frame = next((frame for frame in reversed(added.frames) if frame.module in owners), None)
            if frame is not None:
                found.append((added, frame, counts[frame, added.source], counts[frame]))
                counts.update([frame, (frame, added.source)])
        return found

    def numbered(self, owners: Set[str]) -> dict[Any, set[tuple[int, int]]]:
        """By where it is made, which of the additions in calls of its owner one is, and of how many."""
        placed, found = self.placed(owners), dict[Any, set[tuple[int, int]]]()
        totals = Counter(frame for _, frame, *_ in placed)
        for added, frame, place, number in placed:
            found.setdefault((frame.module, added.source, place), set()).add((number, totals[frame]))
        return found

    def between(self, first: int, last: int) -> Iterator[Value]:
        """The values on the ways from one to another, without the first."""
        for value in self.values[first + 1 : last + 1]:
            if self.values[last].before >> value.number & 1 and value.before >> first & 1:
                yield value


class Recorder(TorchFunctionMode):
    """Takes down every call; the forwards of the modules say in which of them it is made."""

    def __init__(self, trace: Trace) -> None:
        self.trace, self.depth, self.generators, self.stack = trace, 0, Generators(), list[Frame]()

    def __torch_function__(self, func: Function, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Make the call and note it."""
        trace, frames, call = self.trace, tuple(self.stack), Call(func, args, kwargs or {})
        if any(torch._C._functorch.is_functorch_wrapped_tensor(x) for x in call.given):
            return func(*args, **(kwargs or {}))  # what is inside shows as operators
        operands, factor = addition(func, args, kwargs or {}) or ((), 1)
        numbers = tuple(map(trace.number, operands))
        self.depth += 1
        try:
            made = trace.make(call, frames)
        finally:
            self.depth -= 1
        for one in made if self.generators.drawn() is not None else ():
            one.drew = name_of(func)
        if operands:
            sides = (0, 1) if func in ADD and factor == 1 else (0,)
            trace.additions.append(Sum(called_from(1), frames, numbers, trace.number(call.value), sides))
        return call.value

    def forward(self, name: str, original: Any, *args: Any, **kwargs: Any) -> Any:
        """A module's forward, noted."""
        self.trace.called[name] = self.trace.called.get(name, 0) + 1
        self.stack.append(Frame(name, len(self.trace.values)))
        try:
            return original(*args, **kwargs)
        finally:
            self.stack.pop()


class Unseen(TorchDispatchMode):
    """Sees the operators that run outside every call that the recorder saw: of scripts, and of functorch."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Make the call, and note what it returns if nobody else does."""
        if self.recorder.depth:
            return func(*args, **(kwargs or {}))
        call = Call(func, args, kwargs or {})
        for one in self.recorder.trace.make(call):
            one.unseen = name_of(func)
        return call.value


def record(model: nn.Module, example: Any, training: bool = False) -> Trace:
    """What happens in a pass of a copy of ``model``, with its parameters; FieldError if one of them is written to."""
    device = next((x.device for x in tensors_in(example)), torch.device("cpu"))
    # Out of inference mode, where writes cannot be counted.
    with torch.inference_mode(False), torch.no_grad(), replaying(capture(device), device):
        own = copy_of(model, shared=model.parameters()).train(training)
        copies = {id(x): x.detach().clone().requires_grad_(x.requires_grad) for x in tensors_in(example)}
        given = copy.deepcopy(example, copies)  # which a pass may write to, or append to where it is a cache
        trace, before = Trace(own), [(name, p, version(p)) for name, p in own.named_parameters()]
        recorder = Recorder(trace)
        for name, module in own.named_modules():
            if not isinstance(module, torch.jit.ScriptModule):  # the copy's forwards: nobody else has them
                vars(module)["forward"] = partial(recorder.forward, name, module.forward)
        with torch.set_grad_enabled(training), whole_functions(), Unseen(recorder), recorder:
            args = given if isinstance(given, (tuple, list)) else (given,)
            output = own(**given) if isinstance(given, Mapping) else own(*args)
        for x in tensors_in(output):
            trace.values[trace.number(x)].uses.append(-1)
        wrong = [name for name, p, old in before if version(p) != old]
    if wrong:
        raise FieldError(
            f"swap_scheme: got a model whose forward writes into {wrong[0]}, as the pass at the example did, expected "
            "one that writes into its buffers alone; make it one (register_buffer)"
        )
    return trace
