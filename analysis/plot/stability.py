"""Figures of linear stability and accuracy: order stars, boundary loci, dispersion and dissipation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from odenets import Scheme

from ..linear.boundary_locus import BoundaryLocus, boundary_locus as locus_of
from ..linear.dispersion import PhaseError, dispersion_dissipation as phase_of
from ..linear.order_star import OrderStar, order_star as star_of
from .members import settled
from .style import LINES, colours, legend_below, legend_beside, line_styles, new_axes, new_panels, plane_size, roomy

Members = Sequence[Scheme | str] | Scheme | str
FILLED = "#56B4E9"
#: Points of a locus further out than this are left to the edge of the figure: some pass infinity.
FARTHEST = 12.0


def order_star(
    scheme: Scheme | str | OrderStar,
    re: Sequence[float] = (-5.0, 7.0),
    im: Sequence[float] = (-6.0, 6.0),
    *,
    resolution: int = 500,
    ax: Axes | None = None,
    **values: Any,
) -> Figure:
    """The order star A = {z : |R(z)| > |e^z|}, filled, and the level curves of log|R(z) e^-z|.

    Args:
        scheme: a Scheme, a name of the zoo, or what :func:`odenets.analysis.order_star` found, drawn as far
            as its grid goes.
        re: ends of the figure along the real axis, in units of h lambda.
        im: the same along the imaginary axis.
        resolution: grid points along each side.
        ax: axes to draw into; default: those of a new figure.
        values: exact numbers for its symbols.

    The origin is met by p + 1 sectors of A for order p. A scheme is A-stable where A does not meet
    the imaginary axis and the poles, crosses here, lie in the right half plane.

    Raises:
        SchemeError: what :func:`odenets.analysis.order_star` raises.

    Source: Wanner, Hairer & Norsett (1978), Order Stars and Stability Theorems.
    """
    (one,) = settled([scheme], values, "order star", OrderStar)
    star = one if isinstance(one, OrderStar) else star_of(one, re, im, resolution)
    re, im = ((float(part[0]), float(part[-1])) for part in (star.re, star.im))
    with np.errstate(divide="ignore"):
        growth = np.clip(np.log(star.ratio), -4, 4)  # contours are interpolated: poles and zeros would shift them
    figure, axes = new_axes(*plane_size(re, im), ax, plane=True)
    axes.grid(visible=False)
    axes.contourf(star.re, star.im, growth, levels=[0, 4], colors=[FILLED], alpha=0.55, extend="max")
    levels = [-2, -1, -0.5, 0.5, 1, 2]
    axes.contour(star.re, star.im, growth, levels=levels, colors="0.55", linewidths=0.6, linestyles="-")
    axes.contour(star.re, star.im, growth, levels=[0], colors=["black"], linewidths=1.4)
    axes.axhline(0, color="0.4", linewidth=0.8)
    axes.axvline(0, color="0.4", linewidth=0.8)
    poles = _peaks(star.ratio)
    axes.plot(star.re[poles[1]], star.im[poles[0]], color="#D55E00", marker="x", linestyle="", markersize=7, mew=2)
    axes.set(xlim=tuple(re), ylim=tuple(im), aspect="equal", xlabel=r"Re$(h\lambda)$", ylabel=r"Im$(h\lambda)$")
    axes.set_title(f"Order star of {star.scheme}, order {star.order}")
    handles = [
        Patch(facecolor=FILLED, edgecolor="black", alpha=0.55),
        Line2D([], [], color="0.55", linewidth=0.6),
        Line2D([], [], color="#D55E00", marker="x", linestyle="", mew=2),
    ]
    names = [r"$|R(z)| > |e^z|$", r"$\log|R(z) e^{-z}|$:" + "\n" + r"$\pm 1/2$, $\pm 1$, $\pm 2$", "pole of $R$"]
    legend_beside(axes, handles if len(poles[0]) else handles[:2], names if len(poles[0]) else names[:2])
    return figure


def _peaks(ratio: Any, least: float = 20.0) -> Any:
    """Rows and columns of the poles: large local maxima away from the edge."""
    inner = np.nan_to_num(ratio, posinf=np.finfo(float).max)
    around = [np.roll(inner, (i, j), (0, 1)) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j]
    peak = (inner > least) & (inner > np.max(around, axis=0) * (1 - 1e-12))
    peak[[0, -1], :] = peak[:, [0, -1]] = False
    return np.nonzero(peak)


def boundary_locus(
    schemes: Members | Sequence[BoundaryLocus] | BoundaryLocus,
    *,
    re: Sequence[float] | None = None,
    im: Sequence[float] | None = None,
    points: int = 1441,
    ax: Axes | None = None,
    **values: Any,
) -> Figure:
    """The root locus curves of several schemes: the z at which some root zeta lies on the unit circle.

    Args:
        schemes: names, schemes, or loci of :func:`odenets.analysis.boundary_locus`.
        re: ends of the figure along the real axis, in units of h lambda; default: what the curves need.
        im: the same along the imaginary axis.
        points: angles.
        ax: axes to draw into; default: those of a new figure.
        values: exact numbers for the symbols of the schemes.

    The boundary of the stability region is part of each curve, not always the whole.

    Raises:
        SchemeError: no scheme, or what :func:`odenets.analysis.boundary_locus` raises.
    """
    loci = _found(schemes, values, "boundary locus", lambda scheme: locus_of(scheme, points), BoundaryLocus)
    names, curves = [one.scheme for one in loci], [one.z for one in loci]
    known = np.concatenate([curve.ravel() for curve in curves])
    near = known[np.isfinite(known) & (np.abs(known) < FARTHEST)]
    own = roomy(_around(near.real), _around(near.imag))
    x, y = (tuple(ends) if ends is not None else part for ends, part in zip((re, im), own, strict=True))
    figure, axes = new_axes(*plane_size(x, y, names), ax, plane=True)
    axes.axhline(0, color="0.4", linewidth=0.8)
    axes.axvline(0, color="0.4", linewidth=0.8)
    tints, styles = colours(len(loci)), line_styles(len(loci))
    for curve, colour, style in zip(curves, tints, styles, strict=True):
        for branch in curve:
            axes.plot(branch.real, branch.imag, color=colour, linestyle=style, linewidth=1.6)
    axes.set(xlim=x, ylim=y, aspect="equal", title="Boundary loci:\n" r"$z$ with a root $|\zeta| = 1$")
    axes.set(xlabel=r"Re$(h\lambda)$", ylabel=r"Im$(h\lambda)$")
    handles = [Line2D([], [], color=c, linestyle=s) for c, s in zip(tints, styles, strict=True)]
    legend_beside(axes, handles, names)
    return figure


def dispersion_dissipation(
    schemes: Members | Sequence[PhaseError] | PhaseError,
    y: npt.ArrayLike | None = None,
    *,
    ax: Sequence[Axes] | None = None,
    **values: Any,
) -> Figure:
    """What schemes do to an oscillation u' = i omega u, over y = omega h: phase error and loss of amplitude a step.

    Args:
        schemes: names, schemes, or what :func:`odenets.analysis.dispersion_dissipation` found.
        y: points omega h in radians a step; default: 400 up to pi.
        ax: two axes to draw into; default: those of a new figure.
        values: exact numbers for the symbols of the schemes.

    Left y - arg zeta(i y), positive where the scheme lags behind; right 1 - |zeta(i y)|, negative
    where the oscillation grows, which no stable scheme does.

    Raises:
        SchemeError: no scheme, or what :func:`odenets.analysis.dispersion_dissipation` raises.
    """
    found = _found(schemes, values, "dispersion", lambda scheme: phase_of(scheme, y), PhaseError)
    figure, (left, right) = new_panels(1, 2, 9.6, 4.6, ax=ax)
    # Curves that lie on the axis, as all dissipations of symmetric schemes do, show beside thinner ones and
    # through their dashes.
    for i, (one, colour) in enumerate(zip(found, colours(len(found)), strict=True)):
        style: dict[str, Any] = {"color": colour, "linestyle": LINES[i % len(LINES)]}
        style["linewidth"] = max(3.4 - 0.5 * i, 1.2)
        order = r"\infty" if not one.dissipation_order.is_finite else one.dissipation_order
        label = f"{one.scheme}: {one.dispersion_order}, ${order}$"
        left.plot(one.y, one.dispersion, label=label, **style)
        right.plot(one.y, one.dissipation, **style)
    for axes, limits in ((left, (-1.0, 2.0)), (right, (-0.5, 1.05))):
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, limits[0]), min(high, limits[1]))
        axes.axhline(0, color="0.4", linewidth=0.8, zorder=1)
        axes.set_xlabel(r"$y = \omega h$, radians a step")
    left.set(title="Dispersion", ylabel=r"phase error $y - \arg\zeta(iy)$, radians a step")
    right.set(title="Dissipation", ylabel=r"loss of amplitude $1 - |\zeta(iy)|$ a step")
    legend_below(figure, *left.get_legend_handles_labels(), title="orders of dispersion and dissipation")
    return figure


def _found(given: Any, values: Mapping[str, Any], what: str, find: Callable[[Scheme], Any], kind: type) -> list[Any]:
    """The results to draw: as they were given, or found for each scheme."""
    return [one if isinstance(one, kind) else find(one) for one in settled(given, values, what, kind)]


def _around(part: Any) -> tuple[float, float]:
    low, high = (float(part.min()), float(part.max())) if len(part) else (-1.0, 1.0)
    margin = 0.06 * max(high - low, 1.0)
    return low - margin, high + margin
