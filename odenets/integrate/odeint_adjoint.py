"""torchdiffeq's odeint_adjoint: the gradient of the differential equation, by another solve back in time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..fields import FieldError
from ..gradients import AdjointError
from ..program.transforms import eager_under_compile
from .odeint import Problem, odeint
from .odeint_options import CALLBACKS, largest, norm_of


@eager_under_compile
def odeint_adjoint(
    func: Callable[[Tensor, Any], Any],
    y0: Any,
    t: Tensor,
    *,
    rtol: Any = 1e-7,
    atol: Any = 1e-9,
    method: str | None = None,
    options: Mapping[str, Any] | None = None,
    event_fn: Callable[[Tensor, Any], Tensor] | None = None,
    adjoint_rtol: Any = None,
    adjoint_atol: Any = None,
    adjoint_method: str | None = None,
    adjoint_options: Mapping[str, Any] | None = None,
    adjoint_params: Iterable[Tensor] | None = None,
) -> Any:
    """As :func:`odeint`, with the gradient of the continuous adjoint: torchdiffeq's function of that name.

    The backward pass solves y' = f, a' = -f_y^T a, g' = -f_theta^T a from each time to the one before. Its memory does
    not depend on the number of steps; its gradient is right to about the tolerance, where that of :func:`odeint` is
    exact for the steps taken. First derivatives only.

    Args:
        func: an nn.Module, or any callable with ``adjoint_params``. Its attributes callback_step_adjoint and the like
            are called in the backward pass.
        y0: as of :func:`odeint`; so are t, rtol, atol, method, options and event_fn.
        t: the times.
        rtol: relative tolerance.
        atol: absolute tolerance.
        method: of the solve forwards.
        options: of that method.
        event_fn: of (t, y); the time of the event has no gradient, see :func:`odeint_event`.
        adjoint_rtol: of the backward solve; None is the same as forwards; so are the next three.
        adjoint_atol: absolute.
        adjoint_method: of the backward solve.
        adjoint_options: of that method. ``{"norm": "seminorm"}`` leaves the parameters out of its error norm; a
            callable norm gets (t, y, adj_y, *adj_params).
        adjoint_params: what gradients are wanted of besides y0 and t; func.parameters() by default. Those that func
            does not use get zeros.

    Raises:
        FieldError: func that is no module, without adjoint_params; and what :func:`odeint` raises.
        AdjointError: a derivative of the gradient is asked for.
    """
    params = _parameters(func, adjoint_params)
    problem = Problem(func, y0, t, rtol=rtol, atol=atol, method=method, options=options)
    if adjoint_options is None and options and adjoint_method not in (None, method):
        raise FieldError(
            f"adjoint_options: got none with options and adjoint_method={adjoint_method!r}, expected that method's"
        )
    plain = {key: value for key, value in (options or {}).items() if key != "norm"}
    own = dict(plain if adjoint_options is None else adjoint_options)
    own["norm"] = _norm(own.get("norm"), problem)
    back = _Back(
        problem,
        event_fn,
        rtol if adjoint_rtol is None else adjoint_rtol,
        atol if adjoint_atol is None else adjoint_atol,
        adjoint_method or method,
    )
    when, states = _Solve.apply(back, own, problem.u, problem.t, *params)
    solution = problem.packing.split(states)
    return solution if event_fn is None else (when, solution)


def _parameters(func: Any, given: Iterable[Tensor] | None) -> tuple[Tensor, ...]:
    if given is None and not isinstance(func, nn.Module):
        raise FieldError(
            f"odeint_adjoint: got func = {func!r} without adjoint_params, expected an nn.Module, or "
            "adjoint_params=(...) of what it depends on, () where that is nothing"
        )
    return tuple(p for p in (func.parameters() if given is None else given) if p.requires_grad)


def _norm(given: Any, problem: Problem) -> Callable[[tuple[Tensor, ...]], Any]:
    """The norm of (t, y, adj_y, *adj_params): the largest of their own, that of y as it is forwards."""
    if callable(given):
        return lambda state: given(_taken_apart(state, problem))
    state_norm = norm_of(problem.options, problem.packing)

    def norm(state: tuple[Tensor, ...]) -> Any:
        t, y, adjoint, *gradients = state
        kept = [] if given == "seminorm" else gradients
        return max(t.abs(), state_norm(y), state_norm(adjoint), largest(kept))

    if given not in (None, "seminorm"):
        raise FieldError(f'adjoint_options: got norm = {given!r}, expected "seminorm" or a callable')
    return norm


def _taken_apart(state: tuple[Tensor, ...], problem: Problem) -> tuple[Tensor, ...]:
    t, y, adjoint, *gradients = state
    if problem.packing.single:
        return state
    return (t, *problem.packing.split(y), *problem.packing.split(adjoint), *gradients)


@dataclass(frozen=True)
class _Back:
    """What the backward pass needs besides tensors."""

    problem: Problem
    event_fn: Any
    rtol: Any
    atol: Any
    method: str | None

    def dynamics(self, params: tuple[Tensor, ...], times: bool) -> Callable[[Tensor, Any], Any]:
        """(t, (.., y, a, ...)) -> (-f_t^T a, f, -f_y^T a, -f_theta^T a ...)."""
        packing, func = self.problem.packing, self.problem.func

        def augmented(t: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            with torch.enable_grad():
                at, y = t.detach().requires_grad_(times), state[1].detach().requires_grad_()
                value = packing.joined_value(func(at, packing.split(y)))
                inputs = [y, *params, *([at] if times else [])]
                found: list[Tensor | None] = [None] * len(inputs)
                if value.requires_grad:
                    found = list(torch.autograd.grad(value, inputs, -state[2].to(value.dtype), allow_unused=True))
            filled = [torch.zeros_like(x) if g is None else g for x, g in zip(inputs, found, strict=True)]
            slope = filled.pop().to(y.dtype) if times else torch.zeros_like(state[0])
            return slope, value.detach(), *(g.to(y.dtype) for g in filled)

        for name in CALLBACKS:
            if (call := getattr(func, f"{name}_adjoint", None)) is not None:
                setattr(augmented, name, call)
        return augmented


class _Solve(torch.autograd.Function):
    """The time of the event, if any, and the states at the times."""

    @staticmethod
    def forward(ctx: Any, back: _Back, options: dict[str, Any], u: Tensor, t: Tensor, *params: Tensor) -> Any:
        # The options are read in the backward pass, so that what is put there until then counts, as in torchdiffeq.
        ctx.back, ctx.adjoint_options, ctx.timed = back, options, t.requires_grad
        problem, when = back.problem, t.detach()[-1:]
        with torch.no_grad():
            if back.event_fn is None:
                states = problem.states() if len(t) > 1 else u[None].clone()
            else:
                when, states = problem.event_states(back.event_fn)
        ctx.save_for_backward(t, when, states, *params)
        ctx.mark_non_differentiable(when)
        return when.reshape(()), states

    @staticmethod
    def backward(ctx: Any, _: Tensor, bars: Tensor) -> tuple[Any, ...]:
        if torch.is_grad_enabled():
            raise AdjointError(
                "odeint_adjoint: got a derivative of its gradient (create_graph=True), expected first derivatives "
                "only; take odeint"
            )
        t, when, states, *params = ctx.saved_tensors
        back: _Back = ctx.back
        times = t if back.event_fn is None else torch.cat([t[:1], when.reshape(1)])
        dynamics = back.dynamics(tuple(params), ctx.timed)
        state = _start(states[-1], bars[-1], params)
        moved = torch.zeros_like(times)
        for i in range(len(times) - 1, 0, -1):
            if ctx.timed:
                speed = _speed(back, times[i], states[i])
                moved[i] = (speed.reshape(-1) * bars[i].reshape(-1)).real.sum()
                state = (state[0] - moved[i].to(states.dtype), *state[1:])
            interval = torch.stack([times[i], times[i - 1]]).detach()
            found = odeint(
                dynamics,
                state,
                interval,
                rtol=back.rtol,
                atol=back.atol,
                method=back.method,
                options=ctx.adjoint_options,
            )
            slope, _, adjoint, *gradients = (x[1] for x in found)
            # y itself is known better from the solve forwards.
            state = (slope, states[i - 1], adjoint + bars[i - 1], *gradients)
        moved[0] = state[0].real
        if back.event_fn is not None:
            moved = torch.cat([moved[:1], torch.zeros_like(t[1:])])
        own = (_like(g, p) for g, p in zip(state[3:], params, strict=True))
        return None, None, state[2], moved if ctx.timed else None, *own


def _start(y: Tensor, bar: Tensor, params: list[Tensor]) -> tuple[Tensor, ...]:
    zeros = (torch.zeros(p.shape, dtype=y.dtype, device=y.device) for p in params)
    return torch.zeros((), dtype=y.dtype, device=y.device), y, bar, *zeros


def _like(gradient: Tensor, parameter: Tensor) -> Tensor:
    return (gradient if parameter.is_complex() else gradient.real).to(parameter.dtype)


def _speed(back: _Back, t: Tensor, y: Tensor) -> Tensor:
    packing = back.problem.packing
    return packing.joined_value(back.problem.func(t.to(y.real.dtype), packing.split(y)))
