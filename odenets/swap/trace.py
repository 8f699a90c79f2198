"""One pass of a model at the example, taken down as a graph: which value is made of which, and by which call."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
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
from .calls import IN_PLACE, Addition, Function, Source, addition, called_from, name_of, tensors_in, version
from .functions import whole_functions


@dataclass
class Frame:
    """One call of a module's forward: which call of that module it is, and the number of values before it."""

    module: str
    call: int
    start: int
    #: additions that were seen in it
    additions: list[Seen] = field(default_factory=list)


@dataclass(frozen=True)
class Call:
    """A call that values come from: its inputs by number, and how to make it again."""

    func: Function
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    inputs: tuple[int, ...]
    #: in whose forward
    frames: tuple[Frame, ...]


@dataclass(eq=False)
class Seen:
    """An addition of two tensors: where, in which frames, its operands and what it made, by number.

    ``reused``: what a sum in place was written to is used again, under its old name.
    """

    addition: Addition
    source: Source
    frames: tuple[Frame, ...]
    operands: tuple[int, ...]
    made: int
    reused: bool = False


class Trace:
    """Values by number, in the order in which they were made.

    Sets of values are integers with a bit for each: ``before[n]`` are those that n is made of, itself among them,
    ``weighed[n]`` those that it is made of by way of a weight, a parameter of two dimensions or more, ``scaled[n]``
    by way of any parameter.
    """

    def __init__(self, model: nn.Module) -> None:
        self.before: list[int] = []
        self.weighed: list[int] = []
        self.scaled: list[int] = []
        #: made of parameters and buffers alone; with a weight among them; with any parameter
        self.fixed: list[bool] = []
        self.kernel: list[bool] = []
        self.parameter: list[bool] = []
        self.shapes: list[torch.Size] = []
        self.calls: list[Call | None] = []
        self.uses: list[list[int]] = []
        self.additions: list[Seen] = []
        #: what no recorded call made, with the operator that did
        self.unseen: dict[int, str] = {}
        #: normalisations by the number of their running mean
        self.norms: dict[int, str] = {}
        #: whether a tensor was written to that has views, or is one
        self.aliased = False
        #: other names that sums in place were given
        self.renamed: set[int] = set()
        self.names: dict[int, str] = {}
        self._number: dict[tuple[int, int], int] = {}
        self._last: dict[int, int] = {}
        #: the tensors themselves, or an id would be another's
        self.tensors: list[Tensor] = []
        for name, parameter in model.named_parameters():
            number = self.new(parameter, (), fixed=True)
            self.kernel[number] = sum(size > 1 for size in parameter.shape) > 1
            self.parameter[number] = True
            self.names[number] = name
        for name, module in model.named_modules():
            for buffer in module.buffers(recurse=False):
                number = self.new(buffer, (), fixed=True)
                if isinstance(module, _BatchNorm) and buffer is module.running_mean:
                    self.norms[number] = name

    def new(self, x: Tensor, inputs: tuple[int, ...], fixed: bool = False, call: Call | None = None) -> int:
        """Give a value a number."""
        number = len(self.before)
        own, weighed, scaled = 1 << number, 0, 0
        kernel, parameter = any(self.kernel[i] for i in inputs), any(self.parameter[i] for i in inputs)
        for i in inputs:
            own |= self.before[i]
            weighed |= self.weighed[i] | (self.before[i] if kernel else 0)
            scaled |= self.scaled[i] | (self.before[i] if parameter else 0)
            self.uses[i].append(number)
        made = bool(inputs) and all(self.fixed[i] for i in inputs)
        self.before.append(own)
        self.weighed.append(weighed)
        self.scaled.append(scaled)
        self.fixed.append(fixed or made)
        self.kernel.append(kernel and made)
        self.parameter.append(parameter and made)
        self.shapes.append(x.shape)
        self.calls.append(call)
        self.uses.append([])
        self._number[id(x), version(x)] = self._last[id(x)] = number
        self.tensors.append(x)
        return number

    def number(self, x: Tensor) -> int:
        """The number of a tensor as it is now."""
        known = self._number.get((id(x), version(x)))
        if known is not None:
            return known
        # It was written to, maybe under another name, or comes from outside.
        before = [self._last[id(t)] for t in (x, x._base) if t is not None and id(t) in self._last]
        return self.new(x, tuple(dict.fromkeys(before)))

    def seen(self, call: Call, given: list[Tensor], versions: list[int], value: Any) -> None:
        """A call was made: what it returned and what it wrote to are made of its inputs."""
        for x, old in zip(given, versions, strict=True):
            if version(x) == old:
                continue
            for t in (x, x._base):
                if t is not None and (id(t), version(t)) not in self._number:
                    last = self._last.get(id(t))
                    others = call.inputs if last is None or last in call.inputs else (*call.inputs, last)
                    self.new(t, others, call=call)
            self.aliased = self.aliased or (x._base is not None and id(x) not in self.renamed)
        for x in tensors_in(value):
            if (id(x), version(x)) not in self._number:
                self.new(x, call.inputs, call=call)

    def between(self, first: int, last: int) -> Iterator[int]:
        """The values on the ways from one to another, without the first."""
        for i in range(first + 1, last + 1):
            if self.before[last] >> i & 1 and self.before[i] >> first & 1:
                yield i


