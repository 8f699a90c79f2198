"""u' = f_0(t, u) + f_1(t, u) + ... as a solve calls it: the sum, and each function by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from ..fields import FieldError, Summed
from ..scheme import Scheme, SchemeError
from .function import Function
from .grid import EQUAL, Grid
from .packing import Packing


class Several(Function):
    """The sum of several functions, each of which an additive scheme evaluates by itself.

    The values where the sum was evaluated last are kept: it is the start of a step, which the first stages are at.

    Args:
        functions: as the user gives them.
        packing, u, times: as for :class:`Function`.
    """

    def __init__(self, functions: tuple[Any, ...], packing: Packing, u: Tensor, times: tuple[float, float]) -> None:
        self._parts = tuple(Function(f, packing, u, times) for f in functions)
        self.dtype, self.device = self._parts[0].dtype, u.device
        self.module = nn.ModuleList(part.module for part in self._parts if part.module is not None)
        self._last: tuple[Any, Tensor, bool, list[Tensor]] | None = None

    @property
    def parts(self) -> tuple[Function, ...]:
        """The functions."""
        return self._parts

    @property
    def evaluations(self) -> int:  # type: ignore[override]
        """Calls of all functions together."""
        return sum(part.evaluations for part in self._parts)

    def part(self, g: int, t: float | Tensor, u: Tensor) -> Tensor:
        """The value of one of them: known where the sum is, if autograd has recorded it as it would now."""
        if self._last is not None:
            time, state, recorded, values = self._last
            if u is state and recorded == torch.is_grad_enabled() and type(t) is float and t == time:
                return values[g]
        return self._parts[g](t, u)

    def __call__(self, t: float | Tensor, u: Tensor) -> Tensor:
        """The sum."""
        values = [part(t, u) for part in self._parts]
        if type(t) is float:
            self._last = t, u, torch.is_grad_enabled(), values
        return reduce(torch.add, values)


def function_of(f: Any, packing: Packing, u: Tensor, times: tuple[float, float]) -> Function:
    """The right-hand side: a function, or several whose sum it is."""
    if isinstance(f, (tuple, list)):
        f = Summed(f)
    return Several(f.parts, packing, u, times) if isinstance(f, Summed) else Function(f, packing, u, times)


def check_functions(scheme: Scheme, given: int) -> None:
    """Refuse an additive scheme without its functions, every other one takes their sum; and a partitioned scheme.

    Raises:
        FieldError: another number of functions.
        SchemeError: a scheme of a partitioned state.
    """
    if scheme.components > 1:
        raise SchemeError(
            f"{scheme.name}: got a scheme of a state in {scheme.components} parts, which solve does not take apart, "
            "expected one of the whole state; odenets.ODENet runs it on layers of as many modules"
        )
    if scheme.several and given != len(scheme.functions):
        raise FieldError(
            f"f: got {given} function(s) with {scheme.name}, expected a tuple of "
            f"{len(scheme.functions)}, (f_0, f_1, ...), whose sum u' is: of an IMEX scheme the first is explicit"
        )


def refuse_inside(scheme: Scheme, **options: Any) -> None:
    """Refuse what needs the solution inside of an additive scheme's steps.

    Interpolation takes f at their ends, and there f_1 multiplies by lambda what the explicit part leaves in stiff
    components: h lambda times as much as is in the solution itself.
    """
    given = [name for name, x in options.items() if x]
    if scheme.several and given:
        raise FieldError(
            f"{scheme.name}: got {', '.join(given)}, for which the solution inside of a step would have to be known, "
            "expected none with an additive scheme; ask for times t, which its steps end at, or take one for the sum "
            "of the functions, such as 'kencarp4'"
        )


def at_ends(scheme: Scheme, grid: Grid, times: Sequence[float]) -> Grid:
    """The grid; of an additive scheme, with the times that are asked for in the places of those that they are.

    Raises:
        FieldError: a time inside of a step of an additive scheme.
    """
    if not scheme.several:
        return grid
    found = list(grid.times)
    for time in times:
        n = min(range(len(found)), key=lambda i: abs(found[i] - time))
        beside = found[n - 1] if n else found[1]
        if abs(found[n] - time) > EQUAL * abs(found[n] - beside):
            raise FieldError(
                f"{scheme.name}: got the time {time:.15g} inside of a step on a grid, where the solution of an "
                "additive scheme is not known, expected one that a step ends at: give steps= the times themselves, and "
                "others between"
            )
        found[n] = time
    return replace(grid, times=found)
