"""Steps on a grid by the schemes that a network runs: multistep, implicit, of several functions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from ..fields import TimeField
from ..fields.field import Noise
from ..fields.numbers import widest
from ..net import ODENet
from ..program import Evaluate
from ..scheme import Scheme, SchemeError
from ..stages import Solver
from .adaptive import Counts, Listeners
from .function import Function
from .grid import Grid
from .step import Step


class _Called(nn.Module):
    """f of the state as a network takes it: a complex one as its real and imaginary parts."""

    def __init__(self, function: Function, complex_state: bool) -> None:
        super().__init__()
        self.function, self.complex_state = function, complex_state
        # Where f is a module, its parameters are those of the network.
        self.module = function.module

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """The value."""
        return real(self.function(t, as_complex(x))) if self.complex_state else self.function(t, x)


class _Spaced(TimeField):
    """f on the steps of a grid: its values times the ratio of each step's size to that of the program."""

    times: Tensor | None

    def __init__(self, f: nn.Module | Sequence[nn.Module], grid: Grid, function: Function) -> None:
        super().__init__(f, grid.times[0], grid.times[-1], len(grid.times) - 1)
        self.spans = list(grid.spans(function))
        # A buffer, so that whoever runs steps again has them as a tensor that the steps use.
        times = None if grid.learned is None else torch.stack(list(grid.learned))
        self.register_buffer("times", times, persistent=False)

    def evaluate(self, n: int, what: Evaluate, x: Tensor, noise: Noise = ()) -> Tensor:
        """f(t_n + node h_n, x) h_n / h."""
        span = self.spans[n]
        assert what.node is not None
        if self.times is None:
            t = torch.full((), float(span.time(what.node)), dtype=widest(x.device), device=x.device)
            return self.at(t, x, self.function(what)) * (span.h / self.h)
        size = self.times[n + 1] - self.times[n]
        return self.at(self.times[n] + what.node * size, x, self.function(what)) * (size / self.h).to(x.dtype)


def real(x: Tensor) -> Tensor:
    """A complex tensor as a real one with twice the entries along the last dimension."""
    return torch.view_as_real(x).flatten(-2) if x.dim() else torch.view_as_real(x)


def as_complex(x: Tensor) -> Tensor:
    """The complex tensor of a real one."""
    return torch.view_as_complex(x.unflatten(-1, (-1, 2)))


def network_steps(
    scheme: Scheme,
    function: Function,
    grid: Grid,
    u: Tensor,
    *,
    counts: Counts,
    listeners: Listeners,
    solver: Solver | None,
) -> Iterator[Step]:
    """The steps of any scheme from state u."""
    net = network_on(scheme, function, grid, u, solver)
    states = net.solutions(real(u) if u.is_complex() else u)
    for span in grid.spans(function):
        if listeners.before is not None:
            listeners.before(span.start, u, span.h)
        state = next(states)
        after = as_complex(state).reshape(u.shape) if u.is_complex() else state
        counts.accept(span.h)
        yield Step(function, span, u, after)
        u = after


def network_on(scheme: Scheme, function: Function, grid: Grid, u: Tensor, solver: Solver | None = None) -> ODENet:
    """The steps of any scheme on a grid as a network.

    Raises:
        SchemeError: a scheme with learnable coefficients, of order 0, or with a history on a grid of uneven steps.
    """
    if scheme.symbols or scheme.order < 1 or scheme.linear_only:
        what = f"learnable coefficients {list(map(str, scheme.symbols))}" if scheme.symbols else "order 0"
        raise SchemeError(
            f"{scheme.name}: got a scheme of {'linear f alone' if scheme.linear_only else what}, expected one that "
            "converges to the solution for any f; give learnable coefficients numbers by substitute()"
        )
    if not scheme.one_step and not grid.equal:
        raise SchemeError(
            f"{scheme.name}: got a grid of uneven steps with a scheme that uses values of earlier steps, expected "
            "equal ones, steps=N, or a one-step scheme"
        )
    several = scheme.several
    called = [_Called(part, u.is_complex()) for part in (function.parts if several else (function,))]
    return ODENet(_field(called if several else called[0], grid, function), scheme, solver=solver)


def _field(called: nn.Module | Sequence[nn.Module], grid: Grid, function: Function) -> TimeField:
    if grid.h is None or grid.perturbed:
        return _Spaced(called, grid, function)
    times: Sequence[float | Tensor] = grid.learned or grid.times
    return TimeField(called, times[0], times[-1], len(grid.times) - 1)
