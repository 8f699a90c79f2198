"""Calls of torch, seen one by one: what goes in and out, which of them add to a state, and where they are made."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import CodeType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

#: a function of torch, as torch.overrides shows it
Function = Callable[..., Any]
#: where a call is made: the file, the function, the line, and where in it
Source = tuple[str, str, int, Any]
#: what an addition adds to a state: its other operands, one or two that are multiplied, and a factor
Added = tuple[tuple[Tensor, ...], float]


def named(names: str, *places: Any) -> frozenset[Function]:
    """Functions by their names, as modes are shown them: of an attribute, what reads it."""
    found = [getattr(place, name) for place in places for name in names.split() if hasattr(place, name)]
    return frozenset(one if callable(one) else one.__get__ for one in found)


ADD = named("add __add__ __radd__ add_ __iadd__", Tensor, torch)
SUBTRACT = named("sub subtract __sub__ sub_ __isub__", Tensor, torch)
MULTIPLY_ADD = named("addcmul addcmul_", Tensor, torch)
ADDITIONS = ADD | SUBTRACT | MULTIPLY_ADD
IN_PLACE = named("add_ __iadd__ sub_ __isub__ addcmul_", Tensor)
COPIES = named("clone contiguous", Tensor, torch)
#: what moves the values of a state and keeps them all
MOVES = named(
    "view reshape flatten unflatten permute transpose swapaxes swapdims movedim moveaxis squeeze unsqueeze contiguous "
    "clone roll T mT alias",
    Tensor,
    torch,
)
#: what may follow a sum, and is applied to the state alone
ACTIVATIONS = named(
    "relu relu_ relu6 leaky_relu leaky_relu_ elu elu_ selu selu_ celu gelu silu mish softplus hardtanh hardtanh_ "
    "hardswish hardsigmoid tanh tanh_ sigmoid sigmoid_ rrelu softsign clamp clamp_ __setitem__ fill_ masked_fill "
    "masked_fill_ nan_to_num dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout",
    Tensor,
    torch,
    F,
)
#: what tells of a tensor how it is laid out, not what is in it; the state is laid out in the same way at all stages
LAYOUT = named(
    "shape size dim ndim numel nelement stride storage_offset dtype device layout is_contiguous is_floating_point "
    "is_complex is_cuda is_sparse is_quantized element_size itemsize nbytes __len__ requires_grad is_leaf grad_fn grad "
    "_version data_ptr names get_device type is_meta is_mps is_nested is_inference _base output_nr",
    Tensor,
)
#: what may be seen between sums, where histories go on
FOLLOWED = ADDITIONS | MOVES | ACTIVATIONS
#: these write running statistics without a new version
STATISTICS = frozenset({F.batch_norm, F.instance_norm, torch.batch_norm, torch.instance_norm, torch.native_batch_norm})
ASSIGNING = named("__setitem__ copy_ set_", Tensor)
#: files of torch that stand between a call in somebody's code and what a mode sees of it
BETWEEN = {sys.modules[name].__file__ for name in ("torch._tensor", "torch.overrides", "torch.utils._device")}


class Call:
    """One call: what went in, in what state, and once it is made what came out and what it wrote to."""

    def __init__(self, func: Function, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self.func, self.args, self.kwargs = func, put(args, {}), put(kwargs, {})
        self.given = list(tensors_in((args, kwargs)))
        self.versions = [version(x) for x in self.given]
        self.value: Any = None
        self.made: list[Tensor] = []
        self.written: list[Tensor] = []
        #: what was around it; the generators from which it drew, as they were before
        self.around: Any = None
        self.random: Any = None
        #: marks of what depends on a state, see there
        self.outside: list[Tensor] = []
        self.reads = False

    def make(self) -> Any:
        """Make it."""
        self.value = self.func(*self.args, **self.kwargs)
        self.made = list(tensors_in(self.value))
        if self.func in STATISTICS:
            found = (*self.args[1:3], self.kwargs.get("running_mean"), self.kwargs.get("running_var"))
            self.written = [x for x in found if x is not None]
        elif torch.compiler.is_compiling():  # where nothing is counted
            assigned = self.given[:1] if self.func in ASSIGNING else []
            self.written = [x for x in self.given if among(x, self.made)] + assigned
        else:
            self.written = [x for x, old in zip(self.given, self.versions, strict=True) if version(x) != old]
        return self.value


def total(added: Sequence[Added], u: Tensor, found: Mapping[Tensor, Tensor]) -> Tensor:
    """What is added to a state u, of the parts of a step; some terms are others."""
    parts = []
    for terms, factor in added:
        own = [found.get(x, x) for x in terms]
        value = own[0] if len(own) == 1 else own[0] * own[1]
        parts.append(value if factor == 1 else value * factor)
    value = sum(parts[1:], parts[0])
    return value if value.shape == u.shape else value.expand_as(u)


def addition(func: Function, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Added | None:
    """The operands of an addition of floats, of which one may be the state, and the others' factor; None of others."""
    factor: Any = 1
    if kwargs:
        more = dict(kwargs)
        factor = more.pop("value" if func in MULTIPLY_ADD else "alpha", 1)
        args = (*args, *(more.pop(key) for key in ("input", "other", "tensor1", "tensor2") if key in more))
        if more or isinstance(factor, Tensor):
            return None
    if func not in ADDITIONS or len(args) != (3 if func in MULTIPLY_ADD else 2):
        return None
    for x in args:
        if not isinstance(x, Tensor) or not x.is_floating_point():
            return None
    return args, -factor if func in SUBTRACT else factor


