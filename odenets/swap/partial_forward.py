"""A block's forward run with something else in the place of its sums, cut short at one, or started after one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import checkpoint

from ..fields import FieldError
from .module_state import version
from .residual_blocks import Block
from .sums import IN_PLACE, Function, added_to, called_from
from .tape import Called, Hollow, Reel

#: handler(watch, branch): what sum number watch.sum becomes, given what is added to watch.state
Handler = Callable[["PartialForward", Tensor], Tensor]


class Cut(Exception):
    """Raised in a block's forward at the sum where it is to end."""


class PartialForward(TorchFunctionMode):
    """Sees every call of torch in a block's forward, and stands in for some of them.

    A sum is known by its operand: the k-th is the addition number ``block.skips[k]`` (from 0) after the one
    before it that has the state itself as an operand. The mode is chosen over a trace of the block by
    torch.fx and over rewriting its source: a trace bakes in what was true when it was made (training, the
    absence of a mask), and either fails on forwards that this one takes. It costs 1 % on resnet18, and
    nothing once torch.compile has traced through it.

    Args:
        block: what is known about it.
        state: the state that the next live sum adds to.
        handler: what puts a value in the place of a sum.
        replay: calls at the start of the forward that are not made: each returns what it has returned before.
        first: number of the first sum after them.
        record: where to put the calls that are made, or None.
    """

    def __init__(
        self,
        block: Block,
        state: Tensor,
        handler: Handler,
        *,
        replay: Sequence[Called] = (),
        first: int = 0,
        record: Reel | None = None,
    ) -> None:
        super().__init__()
        self.skips, self.sources, self.writes, self.trailing = block.skips, block.sources, block.writes, block.trailing
        self.state, self.handler = state, handler
        self.replay, self.at, self.sum, self.record = replay, 0, first, record
        self.skipped = 0
        self.version = version(state)
        self.recording = None if torch.compiler.is_compiling() else _recording()
        #: the function that made the last sum, and the tensor it wrote to, if that was not the state
        self.called: Function | None = None
        self.target: Tensor | None = None
        #: the dtype that it had to have, written in place
        self.dtype: torch.dtype | None = None

    def __torch_function__(
        self, func: Function, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Replay, replace or make one call."""
        given = kwargs or {}
        if self.at < len(self.replay):
            return self._again(func)
        if Hollow in types:
            raise FieldError(
                f"a swapped block used in {_name(func)}, after a sum, what it had computed before it, and did not at "
                "the example, expected the same calls at every input and in training; give an example that shows them, "
                "or take gradient='direct' and a scheme of one evaluation a step"
            )
        branch = added_to(self.state, func, args, given)
        if branch is not None:
            if self.sum < len(self.skips) and self.skipped == self.skips[self.sum]:
                self._check()
                return self._replace(func, args, branch)
            self._skip()
        value = func(*args, **given)
        if self.record is not None:
            self.record.append(func, value)
        return value

    def _again(self, func: Function) -> Any:
        before, value = self.replay[self.at]
        # Equal, not identical: that which reads an attribute of a tensor is a new object at each reading.
        if not torch.compiler.is_compiling() and func != before:
            raise FieldError(
                f"a swapped block called {_name(func)} where it had called {_name(before)} a moment before, expected "
                "the same calls each time; use a scheme that evaluates once a step at the state, or leave it out"
            )
        self.at += 1
        return value

    def _skip(self) -> None:
        self.skipped += 1
        if self.sum == len(self.skips) and self.skipped > self.trailing:
            raise FieldError(
                f"a swapped block added to its state once more than at the example, after {self.sum} sums, expected "
                "the same sums at every input and in training (an addition of noise looks like one); give an "
                "example that shows them, or unswap"
            )

    def _check(self) -> None:
        if torch.compiler.is_compiling():
            return
        if version(self.state) != self.version:
            raise FieldError(
                "a swapped block wrote into its state before it added to it, and did not do so at the example, "
                "expected the same calls at every input and in training; unswap"
            )
        if _recording() != self.recording and _inside_checkpoint():
            raise FieldError(
                "a swapped block makes its sum under torch.utils.checkpoint, which would run it again without the "
                "scheme; expected no activation checkpointing inside blocks (of transformers: "
                "gradient_checkpointing_disable()); use swap_scheme(..., gradient='checkpoint')"
            )
        # What is added to the state on a way through the forward that the example did not take may be no sum.
        if (found := called_from(2)) != self.sources[self.sum]:
            (before, line), (now, new) = self.sources[self.sum], found
            raise FieldError(
                f"a swapped block added to its state in line {new} of {now}, where it had done so in line {line} of "
                f"{before} at the example, expected the same sums at every input and in training; give an example that "
                "shows them, or unswap"
            )

    def _replace(self, func: Function, args: tuple[Any, ...], branch: Tensor) -> Tensor:
        self.called, self.target = func, branch if func in IN_PLACE and args[0] is branch else None
        self.dtype = args[0].dtype if func in IN_PLACE else None
        writes = self.writes and self.target is not None
        # The scheme may carry what was added, so it must not be what is written to.
        value = self.handler(self, branch.clone() if writes else branch)
        if self.dtype is not None and value.dtype != self.dtype:
            value = value.to(self.dtype)
        self.state = branch.copy_(value) if writes else value
        self.version = version(self.state)
        self.sum, self.skipped = self.sum + 1, 0
        return self.state


def _recording() -> object:
    """Whether autograd records, and into what; both kinds of torch.utils.checkpoint change that."""
    return torch.is_grad_enabled(), torch._C._autograd._top_saved_tensors_default_hooks(True)


def _inside_checkpoint() -> bool:
    """Whether torch.utils.checkpoint is at work above; no_grad around a sum is none of its doing."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_globals.get("__name__") == checkpoint.__name__:
            return True
        frame = frame.f_back
    return False


def _name(func: Function) -> str:
    return getattr(func, "__name__", repr(func))
