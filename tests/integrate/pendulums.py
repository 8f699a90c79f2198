"""Problems with known solutions, for torch and for NumPy."""

import numpy as np
import torch
from scipy.integrate import solve_ivp


def pendulum(t, u, stack=torch.stack, xp=torch):
    """Driven: u = (angle, speed)."""
    return stack([u[1], -xp.sin(u[0]) + 0.3 * xp.cos(2 * t)])


def pendulum_numpy(t, u):
    return pendulum(t, u, np.array, np)


START = [1.2, 0.4]


def reference(times):
    """The pendulum at times in either order, by scipy to 1e-13."""
    found = solve_ivp(
        pendulum_numpy,
        (times[0], times[-1]),
        START,
        method="DOP853",
        rtol=1e-13,
        atol=1e-14,
        max_step=0.02,
        t_eval=times,
    )
    return torch.tensor(found.y.T)
