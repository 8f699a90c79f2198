"""solve(f, y0, t): the front door."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..fields import FieldError
from ..fields.numbers import number
from ..gradients import Reversible
from ..program.transforms import eager_under_compile
from ..scheme import Scheme
from ..scheme.given_numbers import integer
from ..stages import Solver
from ..zoo import as_scheme
from .adaptive import Adaptive, Listeners
from .control import StepControl, Tolerance
from .event import Event, Watch
from .function import Function
from .grid import Grid, equal_steps, pinned, steps_on
from .implicit import CONTROL, Implicit, implicit_method
from .method import method_of, runs_as_method
from .network_steps import network_steps
from .packing import Packing
from .per_sample import solve_each
from .progress import shown
from .refusals import (
    as_way,
    check_on_failure,
    check_tolerance,
    check_way,
    refuse_adaptive,
    refuse_each,
    refuse_replay,
    refuse_with,
)
from .replay import Replay
from .rosenbrock import AdaptiveRosenbrock, rosenbrock_steps
from .rosenbrock_method import rosenbrock_of
from .run import Run
from .several import at_ends, check_functions, function_of, refuse_inside
from .solution import Solution
from .step import Step
from .times import Times, ordered
from .undone import Undone

#: nobody is told of the steps
SILENT = Listeners()
#: so many steps take minutes; who needs more has a stiff problem, or says so
MAX_STEPS = 100_000


@eager_under_compile
def solve(
    f: Callable[[Tensor, Any], Any] | Sequence[Callable[[Tensor, Any], Any]],
    y0: Any,
    t: Any,
    scheme: Scheme | str = "dopri5",
    *,
    rtol: Any = 1e-6,
    atol: Any = 1e-8,
    steps: int | Sequence[float] | Tensor | None = None,
    step: float | None = None,
    control: StepControl | None = None,
    events: Event | Sequence[Event] = (),
    dense: bool = False,
    max_steps: int = MAX_STEPS,
    on_failure: str = "raise",
    gradient: str | Reversible = "direct",
    solver: Solver | None = None,
    progress: bool = False,
    per_sample: bool = False,
) -> Solution:
    """Solve u' = f(t, u), u(t[0]) = y0, to a tolerance or on a grid.

    Args:
        f: callable ``f(t, u)``: t a 0-dimensional tensor (in float64, as for :class:`TimeField`), u a state as y0 is;
            returns a state. A tuple of functions is their sum; an additive scheme, such as "ark436", treats each of
            them in its own way: of u' = f_0(t, u) + f_1(t, u) the first explicitly and the second implicitly, in steps
            that end at all times t.
        y0: a floating-point or complex tensor of any shape, or a tuple or dict of such tensors.
        t: (t0, t1), or the times, increasing or decreasing, at which the solution is wanted. The first is that of y0.
            Times that a step does not end at are interpolated (:attr:`Scheme.dense_order`), without further
            evaluations but for one at the very end.
        scheme: a :class:`Scheme` or a name of ``odenets.schemes``. A Runge-Kutta scheme with an error estimate takes
            steps as long as the tolerance allows for, every scheme those of a grid. An estimate have explicit schemes
            with embedded weights, and for stiff problems implicit ones with embedded weights or with nodes that are
            different and not 0, whose stages are found by Newton's method (:mod:`odenets.integrate.newton`), and
            Rosenbrock schemes with embedded weights, of which a step solves linear equations.
        rtol: relative tolerance: a step is accepted if the root mean square of its error over atol + rtol |u| is at
            most 1. A number, or a tensor that broadcasts to the state, as one tensor.
        atol: absolute tolerance.
        steps: so many equal steps from t[0] to t[-1]; or the grid itself, times from t[0] to t[-1] of any spacing, for
            one-step schemes.
        step: the largest size of equal steps, instead of their number.
        control: of the adaptive step size; None is StepControl(), for implicit schemes
            StepControl(safety=0.8, exponents=(1,)), and for dop853, as in the code of its authors,
            StepControl(exponents=(1,)).
        events: what is looked for: an :class:`Event`, or several, found inside steps to rounding, without evaluations
            of f unless gradients of their times and states are wanted. At the end of every step g is read from the
            device.
        dense: keep the steps, so that the solution may be called at any time between.
        max_steps: of an adaptive solve, accepted or rejected.
        on_failure: "raise" an IntegrationError, or "flag": warn, and return the solution so far with its ``status``.
        gradient: "direct": autograd's record of the accepted steps, whose sizes are constants; to y0, to what f
            depends on, and to times that require a gradient. Where adaptive explicit steps are at the limit of
            stability it is not that of the solution, and :class:`IntegrationWarning` says so. Of adaptive implicit
            steps by the implicit function theorem, first derivatives. "checkpoint": the same, of explicit adaptive
            steps: they are chosen without a record, and then run again between about sqrt(N) stored states, twice, for
            a memory of sqrt(N) steps. "reversible", or :class:`odenets.Reversible`: of reversible schemes with an
            error estimate, as
            ``mccallum_foster(schemes["dopri5"])``: the accepted steps, which end at all times t, are run by a network
            that undoes them in the backward pass; see there for its guarantee. Parameters must be those of f, a module.
        solver: of the stages of an implicit scheme on a grid.
        progress: show a progress bar (needs tqdm).
        per_sample: whether each sample, an index of the first dimension of y0, has its own adaptive steps, error norm,
            status and statistics. f gets t of shape (n, 1, ..., 1), which broadcasts to the state, and n samples, of
            which those that are done are left out, unless f fails without them. See docs/integrate.md.

    Steps that solve equations with derivatives of f, implicit ones to a tolerance and Rosenbrock ones, are taken with
    autocast off, in the dtype of the state.

    On a grid nothing is read from the device but at the end, whether the solution is finite. Under torch.func.vmap and
    torch.compile it is not read at all, so that there a NaN is returned as it is.

    Raises:
        FieldError: f, y0, t or options that do not fit.
        SchemeError: an unknown scheme, or one that cannot be run on such a grid.
        IntegrationError: f that is not finite, a step size that becomes too small, too many steps; it says where, and
            holds the solution so far.
    """
    packing = Packing(y0, per_sample)
    u = packing.join(y0)
    times, chosen, way = Times(t, u.device), as_scheme(scheme), as_way(gradient)
    function = function_of(f, packing, u, times.ends)
    wanted = [events] if isinstance(events, Event) else list(events)
    given = {"steps": steps, "step": step, "dense": dense}
    check_functions(chosen, len(function.parts))
    check_on_failure(on_failure)
    check_tolerance(rtol, "rtol", u.shape)
    check_tolerance(atol, "atol", u.shape)
    check_way(way, chosen)
    refuse_inside(chosen, dense=dense, events=wanted)
    if way != "direct":
        refuse_with(way, **given, events=wanted, per_sample=per_sample)
    max_steps = integer(max_steps, "max_steps", error=FieldError)
    adaptive: dict[str, Any] = {
        "control": control or _control(chosen),
        "tolerances": (rtol, atol),
        "max_steps": max_steps,
    }
    if per_sample:
        refuse_each(chosen, **given, progress=progress, solver=solver)
        with _around(chosen, function, True):
            return solve_each(chosen, function, packing, times, u, **adaptive, events=wanted, on_failure=on_failure)
    run = Run(packing, times, function, on_failure, bool(dense))
    if wanted:
        run.watch = Watch(wanted, packing, function, times.values[0], u)
    if steps is None and step is None:
        refuse_adaptive(chosen, solver)
        at_times = chosen.several or isinstance(way, Reversible)
        taken = _adaptive_steps(chosen, run, u, at_times, **adaptive)
    elif control is not None:
        raise FieldError("control: got a StepControl with steps on a grid, expected neither steps nor step")
    else:
        taken = on_grid(chosen, run, at_ends(chosen, _grid(steps, step, times), times.values), u, solver)
    taken = shown(taken, times.ends) if progress else taken
    if way != "direct" and torch.is_grad_enabled():
        return run.collect_parts(u, _again(chosen, run, way, control).parts(u, taken))
    with _around(chosen, function, steps is None and step is None):
        return run.collect(u, taken)


def _around(scheme: Scheme, function: Function, adaptive: bool) -> ExitStack:
    """What the steps are taken in: without autocast, where they solve equations with derivatives of f."""
    stack = ExitStack()
    if scheme.Gamma is not None or (adaptive and not runs_as_method(scheme)):
        for part in function.parts:
            stack.enter_context(part.exact())
    return stack


def _adaptive_steps(
    scheme: Scheme,
    run: Run,
    u: Tensor,
    at_times: bool,
    *,
    control: StepControl,
    tolerances: tuple[Any, Any],
    max_steps: int,
) -> Iterable[Step]:
    """Steps as long as the tolerance allows for; ``at_times`` has them end at all times that are asked for."""
    times = run.times
    if at_times:
        control = replace(control, step_t=(*control.step_t, *times.values[1:-1]))
    return _adaptive(scheme)(
        function=run.function,
        ends=times.ends,
        learned=times.learned_ends,
        control=control,
        tolerance=Tolerance(*tolerances),
        max_steps=max_steps,
        counts=run.counts,
    ).steps(u)


def _again(scheme: Scheme, run: Run, way: str | Reversible, control: StepControl | None) -> Replay | Undone:
    """What takes accepted steps once more, for gradients in less memory than that of all steps."""
    jumps = () if control is None else control.jump_t
    if not isinstance(way, Reversible):
        refuse_replay()
        return Replay(method_of(scheme, True), run, jumps)
    if jumps:
        raise FieldError(
            'gradient="reversible": got a StepControl with jump_t, expected none; solve up to each of these times, and '
            "on from the state there"
        )
    return Undone(scheme, way, run)


def _control(scheme: Scheme) -> StepControl:
    """The control of steps of a scheme where none is given."""
    if not scheme.explicit:
        return CONTROL
    # A quotient of two estimates is small by chance now and then: then the memory of a PI controller does harm.
    return StepControl() if scheme.third is None else StepControl(exponents=(1,))


def _adaptive(scheme: Scheme) -> Callable[..., Adaptive]:
    """What takes adaptive steps of a scheme."""
    if runs_as_method(scheme):
        return partial(Adaptive, method_of(scheme, True))
    if scheme.Gamma is not None:
        return partial(AdaptiveRosenbrock, rosenbrock_of(scheme))
    method, gamma = implicit_method(scheme)
    return partial(Implicit, method, gamma=gamma)


def _grid(steps: Any, step: float | None, times: Times) -> Grid:
    """The grid that is asked for."""
    if steps is not None and step is not None:
        raise FieldError(f"got steps = {steps!r} and step = {step!r}, expected one of them")
    if step is not None:
        size = number(step, "step")
        if size <= 0:
            raise FieldError(f"step: got {step!r}, expected a positive number, whatever the direction of time")
        # Ten steps of 0.1 are what 1.0 is meant to be, though ten times 0.1 is less.
        return equal_steps(
            times.ends, max(1, math.ceil(abs(times.ends[1] - times.ends[0]) / size - 1e-9)), times.learned_ends
        )
    if getattr(steps, "ndim", None) != 1 and not isinstance(steps, (list, tuple)):
        return equal_steps(times.ends, integer(steps, "steps", error=FieldError), times.learned_ends)
    values = [number(x, "steps") for x in (steps.detach() if isinstance(steps, Tensor) else steps)]
    if len(values) < 2 or (values[0], values[-1]) != times.ends:
        raise FieldError(
            f"steps: got a grid of {len(values)} times, from {values[:1]} to {values[-1:]}, expected one from "
            f"t[0] = {times.ends[0]:g} to t[-1] = {times.ends[1]:g}, both included"
        )
    ordered(values, "steps")
    return pinned(values, times)


def on_grid(
    scheme: Scheme,
    run: Run,
    grid: Grid,
    u: Tensor,
    solver: Solver | None,
    *,
    listeners: Listeners = SILENT,
) -> Iterable[Step]:
    """The steps of any scheme on a grid."""
    told: dict[str, Any] = {"counts": run.counts, "listeners": listeners}
    rosenbrock = scheme.Gamma is not None
    if not rosenbrock and not runs_as_method(scheme):
        return network_steps(scheme, run.function, grid, u, solver=solver, **told)
    if solver is not None:
        raise FieldError(f"solver: got {solver} with {scheme.name}, which has no stages to iterate for, expected none")
    if rosenbrock:
        return rosenbrock_steps(scheme, run.function, grid, u, **told)
    inside = run.dense or not set(run.times.values) <= set(grid.times)
    method = method_of(scheme, inside)
    return steps_on(grid, method, run.function, u, **told)
