"""Backward error analysis: numerical points lie on the solutions of a modified equation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .. import plot
from ..equations.orbit import orbits
from ..equations.problems import log_predator, log_prey, lotka_volterra as predator_prey, square as squared

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POPULATIONS = ("prey $u$", "predator $v$")


def square() -> Figure:
    """Blow-up, u' = u^2, by explicit Euler. Source: Hairer, Lubich & Wanner (2006), figure IX.1.1."""
    found = orbits("euler", squared, [1.0], 0.02, 56, orders=(2, 3, 4, 5), box=40.0, per_step=8)
    title = "$u' = u^2$, $u(0) = 1$"
    return plot.trajectories(found, xlim=(0.75, 1.03), ylim=(2, 20), title=title)


def lotka_volterra() -> Figure:
    """Explicit Euler spirals outwards, and so does its modified equation. Source: the same, figure IX.1.2."""
    found = orbits("euler", predator_prey, [2.0, 2.0], 0.1, 100, orders=(2, 3), per_step=8)
    title = "Lotka-Volterra, explicit Euler"
    return plot.phase_portrait(found, labels=POPULATIONS, xlim=(0, 5), ylim=(0, 6), title=title)


def lotka_volterra_symplectic() -> Figure:
    """Symplectic Euler in x = ln u, y = ln v, where the system is Hamiltonian: modified orbits close."""
    start = np.log([4.0, 3.0])
    found = [
        orbits("symplectic_euler", (log_predator, log_prey), start, h, 130, orders=(2,), per_step=8)
        for h in (0.1, 0.12)
    ]
    title = "Lotka-Volterra, symplectic Euler in $\\ln u$, $\\ln v$"
    return plot.phase_portrait(found, coordinates=np.exp, labels=POPULATIONS, title=title)
