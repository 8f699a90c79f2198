"""scipy's solvers, for who asks for them by torchdiffeq's name: the solution without a record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .errors import Failure, IntegrationError
from .function import Function
from .times import Times


def scipy_solution(
    function: Function, u: Tensor, times: Times, tolerances: tuple[Any, ...], options: Mapping[str, Any]
) -> Tensor:
    """The states at the times by scipy.integrate.solve_ivp, stacked.

    Raises:
        IntegrationError: scipy gave up.
    """
    from scipy.integrate import solve_ivp  # noqa: PLC0415 - it takes longer to import than all of odenets

    def value(t: float, y: Any) -> Any:
        with torch.no_grad():
            state = torch.as_tensor(y).to(u.device, u.dtype).reshape(u.shape)
            return function(float(t), state).reshape(-1).cpu().numpy()

    solver, (rtol, atol) = options.get("solver", "LSODA"), (_flat(x, u) for x in tolerances)
    limits = {"max_step": float(options.get("max_step", np.inf))}
    if solver == "LSODA":
        limits["min_step"] = float(options.get("min_step", 0))
    start = u.detach().reshape(-1).cpu().numpy()
    found = solve_ivp(value, times.ends, start, method=solver, t_eval=times.values, rtol=rtol, atol=atol, **limits)
    states = torch.as_tensor(found.y.T.copy()).to(u.device, u.dtype).reshape(-1, *u.shape)
    if not found.success:
        t = float(found.t[-1]) if len(found.t) else times.ends[0]
        why = f"scipy's {solver}: {found.message}"
        failure = Failure("step too small", t, 0.0, None, states[-1] if len(states) else None, why)
        raise IntegrationError(f"solve gave up {failure}", failure, states)
    return states


def _flat(x: Any, u: Tensor) -> Any:
    return x.expand(u.shape).reshape(-1).cpu().numpy() if isinstance(x, Tensor) else x
