"""Van der Pol's equation: steps as long as the tolerance allows for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from odenets import Event, solve

from .. import plot

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MU = 8.0


def van_der_pol() -> Figure:
    """Its relaxation oscillation by dopri5, the zeros of u, and the step sizes."""

    def f(t: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        return torch.stack([u[1], MU * (1 - u[0] ** 2) * u[1] - u[0]])

    start = torch.tensor([2.0, 0.0], dtype=torch.float64)
    events = [Event(lambda t, u: u[0], direction=-1), Event(lambda t, u: u[0], direction=1)]
    found = solve(f, start, torch.arange(41.0), events=events, dense=True)
    title = rf"Van der Pol, $\mu$ = {MU:g}: dopri5, zeros of $u$ downwards and upwards"
    return plot.solution(found, labels=["$u$", "$u'$"], title=title)
