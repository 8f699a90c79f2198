"""Numerical orbits beside the exact flow and the flows of modified equations, in float64."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from odenets import FieldError, ODENet, Scheme, SchemeError, SchemeWarning, TimeField, as_scheme
from odenets.scheme.given_numbers import integer
from odenets.scheme.shown import Shown

from ..text.tables import render
from .backward_error import modified_equation

#: f of the whole state, or one function per module of a partitioned scheme; of tensors (..., d).
Function = Callable[[Any], Any]
Functions = Function | Sequence[Function]
Points = npt.NDArray[np.float64]
#: What stands for an exact flow: order 5, with steps of h / per_step.
FLOW = "dopri5"


@dataclass(frozen=True, eq=False, repr=False)
class Orbits(Shown):
    """What a scheme does to u' = f(u) from one starting point.

    Attributes:
        scheme: its name; h: the step size.
        points: the numbers u_n, shape (steps + 1, d).
        times: n h, shape (steps + 1,).
        dense: times of the flows, shape (m,).
        exact: the flow of u' = f(u) at those times, shape (m, d); NaN once it has left the box.
        modified: for each truncation order r the flow of the modified equation with the terms
            h^0 ... h^(r-1), likewise.
    """

    scheme: str
    h: float
    points: Points
    times: Points
    dense: Points
    exact: Points
    modified: dict[int, Points]

    def __str__(self) -> str:
        ends = {f"u_n, n = {len(self.times) - 1}": self.points[-1], f"exact, t = {self.dense[-1]:g}": self.exact[-1]}
        ends |= {f"modified, up to h^{r - 1}": flow[-1] for r, flow in self.modified.items()}
        rows = [[name, ", ".join(f"{x:.6g}" for x in at)] for name, at in ends.items()]
        return render([f"{self.scheme}, h = {self.h:g}", "at the end"], rows)


def orbits(
    scheme: Scheme | str,
    f: Functions,
    start: npt.ArrayLike,
    h: float,
    steps: int,
    *,
    orders: Sequence[int] = (2,),
    span: float | None = None,
    box: float = 1e3,
    per_step: int = 3,
    **values: Any,
) -> Orbits:
    """The points of a scheme, the exact flow and the flows of its truncated modified equations.

    Args:
        scheme: a scheme, or its name.
        f: torch function of a tensor (..., d); for a scheme of several functions a step (RevNet,
            Verlet) one function per module, each of the component it takes.
        start: u_0, d numbers; of a partitioned scheme its components in order.
        h: step size.
        steps: number of steps.
        orders: truncation orders r of the modified equation: its terms h^0 ... h^(r-1).
        span: the time up to which the flows are followed; default steps * h.
        box: a flow is followed until some |u_i| exceeds this; the numerical points likewise.
        per_step: points of the flows per time h; they are computed with a scheme of order 5 and steps
            of h / per_step, whose error is far below that of the truncation at orders up to 4.
        values: exact numbers for the scheme's symbols.

    Raises:
        SchemeError: a symbol without a value.
        FieldError: h, steps or a starting point that is no such thing.

    Source: Hairer, Lubich & Wanner, Geometric Numerical Integration (2006), IX.1.
    """
    found = as_scheme(scheme).substitute(values)
    steps, per_step = (integer(n, "orbit: steps", error=FieldError) for n in (steps, per_step))
    points = numerical_orbit(found, f, start, h, steps, box=box)
    kept = [integer(order, "orbits: order") for order in orders]
    length = steps if span is None else round(span / h)

    def follow(field: Function) -> Points:
        return numerical_orbit(FLOW, field, start, h / per_step, length * per_step, box=box)

    return Orbits(
        scheme=found.name,
        h=h,
        points=points,
        times=h * np.arange(steps + 1, dtype=np.float64),
        dense=h / per_step * np.arange(length * per_step + 1, dtype=np.float64),
        exact=follow(whole_field(found, f)),
        modified={order: follow(modified_field(found, order, f, h)) for order in kept},
    )


def numerical_orbit(
    scheme: Scheme | str, f: Functions, start: npt.ArrayLike, h: float, steps: int, *, box: float = np.inf
) -> Points:
    """u_0, u_1, ..., u_steps of a scheme, run by :class:`odenets.ODENet` in float64.

    Args:
        scheme: a scheme, or its name. A multistep scheme's time grows with the square of the steps;
            its starting steps are those of a TimeField, of its own order.
        f: torch function, or one per module, as in :func:`orbits`.
        start: u_0.
        h: step size.
        steps: number of steps.
        box: the orbit ends where some |u_i| exceeds this.

    Returns:
        An array (steps + 1, d); NaN from where some |u_i| exceeds ``box``.

    Raises:
        SchemeError: a symbol without a value.
        FieldError: h, steps or a starting point that is no such thing.
    """
    found = as_scheme(scheme)
    if found.symbols:
        raise SchemeError(f"{found.name}: got no value for {found.symbols[0]}, expected a number for each symbol")
    steps = integer(steps, "orbit: steps", error=FieldError)
    u = torch.tensor(np.array(start, dtype=np.float64, ndmin=2))
    if u.dim() != 2 or len(u) != 1 or u.shape[1] == 0 or u.shape[1] % found.components or not u.isfinite().all():
        raise FieldError(
            f"orbit: got the starting point {start!r}, expected {found.components} equal parts of finite numbers"
        )
    path = np.full((steps + 1, u.shape[1]), np.nan)
    for row, point in zip(path, _points(found, f, u, h), strict=False):
        if not bool((point.abs() <= box).all()):
            break
        row[:] = point[0].numpy()
    return path


def _points(scheme: Scheme, f: Functions, u: Tensor, h: float) -> Iterator[Tensor]:
    """u_0, u_1, ... without end."""
    yield u
    if scheme.carried == scheme.components:
        net = ODENet([_modules(scheme, f)], scheme, h=h)
        while True:
            u = net(u).detach()
            yield u
    # ODENet returns the solution alone, not what the scheme carries besides: each point is a run of its own.
    (function,) = functions_of(scheme, f)
    for n in count(1):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SchemeWarning)  # the first points are those of starting steps alone
            net = ODENet(TimeField(lambda t, x: function(x), 0.0, n * h, n), scheme)
        yield net(u).detach()


class _Block(nn.Module):
    """A plain function where ODENet wants a module."""

    def __init__(self, f: Function) -> None:
        super().__init__()
        self.f = f

    def forward(self, x: Tensor) -> Tensor:
        return self.f(x)


def _modules(scheme: Scheme, f: Functions) -> list[nn.Module]:
    return [_Block(function) for function in functions_of(scheme, f)]


def functions_of(scheme: Scheme, f: Functions) -> list[Function]:
    """The functions of a step, one per module of the scheme.

    Raises:
        FieldError: another number of them, or one that cannot be called.
    """
    found = [f] if callable(f) else list(f)
    if len(found) != len(scheme.functions) or not all(map(callable, found)):
        raise FieldError(
            f"{scheme.name}: got {len(found)} functions {found}, expected {len(scheme.functions)} callables, one for "
            "each module of a step"
        )
    return found


def whole_field(scheme: Scheme, f: Functions) -> Function:
    """The slope of the whole state (..., d) from the functions of its components: u_c' = sum of f_g, g into c."""
    found = functions_of(scheme, f)

    def field(u: Tensor) -> Tensor:
        parts = u.chunk(scheme.components, -1)
        slopes = [torch.zeros_like(part) for part in parts]
        for function, (takes, yields) in zip(found, scheme.functions, strict=True):
            slopes[yields] = slopes[yields] + function(parts[takes])
        return torch.cat(slopes, -1)

    return field


def modified_field(scheme: Scheme, order: int, f: Any, h: float) -> Callable[[Tensor], Tensor]:
    """The field u -> sum_{j < order} h^j f_j(u), for a state (..., d) that is cut into the scheme's components."""
    if isinstance(f, Sequence):
        field = modified_equation(scheme, order).field(tuple(f), h)
        return lambda u: torch.cat(field(u.chunk(scheme.components, -1)), -1)
    return modified_equation(scheme, order).field(f, h)
