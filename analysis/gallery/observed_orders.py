"""Orders observed beside orders derived."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import plot
from ..equations.error_curve import convergence_of
from ..equations.problems import rotation, rotation_solution

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCHEMES = ("euler", "midpoint", "ab3", "rk4", "tsit5", "gauss3")


def orders() -> Figure:
    """Schemes on a problem that depends on time, u' = cos(t) (-u_2, u_1), over [0, 3]."""
    results = convergence_of(SCHEMES, rotation, rotation_solution, t1=3.0, steps=(8, 16, 32, 64, 128))
    return plot.convergence(results, title=r"Error at $t = 3$ on $u' = \cos(t)\,(-u_2, u_1)$")