class Recorder(TorchFunctionMode):
    """Takes down every call; the forwards of the modules say in which of them it is made."""

    def __init__(self, trace: Trace) -> None:
        super().__init__()
        self.trace, self.depth = trace, 0
        self.stack: list[Frame] = []
        self.called: dict[str, int] = {}
        #: what sums in place were written to
        self.targets: dict[int, tuple[Seen, int]] = {}

    def __torch_function__(
        self, func: Function, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Make the call and note it."""
        given, trace = list(tensors_in((args, kwargs or {}))), self.trace
        if any(torch._C._functorch.is_functorch_wrapped_tensor(x) for x in given):
            return func(*args, **(kwargs or {}))  # what is inside shows as operators
        inputs = tuple(dict.fromkeys(trace.number(x) for x in given))
        versions = [version(x) for x in given]
        added = addition(func, args, kwargs or {})
        operands = () if added is None else tuple(trace.number(x) for x in added.operands)
        call = Call(func, args, kwargs or {}, inputs, tuple(self.stack))
        self.used(given)
        self.depth += 1
        try:
            value = func(*args, **(kwargs or {}))
            if added is not None and func in IN_PLACE:
                # Another name for it, so that use of the old one shows.
                value = torch.ops.aten.alias.default(value)
                trace.renamed.add(id(value))
        finally:
            self.depth -= 1
        trace.seen(call, given, versions, value)
        if added is not None:
            found = Seen(added, called_from(1), tuple(self.stack), operands, trace.number(value))
            trace.additions.append(found)
            if func in IN_PLACE:
                self.targets[id(args[0])] = found, trace.number(args[0])
            for frame in self.stack:
                frame.additions.append(found)
        return value

    def used(self, tensors: Iterable[Tensor]) -> None:
        """Tensors are used: those that were written to by a sum under their old name."""
        for x in tensors:
            if id(x) in self.targets:
                found, number = self.targets[id(x)]
                found.reused, found.made = True, number

    def forward(self, name: str, original: Any, *args: Any, **kwargs: Any) -> Any:
        """A module's forward, noted."""
        call = self.called.get(name, 0)
        self.called[name] = call + 1
        self.stack.append(Frame(name, call, len(self.trace.before)))
        try:
            return original(*args, **kwargs)
        finally:
            self.stack.pop()


class Unseen(TorchDispatchMode):
    """Sees the operators that run outside every call that the recorder saw: of scripts, and of functorch."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Make the call, and note what it returns if nobody else does."""
        if self.recorder.depth:
            return func(*args, **(kwargs or {}))
        trace, given = self.recorder.trace, list(tensors_in((args, kwargs or {})))
        inputs = tuple(dict.fromkeys(trace.number(x) for x in given))
        versions, first = [version(x) for x in given], len(trace.before)
        value = func(*args, **(kwargs or {}))
        trace.seen(Call(func, args, kwargs or {}, inputs, ()), given, versions, value)
        trace.unseen.update(dict.fromkeys(range(first, len(trace.before)), name_of(func)))
        return value


def call(model: nn.Module, example: Any) -> Any:
    """The model at an example: a tensor, a tuple of arguments, or a mapping of named ones."""
    if isinstance(example, Mapping):
        return model(**example)
    return model(*example) if isinstance(example, (tuple, list)) else model(example)


def fresh(value: Any) -> Any:
    """A copy of an example, which a pass may write to, or append to where it is a cache."""
    if isinstance(value, Tensor):
        return value.detach().clone().requires_grad_(value.requires_grad)
    if type(value) in (tuple, list):
        return type(value)(map(fresh, value))
    if isinstance(value, Mapping):
        return {key: fresh(item) for key, item in value.items()}
    return copy.deepcopy(value)


def record(model: nn.Module, example: Any, training: bool = False) -> Trace:
    """What happens in a pass of a copy of ``model``, which has the parameters themselves; nothing about it changes.

    Raises:
        FieldError: a parameter was written to.
    """
    device = next((x.device for x in tensors_in(example)), torch.device("cpu"))
    # Out of inference mode, where writes cannot be counted.
    with torch.inference_mode(False), torch.no_grad(), replaying(capture(device), device):
        own = copy_of(model, shared=model.parameters())
        own.train(training)
        trace, given = Trace(own), fresh(example)
        before = [(name, p, version(p)) for name, p in own.named_parameters()]
        recorder = Recorder(trace)
        with ExitStack() as stack:
            for name, module in own.named_modules():
                if not isinstance(module, torch.jit.ScriptModule):
                    stack.enter_context(forward_of(module, partial(recorder.forward, name, module.forward)))
            for context in (torch.set_grad_enabled(training), whole_functions(), Unseen(recorder), recorder):
                stack.enter_context(context)
            output = call(own, given)
        recorder.used(tensors_in(output))
        for x in tensors_in(output):
            trace.uses[trace.number(x)].append(-1)
        wrong = [name for name, p, old in before if version(p) != old]
    if wrong:
        raise FieldError(
            f"swap_scheme: got a model whose forward writes into {wrong[0]}, as the pass at the example did, expected "
            "one that writes into its buffers alone; make it one (register_buffer)"
        )
    return trace


@contextmanager
def forward_of(module: nn.Module, forward: Any) -> Iterator[None]:
    """The module with another forward, for a while."""
    own = module.__dict__.get("forward")
    module.__dict__["forward"] = forward
    try:
        yield
    finally:
        del module.__dict__["forward"]
        if own is not None:
            module.__dict__["forward"] = own