def does_nothing(func: Function, args: tuple[Any, ...]) -> bool:
    """Whether a call returns the value that it is given: u + 0, which Python's sum() begins with, or a copy."""
    return func in COPIES or (func in ADD and len(args) == 2 and type(args[1]) is int and args[1] == 0)


def called_from(depth: int) -> Source:
    """Where a call is made, ``depth`` frames above the caller, in code that is not torch's."""
    frame = sys._getframe(depth + 1)
    while frame.f_code.co_filename in BETWEEN and frame.f_back is not None:
        frame = frame.f_back
    code, instruction = frame.f_code, frame.f_lasti
    known = _SOURCES.get((id(code), instruction))
    if known is None:
        # Several instructions are one call, and Python 3.11 is at one or the other of these: they share the columns.
        place = list(code.co_positions())[instruction // 2] if sys.version_info >= (3, 11) else instruction
        known = _SOURCES[id(code), instruction] = code, (code.co_filename, code.co_name, frame.f_lineno, place)
    return known[1]


#: lines by code, whose hash would take more time, and instruction
_SOURCES: dict[tuple[int, int], tuple[CodeType, Source]] = {}


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors in nested tuples, lists, slices, mappings and objects with fields such as model outputs."""
    items: Any = ()
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        items = value
    elif isinstance(value, dict):
        items = list(value.values())
    elif isinstance(value, slice):
        items = (value.start, value.stop, value.step)
    elif not torch.compiler.is_compiling():
        if isinstance(value, Mapping):
            items = value.values()
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            items = [getattr(value, entry.name) for entry in dataclasses.fields(value)]
    for item in items:
        yield from tensors_in(item)


def put(value: Any, found: Mapping[Tensor, Tensor]) -> Any:
    """A value with some of its tensors replaced by others; its containers are new ones."""
    if isinstance(value, Tensor):
        return found.get(value, value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*[put(item, found) for item in value])
    if type(value) in (tuple, list, torch.Size):
        return type(value)([put(item, found) for item in value])
    if isinstance(value, dict):
        return {key: put(item, found) for key, item in value.items()}
    if isinstance(value, slice):
        return slice(put(value.start, found), put(value.stop, found), put(value.step, found))
    return value


def among(x: Tensor, some: list[Tensor]) -> bool:
    """Whether a tensor is one of some."""
    return any(x is y for y in some)


def version(x: Tensor) -> int:
    """How often x has been written to, where that can be known."""
    return 0 if torch.compiler.is_compiling() or x.is_inference() else x._version


def root(x: Tensor) -> Tensor:
    """The tensor whose memory x is a view of."""
    base = None if torch.compiler.is_compiling() else x._base
    return x if base is None else base


def name_of(func: Function) -> str:
    """A function's name as people write it; of what reads an attribute, that of the attribute."""
    name: str = getattr(func, "__name__", repr(func))
    return getattr(getattr(func, "__self__", None), "__name__", name) if name in ("__get__", "__set__") else name
