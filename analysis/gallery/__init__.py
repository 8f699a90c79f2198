"""The gallery: textbook figures, computed by this project and drawn into files.

``odenets gallery --out docs/figures`` writes them all; docs/gallery.md shows them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from odenets import OdenetsError

from ..plot.style import save
from .backward_error import lotka_volterra, lotka_volterra_symplectic, square
from .linear_stability import dispersion, lm_regions, order_stars, regions
from .observed_orders import orders
from .pendulum import pendulum, pendulum_energy, pendulum_orders

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: name -> what draws it; the file is gallery-NAME.png
FIGURES: dict[str, Callable[[], Figure]] = {
    "square": square,
    "lotka-volterra-euler": lotka_volterra,
    "lotka-volterra-symplectic": lotka_volterra_symplectic,
    "pendulum": pendulum,
    "pendulum-energy": pendulum_energy,
    "pendulum-orders": pendulum_orders,
    "regions": regions,
    "lm-regions": lm_regions,
    "order-stars": order_stars,
    "dispersion": dispersion,
    "convergence": orders,
}


def write(out: str | os.PathLike[str], names: Sequence[str] = ()) -> list[Path]:
    """Draw the figures, all by default, into ``out`` as gallery-NAME.png.

    Raises:
        OdenetsError: a name that no figure has, or a place that cannot be written.
    """
    if unknown := sorted(set(names) - set(FIGURES)):
        raise OdenetsError(f"gallery: got {', '.join(unknown)}, expected some of {', '.join(FIGURES)}")
    return [save(FIGURES[name](), Path(out) / f"gallery-{name}.png") for name in names or FIGURES]
