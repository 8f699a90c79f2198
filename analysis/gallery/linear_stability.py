"""Linear stability: regions, order stars, dispersion."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .. import plot

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLASSICAL = ("euler", "midpoint", "kutta3", "rk4", "ab2", "ab3")


def regions() -> Figure:
    """The classical explicit schemes. Source: Hairer & Wanner (1996), figures IV.2.1 and V.1.1."""
    return plot.stability_region(CLASSICAL, title="Stability regions of classical explicit schemes")


def lm_regions() -> Figure:
    """LM over k: ellipses, flat for k near -1 and round for k = 0. Source: Lu et al. (2018), section 3."""
    return plot.stability_family("lm", {"k": ["-9/10", "-1/2", "-1/4", "0", "1/4", "1/2", "3/4"]})


def order_stars() -> Figure:
    """The order star of Gauss' scheme of two stages, the diagonal Pade approximant. Source: Wanner et al. (1978)."""
    return plot.order_star("gauss2")


def dispersion() -> Figure:
    """Phase and amplitude errors of schemes a wave may be computed with."""
    return plot.dispersion_dissipation(
        ["verlet", "rk4", "kutta3", "trapezoid", "gauss2", "radau_iia2"], np.linspace(0, 2, 400)
    )
