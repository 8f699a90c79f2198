"""An autograd.Function as one call, where calls are recorded; torch's modes see those inside its forward instead."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.autograd import Function
from torch.overrides import handle_torch_function
from torch.utils.checkpoint import CheckpointFunction

_LOCK = threading.Lock()
_PLAIN = Function.__dict__["apply"]
#: the recordings that are under way
_RECORDINGS: list[None] = []


def _apply(cls: type, *args: Any, **kwargs: Any) -> Any:
    # Threads that record nothing have no mode, and are not concerned; nor is checkpointing where nothing is recorded.
    seen = cls is CheckpointFunction and not torch.is_grad_enabled()
    if torch._C._is_torch_function_mode_enabled() and not seen:
        return handle_torch_function(cls.apply, args, *args, **kwargs)  # type: ignore[attr-defined]
    return _PLAIN.__func__(cls, *args, **kwargs)


@contextmanager
def whole_functions() -> Iterator[None]:
    """While this holds, a mode is shown ``MyFunction.apply`` itself: only so has it its own backward pass again.

    For the time of a recording alone, since torch has no public place where one could say so.
    """
    with _LOCK:
        _RECORDINGS.append(None)
        setattr(Function, "apply", classmethod(_apply))  # noqa: B010  (a method is assigned)
    try:
        yield
    finally:
        with _LOCK:
            _RECORDINGS.pop()
            if not _RECORDINGS:
                setattr(Function, "apply", _PLAIN)  # noqa: B010
