"""The textbook problems of the gallery and of the command line, as torch functions."""

from __future__ import annotations

import sympy
import torch
from torch import Tensor

#: Position and momentum in the Hamiltonians below.
Q, P = sympy.symbols("q p", real=True)
#: H = p^2/2 - cos q: the mathematical pendulum, mass, length and gravity 1.
PENDULUM = P**2 / 2 - sympy.cos(Q)


def lotka_volterra(state: Tensor) -> Tensor:
    """Lotka-Volterra: u' = u (v - 2), v' = v (1 - u), of states (..., 2).

    Source: Hairer, Lubich & Wanner (2006), I.1.1.
    """
    u, v = state.unbind(-1)
    return torch.stack([u * (v - 2), v * (1 - u)], -1)


def log_predator(y: Tensor) -> Tensor:
    """The half x' = e^y - 2 of Lotka-Volterra in x = ln u, y = ln v, where it is Hamiltonian and separable."""
    return y.exp() - 2


def log_prey(x: Tensor) -> Tensor:
    """The other half, y' = 1 - e^x."""
    return 1 - x.exp()


def square(u: Tensor) -> Tensor:
    """The equation u' = u^2, whose solution from u(0) = 1 is 1/(1 - t)."""
    return u * u


def rotation(t: Tensor, u: Tensor) -> Tensor:
    """The system u' = cos(t) (-u_2, u_1): non-autonomous, which a scheme with wrong nodes does not pass."""
    return t.cos() * torch.stack([-u[..., 1], u[..., 0]], -1)


def rotation_solution(t: float) -> Tensor:
    """(cos(sin t), sin(sin t)), from (1, 0)."""
    angle = torch.tensor(t, dtype=torch.float64).sin()
    return torch.stack([angle.cos(), angle.sin()])
