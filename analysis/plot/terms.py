"""The figure of the terms of a modified equation over the depth of a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from odenets import FieldError

from .style import MARKERS, heading, new_panels, shades, shared_legend


def modified_terms(
    sizes: Mapping[str, npt.ArrayLike] | npt.ArrayLike,
    *,
    first: int = 0,
    title: str = "Terms of the modified equation over depth",
    ax: Axes | Sequence[Axes] | None = None,
) -> Figure:
    r"""The relative size \|h^m f_m\| / \|f_0\| of each term of the modified equation, layer by layer.

    Args:
        sizes: a matrix layers x terms, or label -> matrix, one panel each: column j is the size of
            h^j f_j at each layer. Columns are divided by column 0; where that is 0 nothing is drawn.
        first: number of the first layer.
        title: heading of the figure.
        ax: axes to draw into, one a panel; default: those of a new figure.

    A term that grows to the size of f itself says that the network is no longer a discretisation of
    u' = f; where the terms do not fall with m, the series has no meaning at that step size.

    Raises:
        FieldError: no matrix, or sizes that are not non-negative numbers layers x terms.
    """
    given: dict[str, Any] = dict(sizes) if isinstance(sizes, Mapping) else {"": sizes}
    matrices = {label: _matrix(label, matrix) for label, matrix in given.items()}
    if not matrices:
        raise FieldError("modified terms: got nothing to draw, expected a matrix layers x terms")
    figure, panels = new_panels(1, len(matrices), max(6.4, 4.4 * len(matrices)), 4.4, ax=ax, sharey=True)
    most = max(matrix.shape[1] for matrix in matrices.values())
    for axes, (label, matrix) in zip(panels, matrices.items(), strict=True):
        layers = first + np.arange(len(matrix))
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = matrix / matrix[:, :1]
        relative[~(np.isfinite(relative) & (relative > 0))] = np.nan
        for power, colour, marker in zip(range(1, matrix.shape[1]), shades(most - 1), MARKERS * most, strict=False):
            name = rf"$\|h^{{{power}}} f_{{{power}}}\| \;/\; \|f_0\|$" if power > 1 else r"$\|h f_1\| \;/\; \|f_0\|$"
            axes.plot(layers, relative[:, power], color=colour, marker=marker, markersize=4, label=name)
        axes.axhline(1, color="0.4", linewidth=0.9, linestyle="--")
        axes.set(yscale="log", xlabel="layer $n$", title=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[0].set_ylabel("size relative to $f$")
    heading(figure, panels, title)
    shared_legend(figure, panels)
    return figure


def _matrix(label: str, given: Any) -> npt.NDArray[np.float64]:
    try:
        matrix = np.array(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise FieldError(f"modified terms of {label!r}: got {given!r}, expected numbers layers x terms") from error
    if matrix.ndim != 2 or len(matrix) < 1 or matrix.shape[1] < 2 or not (matrix >= 0).all():
        raise FieldError(
            f"modified terms of {label!r}: got shape {matrix.shape}, expected sizes layers x terms, two terms or more, "
            "none negative or NaN"
        )
    return matrix
