"""u' = f_0(t, u) + f_1(t, u) + ...: several functions of time, and their sum as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from operator import add
from typing import Any

from torch import Tensor, nn

from .bound import counts_writes
from .errors import FieldError

Part = Callable[[Tensor, Any], Any]


class Summed(nn.Module):
    """The functions, of which an additive scheme evaluates each by itself; called, it is their sum.

    Args:
        functions: callables f_g(t, x), two at least. Those that are modules are its submodules f0, f1, ...

    Raises:
        FieldError: fewer functions, or what is not callable.
    """

    def __init__(self, functions: Sequence[Part]) -> None:
        super().__init__()
        if len(functions) < 2 or not all(map(callable, functions)):
            raise FieldError(f"f: got {functions!r}, expected f(t, u), or two callables or more, whose sum u' is")
        self.names = tuple(f"f{g}" for g in range(len(functions)))
        for name, function in zip(self.names, functions, strict=True):
            setattr(self, name, function)

    @property
    def parts(self) -> tuple[Part, ...]:
        """The functions."""
        return tuple(getattr(self, name) for name in self.names)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """Their sum; where torch counts no writes each has a copy of its own.

        Raises:
            FieldError: a value of another shape, a function that writes into its argument, which the others still need.
        """
        counts = counts_writes(x)
        version = x._version if counts else 0
        value = reduce(add, (self._checked(part(t, x if counts else x.clone()), x) for part in self.parts))
        if counts and x._version != version:
            raise FieldError("f: got functions of which one writes into its argument, expected f(t, u) that leave u")
        return value

    def _checked(self, value: Any, x: Tensor) -> Tensor:
        if not isinstance(value, Tensor) or value.shape != x.shape:
            got = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise FieldError(
                f"f: got {got} from one of {len(self.names)} functions, expected {tuple(x.shape)} from each"
            )
        return value


def count(f: Any) -> int:
    """How many functions f consists of."""
    return len(f.parts) if isinstance(f, Summed) else 1


def taken_apart(f: Any, wanted: int, before: bool | None) -> bool:
    """Whether a scheme of ``wanted`` functions a step takes those of f one by one, and not their sum.

    Args:
        f: a function, or several.
        wanted: functions of the scheme.
        before: what it is in the network that f belongs to already, if any.

    Raises:
        FieldError: another number of functions; another network that takes them another way.
    """
    if wanted not in (1, count(f)):
        raise FieldError(
            f"TimeField: got a scheme of {wanted} functions a step and {count(f)} function(s), expected one of f(t, x) "
            f"alone, or TimeField with {wanted} functions, (f_0, f_1, ...)"
        )
    if before not in (None, wanted > 1):
        raise FieldError(
            "TimeField: got one that belongs to a network already, whose scheme takes the sum of its functions where "
            "this one takes them one by one, or the other way round; make another TimeField"
        )
    return wanted > 1
