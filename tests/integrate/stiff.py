"""Stiff problems, for torch and for NumPy, with the solutions that their sources print."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True)
class Problem:
    """u' = f(t, u), u(0) = start, u(stop) = exact; ``atol`` is a size below which a component does not matter."""

    f: Any
    start: list[float]
    stop: float
    atol: float
    exact: list[float]


def van_der_pol(t, u, stack=torch.stack):
    """mu = 1000."""
    return stack([u[1], 1000 * (1 - u[0] ** 2) * u[1] - u[0]])


def robertson(t, u, stack=torch.stack):
    a, b = -0.04 * u[0] + 1e4 * u[1] * u[2], 3e7 * u[1] ** 2
    return stack([a, -a - b, b])


def oregonator(t, u, stack=torch.stack):
    return stack(
        [
            77.27 * (u[1] + u[0] * (1 - 8.375e-6 * u[0] - u[1])),
            (u[2] - (1 + u[0]) * u[1]) / 77.27,
            0.161 * (u[0] - u[2]),
        ]
    )


def hires(t, u, stack=torch.stack):
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
}


def numpy_of(f):
    return lambda t, u: f(t, u, np.array)
