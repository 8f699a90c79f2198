"""Stiff problems of the literature, and their solutions by scipy and by our adaptive implicit steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from scipy.integrate import solve_ivp
from scipy.sparse import diags
from torch import Tensor

from odenets import solve

#: the schemes that are compared with scipy's
OURS = ("kvaerno5", "radau_iia3", "rodas5p")


@dataclass(frozen=True)
class Problem:
    """u' = f(t, u), u(0) = start, u(stop) = exact.

    Args:
        f: for torch, and with ``np.array`` as the third argument for NumPy.
        start, stop, exact: see above; exact may be a function that computes it.
        atol: absolute tolerance over the relative one.
    """

    f: Any
    start: list[float]
    stop: float
    atol: float
    exact: list[float] | Callable[[], Any]


def van_der_pol(t: Any, u: Any, stack: Callable[..., Any] = torch.stack) -> Any:
    """Mu = 1000."""
    return stack([u[1], 1000 * (1 - u[0] ** 2) * u[1] - u[0]])


def robertson(t: Any, u: Any, stack: Callable[..., Any] = torch.stack) -> Any:
    """Three substances, rates from 0.04 to 3e7."""
    a, b = -0.04 * u[0] + 1e4 * u[1] * u[2], 3e7 * u[1] ** 2
    return stack([a, -a - b, b])


def oregonator(t: Any, u: Any, stack: Callable[..., Any] = torch.stack) -> Any:
    """The Belousov-Zhabotinskii reaction, Field & Noyes (1974)."""
    return stack(
        [
            77.27 * (u[1] + u[0] * (1 - 8.375e-6 * u[0] - u[1])),
            (u[2] - (1 + u[0]) * u[1]) / 77.27,
            0.161 * (u[0] - u[2]),
        ]
    )


def hires(t: Any, u: Any, stack: Callable[..., Any] = torch.stack) -> Any:
    """High irradiance response of plants, Schaefer (1975)."""
    w = 280 * u[5] * u[7]
    return stack(
        [
            -1.71 * u[0] + 0.43 * u[1] + 8.32 * u[2] + 0.0007,
            1.71 * u[0] - 8.75 * u[1],
            -10.03 * u[2] + 0.43 * u[3] + 0.035 * u[4],
            8.32 * u[1] + 1.71 * u[2] - 1.12 * u[3],
            -1.745 * u[4] + 0.43 * u[5] + 0.43 * u[6],
            -w + 0.69 * u[3] + 1.71 * u[4] - 0.43 * u[5] + 0.69 * u[6],
            w - 1.81 * u[6],
            -w + 1.81 * u[6],
        ]
    )


def brusselator(t: Any, u: Any, stack: Callable[..., Any] = torch.stack) -> Any:
    """A reaction with diffusion 1/50 on 500 points, (u_1, v_1, u_2, ...), 1 and 3 at the ends."""
    join = torch.cat if stack is torch.stack else np.concatenate
    a, b, diffusion = u[::2], u[1::2], 501**2 / 50
    reaction = a * a * b - 4 * a
    one, three = 0 * a[:1] + 1, 0 * a[:1] + 3
    wide, other = join([one, a, one]), join([three, b, three])
    rates = (
        1 + reaction + diffusion * (wide[2:] - 2 * a + wide[:-2]),
        -reaction - a + diffusion * (other[2:] - 2 * b + other[:-2]),
    )
    return stack(rates).T.reshape(-1)


BRUSSELATOR = np.stack([1 + np.sin(2 * np.pi * np.arange(1, 501) / 501), np.full(500, 3.0)], 1).ravel().tolist()


@cache
def brusselator_in_scipy(tolerance: float) -> Any:
    """By scipy's Radau with the pattern of the Jacobian given."""

    def plain(t: float, u: Any) -> Any:
        return brusselator(t, u, np.stack)

    pattern = diags([np.ones(1000)] * 5, [-2, -1, 0, 1, 2], shape=(1000, 1000))
    return solve_ivp(plain, (0, 10), BRUSSELATOR, "Radau", rtol=tolerance, atol=tolerance, jac_sparsity=pattern)


# Mazzia & Magherini, Test Set for Initial Value Problem Solvers (2008); Robertson's at 1e5 by scipy's Radau to 1e-12.
PROBLEMS = {
    "van_der_pol": Problem(van_der_pol, [2.0, 0.0], 2000.0, 1e-4, [0.1706167732170469e1, -0.8928097010248125e-3]),
    "robertson": Problem(robertson, [1.0, 0.0, 0.0], 1e5, 1e-8, [0.01786592114211, 7.274751468e-8, 0.98213400611037]),
    "oregonator": Problem(
        oregonator, [1.0, 2.0, 3.0], 360.0, 1e-4, [0.1000814870318523e1, 0.1228178521549889e4, 0.1320554942846513e3]
    ),
    "hires": Problem(
        hires,
        [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0057],
        321.8122,
        1e-6,
        [
            0.7371312573325668e-3,
            0.1442485726316185e-3,
            0.5888729740967575e-4,
            0.1175651343283149e-2,
            0.2386356198831331e-2,
            0.6238968252742796e-2,
            0.2849998395185769e-2,
            0.2850001604814231e-2,
        ],
    ),
    # Hairer & Wanner (1996), IV.10
    "brusselator": Problem(brusselator, BRUSSELATOR, 10.0, 1.0, lambda: brusselator_in_scipy(1e-9).y[:, -1]),
}
#: those of a few numbers, which a test can solve
SMALL = [name for name, problem in PROBLEMS.items() if len(problem.start) < 10]


def in_scipy(problem: Problem, method: str, tolerance: float, f: Callable[..., Any] | None = None) -> Any:
    """Scipy's solution, with NumPy's f or another one."""

    def plain(t: float, u: Any) -> Any:
        return problem.f(t, u, np.array)

    options = {"rtol": tolerance, "atol": tolerance * problem.atol}
    return solve_ivp(f or plain, (0, problem.stop), problem.start, method=method, **options)


def through_torch(problem: Problem) -> Callable[[float, Any], Any]:
    """The function of torch, for scipy."""

    def f(t: float, u: Any) -> Any:
        return problem.f(torch.full((), t, dtype=torch.float64), torch.from_numpy(u)).numpy()

    return f


def in_torch(problem: Problem, scheme: str, tolerance: float) -> Any:
    """Our solution."""
    start = torch.tensor(problem.start, dtype=torch.float64)
    return solve(problem.f, start, (0, problem.stop), scheme, rtol=tolerance, atol=tolerance * problem.atol)


def error(problem: Problem, u: Tensor | Any, tolerance: float) -> float:
    """The root mean square of the error over the tolerance."""
    exact = np.array(problem.exact() if callable(problem.exact) else problem.exact)
    return math.sqrt(np.mean(((np.asarray(u) - exact) / (tolerance * (problem.atol + np.abs(exact)))) ** 2))
