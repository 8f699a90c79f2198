"""torchdiffeq's odeint_event: the gradient of an event's time and state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..program.transforms import eager_under_compile
from .event import moving
from .odeint import combined, odeint
from .packing import Packing


@eager_under_compile
def odeint_event(
    func: Callable[[Tensor, Any], Any],
    y0: Any,
    t0: Tensor,
    *,
    event_fn: Callable[[Tensor, Any], Tensor],
    reverse_time: bool = False,
    odeint_interface: Callable[..., Any] = odeint,
    **kwargs: Any,
) -> tuple[Tensor, Any]:
    """The first zero of event_fn(t, y) along y' = func(t, y), y(t0) = y0: torchdiffeq's function of that name.

    Args:
        func: as of :func:`odeint`.
        y0: as of :func:`odeint`.
        t0: the start, a tensor of one number.
        event_fn: of (t, y); where it has several values, the first zero of any counts. The signs at t0 say which side
            is left.
        reverse_time: go back in time.
        odeint_interface: :func:`odeint` or :func:`odeint_adjoint`.
        kwargs: its further arguments.

    Returns:
        The event's time, and the solution at t0 and then, of shape (2, *y0.shape). Both have gradients, by the implicit
        function theorem: dt = -dg / (g_t + g_y f), to y0, t0, and what func and event_fn depend on. First derivatives.

    Raises:
        IntegrationError: no event before the solve gives up.
    """
    start = t0.reshape(1)
    t = torch.cat([start, start.detach() + (-1.0 if reverse_time else 1.0)])
    event_t, solution = odeint_interface(func, y0, t, event_fn=event_fn, **kwargs)
    packing = Packing(y0)
    parts = [solution] if packing.single else solution
    state = packing.join(parts[0][-1] if packing.single else tuple(part[-1] for part in parts))
    g = combined(event_fn, packing, start.detach()[0], packing.join(y0))
    when, there = moving(lambda t, u: packing.join(func(t, packing.split(u))), g, event_t.detach(), state)
    ends = [there] if packing.single else packing.split(there)
    joined = [torch.cat([part[:-1], end[None]]) for part, end in zip(parts, ends, strict=True)]
    return when, joined[0] if packing.single else tuple(joined)
