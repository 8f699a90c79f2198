"""What is solved, and for how long."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

STOP = 10.0
TOLERANCES = (1e-3, 1e-5, 1e-8)
#: a problem, and the size of its batch
CASES = [(problem, batch) for problem in ("vdp", "mlp", "heat") for batch in (1, 256)]


def vdp(t: Any, u: Any, stack: Callable[..., Any] = torch.stack) -> Any:
    """Van der Pol's equation, mu = 5."""
    return stack([u[..., 1], 5 * (1 - u[..., 0] ** 2) * u[..., 1] - u[..., 0]], -1)


def lotka_volterra(t: Any, u: Any, stack: Callable[..., Any] = torch.stack) -> Any:
    """Predator and prey."""
    return stack([u[..., 0] * (1.5 - u[..., 1]), u[..., 1] * (u[..., 0] - 3)], -1)


def heat(t: Any, u: Any, pad: Callable[..., Any] = nn.functional.pad, width: Any = (1, 1)) -> Any:
    """The heat equation on 32 points, with a largest eigenvalue of 40, so that it is mildly stiff."""
    wide = pad(u, width)
    return 10 * (wide[..., 2:] - 2 * u + wide[..., :-2])


def network() -> nn.Module:
    """f(t, u) of two layers of width 64."""
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2))

    class Called(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner.double()

        def forward(self, t: Tensor, u: Tensor) -> Tensor:
            return 3 * self.inner(u)

    return Called()


def case(problem: str, batch: int) -> tuple[Any, Tensor]:
    """The function of a problem, and its start."""
    f = {"vdp": vdp, "heat": heat}.get(problem) or network()
    generator = torch.Generator().manual_seed(0)
    start = torch.tensor([[2.0, 0.0]], dtype=torch.float64)
    if problem == "heat":
        start = torch.linspace(0, math.pi, 34, dtype=torch.float64).sin()[None, 1:-1]
    return f, start + 0.5 * (batch > 1) * torch.randn(batch, start.shape[1], dtype=torch.float64, generator=generator)
