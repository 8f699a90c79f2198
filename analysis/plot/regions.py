"""Figures of stability regions: of several schemes, and of a family of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from odenets import Scheme, SchemeError, as_scheme

from ..linear.intervals import imaginary_interval, real_interval
from ..linear.region import TOLERANCE, Region, amplification_factors, stability_region as region_on_grid
from ..linear.resolve import numeric
from ..linear.stability import stability_polynomial
from .members import settled
from .style import LINES, colours, legend_beside, new_axes, plane_size, plane_title, shades

Ends = tuple[float, float]
#: Where the limits of a figure are looked for: further along the axes, as far as the region goes on from the origin.
WIDEST: tuple[Ends, Ends] = ((-12.0, 4.0), (-8.0, 8.0))
FARTHEST = 240.0  # a region that reaches so far has no end that a figure could show
AXIS = np.geomspace(0.01, FARTHEST, 1500)  # each 0.7 % further, which no figure shows


@dataclass(frozen=True)
class _Curve:
    """One region of a figure, of a scheme or as it was found; ``cost`` divides h lambda."""

    scheme: Scheme | None
    label: str
    colour: Any
    cost: int = 1
    found: Region | None = None


def stability_region(
    schemes: Sequence[Scheme | str | Region] | Scheme | str | Region,
    *,
    re: Sequence[float] | None = None,
    im: Sequence[float] | None = None,
    resolution: int = 400,
    scale: bool = False,
    title: str = "Stability regions",
    ax: Axes | None = None,
    **values: Any,
) -> Figure:
    """The stability regions of several schemes in one figure.

    Args:
        schemes: names, schemes, or regions of :func:`odenets.analysis.stability_region`.
        re: ends of the figure along the real axis in units of h lambda; default: what the regions need.
        im: the same along the imaginary axis.
        resolution: grid points along each side.
        scale: divide h lambda by the number of stages, so that schemes of equal cost compare.
        title: heading of the figure.
        ax: axes to draw into; default: those of a new figure.
        values: numbers for the symbols of the schemes, e.g. ``k="-1/2"``.

    A region without interior (leapfrog's) is drawn as the segment of the axis that it is; one that
    coincides with an earlier one (heun's with midpoint's) is dashed over it.

    Raises:
        SchemeError: no scheme, a symbol without a value, an empty rectangle.
    """
    given = settled(schemes, values, "stability region", Region)
    if scale and any(isinstance(one, Region) for one in given):
        raise SchemeError("stability region: got scale=True with regions, whose stages are unknown; pass the schemes")
    curves = []
    for one, colour in zip(given, colours(len(given)), strict=True):
        if isinstance(one, Region):
            curves.append(_Curve(None, one.scheme or "region", colour, found=one))
        else:
            curves.append(_Curve(one, one.name, colour, one.stages if scale else 1))
    return _draw(curves, re, im, resolution, title=title, unit=r"h\lambda / s" if scale else r"h\lambda", ax=ax)


def stability_family(
    scheme: Scheme | str,
    symbol_values: Mapping[str, Sequence[Any]],
    *,
    re: Sequence[float] | None = None,
    im: Sequence[float] | None = None,
    resolution: int = 400,
    ax: Axes | None = None,
    **values: Any,
) -> Figure:
    """The stability regions of one scheme for several values of its symbols, e.g. ``{"k": [-0.5, 0, 0.5]}``.

    Args:
        scheme: a scheme, or a name of the zoo, with free symbols.
        symbol_values: the values of each symbol; all combinations are drawn.
        re: ends of the figure along the real axis in units of h lambda; default: what the regions need.
        im: the same along the imaginary axis.
        resolution: grid points along each side.
        ax: axes to draw into; default: those of a new figure.
        values: numbers for its other symbols.

    Raises:
        SchemeError: a symbol the scheme does not have, or one without a value.
    """
    base = as_scheme(scheme).substitute(values)
    choices = [dict(zip(symbol_values, choice, strict=True)) for choice in product(*symbol_values.values())]
    curves = [
        _Curve(base.substitute(choice), ", ".join(f"{name} = {value}" for name, value in choice.items()), shade)
        for choice, shade in zip(choices, shades(len(choices)), strict=True)
    ]
    return _draw(curves, re, im, resolution, title=f"Stability regions of {base.name}", unit=r"h\lambda", ax=ax)


def _draw(
    curves: Sequence[_Curve],
    re: Sequence[float] | None,
    im: Sequence[float] | None,
    resolution: int,
    *,
    title: str,
    unit: str,
    ax: Axes | None,
) -> Figure:
    if not curves:
        raise SchemeError("stability region: got no scheme to draw, expected at least one")
    for curve in curves:
        if curve.scheme is not None:
            numeric(curve.scheme, {}, "the stability region", "")
    own_re, own_im = _limits(curves) if re is None or im is None else (re, im)
    x, y = tuple(own_re if re is None else re), tuple(own_im if im is None else im)
    regions = [_region(curve, x, y, resolution) for curve in curves]
    figure, axes = new_axes(*plane_size(x, y, [curve.label for curve in curves]), ax, plane=True)
    axes.axhline(0, color="0.4", linewidth=0.8)
    axes.axvline(0, color="0.4", linewidth=0.8)
    styles = _styles(curves)
    for curve, region, style in zip(curves, regions, styles, strict=True):
        _boundary(axes, curve, region, style)
    axes.set(xlim=x, ylim=y, aspect="equal", title=plane_title(title, x, y))
    axes.set(xlabel=rf"Re$({unit})$", ylabel=rf"Im$({unit})$")
    handles = [Line2D([], [], color=c.colour, linestyle=s) for c, s in zip(curves, styles, strict=True)]
    legend_beside(axes, handles, [c.label for c in curves])
    return figure


def _styles(curves: Sequence[_Curve]) -> list[Any]:
    """Solid, or dashed for a region or a colour that an earlier curve has already."""
    regions = [(c.found if c.scheme is None else stability_polynomial(c.scheme), c.cost) for c in curves]
    tints = [c.colour for c in curves]
    earlier = [regions[:i].count(regions[i]) + tints[:i].count(tints[i]) for i in range(len(curves))]
    return [LINES[count % len(LINES)] for count in earlier]


def _boundary(axes: Axes, curve: _Curve, region: Region, style: Any) -> None:
    """Fill max |zeta| < 1 lightly and draw its rim."""
    if curve.scheme is not None and not (region.radius < 1 - 1e-6).any():
        _segments(axes, curve, curve.scheme)
        return
    x, y = region.re / curve.cost, region.im / curve.cost
    radius = np.minimum(region.radius, 2.0)  # contours are interpolated: a pole next door would shift them
    axes.contourf(x, y, radius, levels=[0, 1], colors=[curve.colour], alpha=0.12)
    axes.contour(x, y, radius, levels=[1], colors=[curve.colour], linewidths=1.8, linestyles=[style])


def _segments(axes: Axes, curve: _Curve, scheme: Scheme) -> None:
    """What a region without interior covers of the axes."""
    up, left = (min(float(f(scheme)), 1e3) / curve.cost for f in (imaginary_interval, real_interval))
    axes.plot([0, 0], [-up, up], color=curve.colour, linewidth=3, solid_capstyle="butt")
    axes.plot([-left, 0], [0, 0], color=curve.colour, linewidth=3, solid_capstyle="butt")


def _times(ends: Sequence[float], factor: float) -> tuple[float, ...]:
    return tuple(end * factor for end in ends)


def _region(curve: _Curve, x: Sequence[float], y: Sequence[float], resolution: int) -> Region:
    if curve.scheme is None:
        assert curve.found is not None
        return curve.found
    return region_on_grid(curve.scheme, _times(x, curve.cost), _times(y, curve.cost), resolution)


def _limits(curves: Sequence[_Curve]) -> tuple[Ends, Ends]:
    """A rectangle around all regions; of those without an end as much as the widest one shows."""
    left, right, top = -1.0, 0.3, 1.0
    for curve in curves:
        coarse = curve.found or _coarse(curve)
        rows, columns = np.nonzero(coarse.stable)
        if len(rows):
            left = min(left, coarse.re[columns.min()] / curve.cost)
            right = max(right, coarse.re[columns.max()] / curve.cost)
            top = max(top, coarse.im[rows.max()] / curve.cost)
    margin = 0.08 * max(right - left, 2 * top)
    return (left - margin, right + margin), (-top - margin, top + margin)


def _coarse(curve: _Curve) -> Region:
    """The region on a rectangle that holds all of it along both axes, unless it has no end there."""
    assert curve.scheme is not None
    (left, right), (low, high) = WIDEST
    reached, risen = (_reach(curve.scheme, direction) for direction in (-1.0, 1j))
    left = min(left, -reached)
    return region_on_grid(curve.scheme, (left, right), (min(low, -risen), max(high, risen)), resolution=161)


def _reach(scheme: Scheme, direction: complex) -> float:
    """How far the region goes on along a ray from the origin; 0 where that is beyond what can be shown."""
    stable = (
        np.abs(amplification_factors(scheme, (direction * AXIS).astype(np.complex128))).max(axis=-1) <= 1 + TOLERANCE
    )
    end = len(AXIS) if stable.all() else int(np.argmin(stable))
    return 0.0 if end == len(AXIS) else float(AXIS[end])
