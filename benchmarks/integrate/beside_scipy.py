"""Evaluations beside scipy's, at equal tolerance, and what their ratio would be at equal error."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.integrate import solve_ivp

from odenets import schemes, solve

from .problems import STOP, TOLERANCES, lotka_volterra, vdp

PEERS = {"dopri5": "RK45", "bosh3": "RK23", "dop853": "DOP853"}


def evaluations() -> list[list[str]]:
    """Evaluations beside scipy's, and what their ratio would be at equal error."""
    rows = [["problem", "scheme", "tolerance", "evaluations", "scipy's", "error", "scipy's", "ratio at equal error"]]
    for f, start in ((vdp, [2.0, 0.0]), (lotka_volterra, [1.0, 1.0])):

        def plain(t: float, u: Any, f: Any = f) -> Any:
            return f(t, u, np.stack)

        exact = solve_ivp(plain, (0, STOP), start, method="DOP853", rtol=1e-13, atol=1e-14).y[:, -1]
        for name, peer in PEERS.items():
            for tol in TOLERANCES:
                y0 = torch.tensor(start, dtype=torch.float64)
                found = solve(f, y0, (0, STOP), name, rtol=tol, atol=tol)
                theirs = solve_ivp(plain, (0, STOP), start, method=peer, rtol=tol, atol=tol)
                errors = [float(np.abs(y - exact).max()) for y in (found.y[-1].numpy(), theirs.y[:, -1])]
                ratio = found.stats.evaluations / theirs.nfev * (errors[0] / errors[1]) ** (1 / schemes[name].order)
                counts = [str(found.stats.evaluations), str(theirs.nfev)]
                rows.append([f.__name__, name, f"{tol:.0e}", *counts, *(f"{e:.1e}" for e in errors), f"{ratio:.3f}"])
    return rows
