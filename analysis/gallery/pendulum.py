"""The pendulum H = p^2/2 - cos q: orbits, and what becomes of the energy."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from odenets import as_scheme

from .. import plot
from ..equations.energy import energy_errors, hamiltonian_at, hamiltonian_functions
from ..equations.orbit import numerical_orbit
from ..equations.problems import PENDULUM, P, Q

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SYMBOLS = (Q, P)
#: Scheme -> step size: explicit Euler spirals away, the others need large steps to show their modified Hamiltonian.
STEPS = {"euler": 0.2, "symplectic_euler": 0.7, "implicit_midpoint": 0.7, "verlet": 0.7}
STARTS = ((0.0, 0.6), (0.0, 1.3), (0.0, -2.3))


def pendulum() -> Figure:
    """Orbits of four schemes among the level curves of H and of the modified Hamiltonian, up to h^4."""
    paths, modified = {}, {}
    for name, h in STEPS.items():
        scheme = as_scheme(name)
        f = hamiltonian_functions(scheme, PENDULUM, SYMBOLS)
        count = 60 if name == "euler" else 90
        label = f"{name}, $h$ = {h:g}"
        paths[label] = [_wrapped(numerical_orbit(scheme, f, start, h, count)) for start in STARTS]
        if name != "euler":  # not symplectic: it has a modified equation, but that is not Hamiltonian
            modified[label] = hamiltonian_at(scheme, PENDULUM, SYMBOLS, h, 5)
    return plot.level_curves(
        paths,
        hamiltonian_at("verlet", PENDULUM, SYMBOLS, 1.0, 1),
        modified,
        xlim=(-np.pi, np.pi),
        ylim=(-3, 3),
        levels=[-0.8, -0.4, 0, 0.5, 1, 2, 3, 4],
        labels=("angle $q$, radians", "momentum $p$"),
        title=r"Pendulum: $\widetilde H$ up to $h^4$ tells where the points lie",
    )


def _wrapped(points: np.ndarray) -> np.ndarray:
    """Angles in [-pi, pi)."""
    return np.stack([(points[:, 0] + np.pi) % (2 * np.pi) - np.pi, points[:, 1]], -1)


def pendulum_energy() -> Figure:
    """The energy over 20000 steps: H drifts or oscillates, its modifications are kept to higher powers of h."""
    error = partial(energy_errors, hamiltonian=PENDULUM, symbols=SYMBOLS, start=(0.0, 1.3), h=0.1)
    results = [
        error("euler", steps=20000, orders=(1,)),
        error("symplectic_euler", steps=20000, orders=(1, 2, 3, 4)),
        error("verlet", steps=20000, orders=(1, 3, 5)),
    ]
    return plot.energy_errors(results, title="Pendulum: error of the energy and of the modified Hamiltonians")


def pendulum_orders() -> Figure:
    """The largest error of each truncation over h, with its slope."""
    results = [
        energy_errors("symplectic_euler", PENDULUM, SYMBOLS, (0.0, 1.3), h=h, steps=round(50 / h), orders=(1, 2, 3, 4))
        for h in (0.05, 0.1, 0.2, 0.4)
    ]
    return plot.energy_orders(results, title="Pendulum: largest error of the energy up to $t = 50$")
