"""torchdiffeq's functions over this room's steps: change the import, and nothing else."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from ..fields import FieldError
from ..program.transforms import eager_under_compile
from ..scheme.given_numbers import integer
from ..stages import NewtonKrylov
from ..zoo import as_scheme
from .adams import Adams
from .adaptive import Adaptive
from .control import Tolerance
from .event import EventFunction
from .function import Function
from .grid import Grid, pinned
from .method import method_of
from .odeint_options import (
    CALLBACKS,
    Called,
    check_options,
    control_of,
    kind_of,
    norm_of,
    numbers,
    reference_grid,
    tolerance,
)
from .odeint_schemes import ADAMS, ADAPTIVE, FIXED
from .packing import Packing
from .run import Run
from .scipy_steps import scipy_solution
from .solve import on_grid
from .step import Step
from .times import Times

#: in which an event is looked for
MOST_STEPS = 20_000
#: of Adams schemes
MOST_ORDER = 12


@eager_under_compile
def odeint(
    func: Callable[[Tensor, Any], Any],
    y0: Any,
    t: Tensor,
    *,
    rtol: Any = 1e-7,
    atol: Any = 1e-9,
    method: str | None = None,
    options: Mapping[str, Any] | None = None,
    event_fn: Callable[[Tensor, Any], Tensor] | None = None,
) -> Any:
    """The solution of y' = func(t, y), y(t[0]) = y0, at the times t: torchdiffeq's function of that name.

    Args:
        func: callable ``func(t, y)``, t a 0-dimensional tensor in the dtype of the state. Its attributes callback_step,
            callback_accept_step and callback_reject_step, where there are any, are called with (t, y, dt).
        y0: a tensor, or a tuple of tensors; complex ones as well.
        t: a floating-point tensor of one dimension, strictly increasing or decreasing; it may require a gradient.
        rtol: relative tolerance: a number, a tensor that broadcasts to y0, or one of these for each tensor of a tuple.
        atol: absolute tolerance.
        method: torchdiffeq's names; None is dopri5. "rk4" is what it is there, the 3/8 rule (``rk38`` in the zoo), and
            "gl4" is Gauss's scheme with its right nodes. Adams schemes are of their order on equal steps only.
        options: torchdiffeq's. What a method does not know is an error. Times are numbers in double precision whatever
            "dtype" says; "max_iters" is that of the iteration for an implicit step.
        event_fn: of (t, y); the solve ends at the first zero of any of its values. Then t is (t0, t1), of which t1
            tells the direction only, and fixed steps need the option step_size.

    Returns:
        Tensor of shape (len(t), *y0.shape), or a tuple of such; with event_fn the time of the event, without a gradient
        (see :func:`odeint_event`), and the solution at t0 and then.

    Adaptive steps are not torchdiffeq's to the last digit: the last one ends at t[-1] and does not run past it.

    Raises:
        TypeError: t is not floating-point.
        FieldError: an unknown method or option; func, y0 or t that do not fit.
        IntegrationError: a solve that gave up; it holds the solution so far.
    """
    problem = Problem(func, y0, t, rtol=rtol, atol=atol, method=method, options=options)
    if event_fn is not None:
        when, states = problem.event_states(event_fn)
        return when, problem.packing.split(states)
    if len(problem.t) == 1:
        return problem.packing.split(problem.u[None])
    return problem.packing.split(problem.states())


class Problem:
    """What the functions of torchdiffeq are given, checked."""

    def __init__(
        self, func: Any, y0: Any, t: Any, *, rtol: Any, atol: Any, method: str | None, options: Any, suffix: str = ""
    ) -> None:
        self.method, self.options = method or "dopri5", dict(options or {})
        self.kind = kind_of(self.method)
        check_options(self.method, self.options)
        self.func, self.packing = func, Packing(y0)
        self.u, self.t = self.packing.join(y0), checked_times(t)
        if self.t.device != self.u.device:
            warnings.warn("t is not on the device of y0, to which it is taken", stacklevel=4)
            self.t = self.t.to(self.u.device)
        self.tolerances = tuple(tolerance(x, self.packing, name) for x, name in ((rtol, "rtol"), (atol, "atol")))
        known = {"adaptive": CALLBACKS, "fixed": CALLBACKS[:1], "scipy": ()}[self.kind]
        self.listeners = Called(func, self.packing, self.t.detach(), suffix).listeners(known)

    def function(self, ends: tuple[float, float]) -> Function:
        """func, of one tensor."""
        return Function(self.func, self.packing, self.u, ends, narrow=True)

    def states(self) -> Tensor:
        """The states at the times, each one tensor, stacked."""
        times = Times(self.t, self.u.device)
        function = self.function(times.ends)
        if self.kind == "scipy":
            return scipy_solution(function, self.u, times, self.tolerances, self.options)
        run = Run(self.packing, times, function, "raise", dense=False)
        steps = self.adaptive(run, times.ends) if self.kind == "adaptive" else self.fixed(run, self.grid(times))
        run.collect(self.u, steps)
        return run.states

    def event_states(self, event_fn: Callable[[Tensor, Any], Tensor]) -> tuple[Tensor, Tensor]:
        """The time of the first event, and the states at t0 and then, each one tensor, stacked."""
        if len(self.t) != 2 or self.kind == "scipy":
            raise FieldError(
                f"event_fn: got it with {len(self.t)} times and method={self.method!r}, expected t = (t0, t1), "
                "of which t1 tells the direction, and a method other than scipy_solver"
            )
        times = Times(self.t, self.u.device)
        start, forward = times.values[0], math.copysign(1.0, times.values[1] - times.values[0])
        run = Run(self.packing, times, self.function(times.ends), "raise", dense=False)
        g = combined(event_fn, self.packing, self.t.detach()[0], self.u)
        with torch.no_grad():
            begun = float(g(self.t[0], self.u)) == 0
        if begun:
            return self.t.detach()[0], torch.stack([self.u, self.u])
        if self.kind == "adaptive":
            steps = self.adaptive(run, (start, math.inf * forward))
        else:
            steps = self.fixed(run, self.endless(start, forward, times))
        found = run.event(self.u, steps, g, self.t.detach())
        return self.t.detach().new_full((), found[0]), torch.stack([self.u, found[1]])

    def endless(self, start: float, forward: float, times: Times) -> Grid:
        """As many steps as torchdiffeq looks for an event in."""
        size = self.options.get("step_size")
        if size is None:
            raise FieldError(
                f"event_fn: got method={self.method!r} without options step_size, expected it for fixed steps"
            )
        h = forward * abs(float(size))
        values = [start + n * h for n in range(MOST_STEPS)]
        return Grid(values, None, times.learned and pinned(values, times).learned)

    def adaptive(self, run: Run, ends: tuple[float, float]) -> Iterable[Step]:
        """Steps chosen by the tolerance."""
        control, most = control_of(self.options)
        scheme = as_scheme(ADAPTIVE[self.method])
        within = Tolerance(self.tolerances[0], self.tolerances[1], norm_of(self.options, self.packing))
        learned = run.times.learned_ends
        method = method_of(scheme, True)
        return Adaptive(method, run.function, ends, learned, control, within, most, self.listeners, run.counts).steps(
            self.u
        )

    def fixed(self, run: Run, grid: Grid) -> Iterable[Step]:
        """Steps of a grid."""
        linear = self.options.get("interp", "linear") == "linear"
        for step in self._adams(run, grid) if self.method in ADAMS else self._one_step(run, grid):
            # torchdiffeq evaluates f at the start of every step, implicit ones included.
            step.start_slope()
            step.linear = linear
            yield step

    def _one_step(self, run: Run, grid: Grid) -> Iterable[Step]:
        scheme, solver = as_scheme(FIXED[self.method]), None
        if not scheme.explicit:
            solver = NewtonKrylov(max_iterations=int(self.options.get("max_iters", 50)), per_sample=False)
        return on_grid(scheme, run, grid, self.u, solver, listeners=self.listeners)

    def _adams(self, run: Run, grid: Grid) -> Iterable[Step]:
        order = integer(self.options.get("max_order", MOST_ORDER), "max_order", error=FieldError)
        if order > MOST_ORDER:
            raise FieldError(f"max_order: got {order}, expected at most {MOST_ORDER}")
        most = integer(self.options.get("max_iters", 50), "max_iters", error=FieldError)
        within = Tolerance(self.tolerances[0], self.tolerances[1], lambda x: x.abs().max())
        adams = Adams(ADAMS[self.method], order, most, within)
        return adams.steps(grid, run.function, self.u, counts=run.counts, listeners=self.listeners)

    def grid(self, times: Times) -> Grid:
        """The grid that is asked for: by default the times themselves."""
        values, learned = times.values, times.learned
        if self.options.get("step_size") is not None:
            values = reference_grid(values, abs(float(self.options["step_size"])))
            # In one piece: a step that looks for derivatives would go through a node for each of them.
            learned = learned and [*(learned[0] + learned[0].new_tensor(values[:-1]) - values[0]).unbind(), learned[-1]]
        elif self.options.get("grid_constructor") is not None:
            given = self.options["grid_constructor"](self.func, self.packing.split(self.u), self.t)
            values = numbers(given.detach() if isinstance(given, Tensor) else given)
            if (values[0], values[-1]) != times.ends:
                raise FieldError(
                    f"grid_constructor: got a grid from {values[0]} to {values[-1]}, expected {times.ends}"
                )
            # As far as the constructor has made it of the times; the ends are these in any case.
            learned = learned and [learned[0], *torch.as_tensor(given).to(learned[0])[1:-1].unbind(), learned[-1]]
        return Grid(values, None, learned, bool(self.options.get("perturb", False)))


def checked_times(t: Any) -> Tensor:
    """Times as torchdiffeq takes them; TypeError for integers, FieldError for what else it refuses without a hint."""
    if not isinstance(t, Tensor) or t.dim() != 1 or not len(t):
        got = f"a tensor of shape {tuple(t.shape)}" if isinstance(t, Tensor) else type(t).__name__
        raise FieldError(f"t: got {got}, expected a tensor of one dimension; use torch.tensor([t0, t1])")
    if not t.is_floating_point():
        raise TypeError(f"`t` must be a floating point Tensor but is a {t.type()}")
    return t


def combined(event_fn: Callable[[Tensor, Any], Tensor], packing: Packing, t0: Tensor, u0: Tensor) -> EventFunction:
    """One function of all values of event_fn, positive at t0, whose first zero is the first of any of them."""
    with torch.no_grad():
        signs = torch.sign(event_fn(t0, packing.split(u0)))
    return lambda t, u: torch.min(event_fn(t, packing.split(u)) * signs)


@eager_under_compile
def odeint_dense(
    func: Callable[[Tensor, Any], Any],
    y0: Any,
    t0: Any,
    t1: Any,
    *,
    rtol: Any = 1e-7,
    atol: Any = 1e-9,
    method: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Callable[[Any], Any]:
    """The solution between t0 and t1 as a function of time: torchdiffeq's function of that name, for every method.

    Arguments and errors as of :func:`odeint`.
    """
    ends = torch.stack([torch.as_tensor(x, dtype=torch.float64).reshape(()) for x in (t0, t1)])
    problem = Problem(func, y0, ends, rtol=rtol, atol=atol, method=method, options=options)
    if problem.kind == "scipy":
        raise FieldError("odeint_dense: got method='scipy_solver', which gives times alone, expected another one")
    times = Times(problem.t, problem.u.device)
    run = Run(problem.packing, times, problem.function(times.ends), "raise", dense=True)
    if problem.kind == "adaptive":
        return run.collect(problem.u, problem.adaptive(run, times.ends))
    return run.collect(problem.u, problem.fixed(run, problem.grid(times)))
