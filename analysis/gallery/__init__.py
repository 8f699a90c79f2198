"""The gallery: textbook figures, computed by this project and drawn into files.

``odenets gallery --out docs/figures`` writes them all; docs/gallery.md shows them. ``odenets gallery --check --out
docs/figures`` says which of them are not what is drawn today.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from odenets import OdenetsError

from ..plot.style import save
from .backward_error import lotka_volterra, lotka_volterra_symplectic, square
from .linear_stability import dispersion, lm_regions, order_stars, regions
from .observed_orders import orders
from .pendulum import pendulum, pendulum_energy, pendulum_orders
from .relaxation import van_der_pol

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
    "van-der-pol": van_der_pol,
}


def changed(folder: str | os.PathLike[str], names: Sequence[str] = ()) -> list[str]:
    """The figures, of all by default, whose files in a folder are missing or have other pixels than drawn anew.

    Raises:
        OdenetsError: a name that no figure has.
    """
    from matplotlib.image import imread  # noqa: PLC0415 - loaded where something is compared

    with tempfile.TemporaryDirectory() as drawn:
        pairs = [(path, Path(folder) / path.name) for path in write(drawn, names)]
        return [old.name for new, old in pairs if not old.is_file() or not np.array_equal(imread(new), imread(old))]


def write(out: str | os.PathLike[str], names: Sequence[str] = ()) -> list[Path]:
    """Draw the figures, all by default, into ``out`` as gallery-NAME.png.

    Raises:
        OdenetsError: a name that no figure has, or a place that cannot be written.
    """
    if unknown := sorted(set(names) - set(FIGURES)):
        raise OdenetsError(f"gallery: got {', '.join(unknown)}, expected some of {', '.join(FIGURES)}")
    try:
        Path(out).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OdenetsError(f"gallery: got the folder {str(out)!r}, expected a place to write to: {error}") from error
    return [save(FIGURES[name](), Path(out) / f"gallery-{name}.png") for name in names or FIGURES]
