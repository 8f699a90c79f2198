"""Steps of its own for each sample, beside shared ones, and beside torchode's where that is installed."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from odenets import solve

from ..common.pairs import Row, compare, timed
from .problems import TOLERANCES

#: of the batch of equations with mu from 1 to 100: most of them are past several of their jumps
LONG, SAMPLES = 100.0, 256


def vdp_batch(t: Tensor, u: Tensor) -> Tensor:
    """Van der Pol's equation, mu the third component."""
    x, v, mu = u.split(1, 1)
    return torch.cat([v, mu * (1 - x * x) * v - x, torch.zeros_like(mu)], 1)


def batch_start() -> Tensor:
    """All at (2, 0), mu from 1 to 100."""
    mu = torch.logspace(0, 2, SAMPLES, dtype=torch.float64)
    return torch.stack([torch.full_like(mu, 2.0), torch.zeros_like(mu), mu], 1)


def torchode_solution(start: Tensor, tolerance: float) -> Tensor:
    """The same by torchode, whose samples have their own steps as well; its controller is integral by default."""
    import torchode  # noqa: PLC0415 - nothing here needs it

    term = torchode.ODETerm(lambda t, u: vdp_batch(t[:, None], u))
    control = torchode.IntegralController(atol=tolerance, rtol=tolerance, term=term)
    problem = torchode.InitialValueProblem(
        y0=start, t_eval=torch.tensor([0.0, LONG], dtype=torch.float64).expand(len(start), 2)
    )
    return torchode.AutoDiffAdjoint(torchode.Dopri5(term=term), control).solve(problem).ys[:, -1]


@torch.no_grad()
def own_times(rounds: int) -> list[Row]:
    """Solves in steps of each sample's own, beside shared ones, and beside torchode where it is installed."""
    start, rows = batch_start(), []
    for tolerance in TOLERANCES[1:]:
        options: dict[str, Any] = {"rtol": tolerance, "atol": tolerance}
        own = partial(solve, vdp_batch, start, (0, LONG), per_sample=True, **options)
        runs = {
            "shared steps": partial(solve, vdp_batch, start, (0, LONG), **options),
            "torchode": partial(torchode_solution, start, tolerance),
            "itself, A/A": own,
        }
        if find_spec("torchode") is None:
            del runs["torchode"]
        what = f"vdp, mu 1 to 100, batch {SAMPLES}, {tolerance:.0e}, steps of its own for each sample"
        rows += [compare(what, pair, [timed(run, 1), timed(own, 1)], rounds) for pair, run in runs.items()]
    return rows


def own_steps() -> list[list[str]]:
    """Steps and errors of shared steps and of each sample's own."""
    start = batch_start()
    exact = solve(vdp_batch, start, (0, LONG), "dop853", rtol=1e-11, atol=1e-12, per_sample=True).y[-1]
    rows = [["tolerance", "steps", "tried", "evaluations of f of a sample, mean", "largest error"]]
    for tolerance in TOLERANCES[1:]:
        for own in (False, True):
            found = solve(vdp_batch, start, (0, LONG), rtol=tolerance, atol=tolerance, per_sample=own)
            tried = torch.as_tensor(found.stats.accepted + found.stats.rejected).double()
            mean = torch.as_tensor(found.stats.evaluations).double().mean()
            counts = f"{tried.min():.0f} to {tried.max():.0f}" if own else f"{tried:.0f}"
            error = float((found.y[-1] - exact).abs().max())
            rows.append([f"{tolerance:.0e}", "own" if own else "shared", counts, f"{mean:.0f}", f"{error:.1e}"])
    return rows
