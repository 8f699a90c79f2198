"""Commands on linear stability and accuracy: stability, growth, order-star, locus, dispersion, ssp, optimal-step."""

from __future__ import annotations

import argparse
import math

from odenets import OdenetsError

from ..linear.boundary_locus import boundary_locus
from ..linear.dispersion import PhaseError, dispersion_dissipation
from ..linear.layer_sequence import sequence_growth
from ..linear.optimal_step import optimal_step
from ..linear.order_star import order_star
from ..linear.ssp import ssp_coefficient
from ..text.expressions import show
from .scheme_table import stability_table
from .shared_options import (
    add_ends,
    add_format,
    add_out,
    add_schemes,
    chosen,
    drawn,
    refuse_ends_without_out,
    scheme_of,
    shown,
    together,
)

#: Points that decide about the orders alone; the figure has its own.
FEW = [0.0, 0.1]


def _add_stability(parser: argparse.ArgumentParser) -> None:
    add_schemes(parser)
    add_out(parser, "the regions")
    add_ends(parser)
    parser.add_argument("--scale", action="store_true", help="divide h lambda by the stages, the cost of a step")


def _stability(options: argparse.Namespace) -> str:
    members = chosen(options)
    refuse_ends_without_out(options, "re", "im", "scale")
    wrote = drawn(
        options.out, lambda plot: plot.stability_region(members, re=options.re, im=options.im, scale=options.scale)
    )
    return together(options, stability_table(members, form=options.format), *wrote)


def _add_star(parser: argparse.ArgumentParser) -> None:
    add_schemes(parser)
    add_out(parser, "the order star of one scheme")
    add_ends(parser)


def _star(options: argparse.Namespace) -> str:
    members = chosen(options)
    refuse_ends_without_out(options, "re", "im")
    if options.out is not None and len(members) > 1:
        raise OdenetsError(f"got {len(members)} schemes with --out, expected one: each order star is a figure")
    ends = {name: getattr(options, name) for name in ("re", "im") if getattr(options, name)}
    stars = [(scheme, order_star(scheme, resolution=2)) for scheme in members]
    rows = [[scheme.name, str(star.order), show(star.constant), str(star.sectors)] for scheme, star in stars]
    table = shown(options, ["scheme", "order", "error constant of zeta(z)", "sectors of the star at 0"], rows)
    return together(options, table, *drawn(options.out, lambda plot: plot.order_star(members[0], **ends)))


def _add_locus(parser: argparse.ArgumentParser) -> None:
    add_schemes(parser)
    add_out(parser, "the curves")
    add_ends(parser)
    parser.add_argument("--points", type=int, default=13, help="angles in the table (default: 13)")


def _locus(options: argparse.Namespace) -> str:
    members = chosen(options)
    refuse_ends_without_out(options, "re", "im")
    rows = []
    for scheme in members:
        locus = boundary_locus(scheme, options.points)
        for branch, curve in enumerate(locus.z):
            rows += [
                [scheme.name, str(branch), f"{math.degrees(theta):.4g}", _number(point.real), _number(point.imag)]
                for theta, point in zip(locus.theta, curve, strict=True)
            ]
    table = shown(options, ["scheme", "branch", "theta, degrees", "Re z", "Im z"], rows)
    wrote = drawn(options.out, lambda plot: plot.boundary_locus(members, re=options.re, im=options.im))
    return together(options, table, *wrote)


def _number(value: float) -> str:
    """Eight digits; rounding errors of a root at 0 or on the real axis are 0."""
    return f"{round(value, 10) + 0.0:.8g}"


def _add_dispersion(parser: argparse.ArgumentParser) -> None:
    add_schemes(parser)
    add_out(parser, "phase and amplitude errors")


def _dispersion(options: argparse.Namespace) -> str:
    members = chosen(options)
    rows = [[scheme.name, *_leading(dispersion_dissipation(scheme, FEW))] for scheme in members]
    header = ["scheme", "dispersion order", "y - arg zeta(iy)", "dissipation order", "1 - |zeta(iy)|"]
    wrote = drawn(options.out, lambda plot: plot.dispersion_dissipation(members))
    return together(options, shown(options, header, rows), *wrote)


def _leading(found: PhaseError) -> list[str]:
    """Orders, and leading terms."""
    phase = f"{show(found.dispersion_constant)} y^{found.dispersion_order + 1}"
    if not found.dissipation_order.is_finite:
        return [str(found.dispersion_order), phase, "inf", "0"]
    amplitude = f"{show(found.dissipation_constant)} y^{found.dissipation_order + 1}"
    return [str(found.dispersion_order), phase, str(found.dissipation_order), amplitude]


def _ssp(options: argparse.Namespace) -> str:
    rows = [[scheme.name, show(ssp_coefficient(scheme)), str(scheme.stages)] for scheme in chosen(options)]
    return shown(options, ["scheme", "SSP coefficient", "stages"], rows)


def _add_step(parser: argparse.ArgumentParser) -> None:
    add_schemes(parser)
    parser.add_argument(
        "--lambda",
        dest="eigenvalues",
        required=True,
        metavar="VALUE[,VALUE...]",
        help="eigenvalues, e.g. --lambda -1,-2+1j",
    )


def _step(options: argparse.Namespace) -> str:
    eigenvalues = [_complex(text.strip()) for text in options.eigenvalues.split(",")]
    rows = []
    for scheme in chosen(options):
        found = optimal_step(scheme, eigenvalues)
        limiting = "-" if found.limiting is None else f"{found.limiting:.6g}"
        limiting += ", with which no step is stable" if found.unstable else ""
        rows.append([scheme.name, f"{found.h:.10g}", f"{found.per_stage:.10g}", limiting])
    return shown(options, ["scheme", "largest stable h", "h per stage", "limited by lambda"], rows)


def _complex(text: str) -> complex:
    try:
        return complex(text)
    except ValueError as error:
        raise OdenetsError(f"--lambda: got {text!r}, expected numbers such as -1,-2+1j") from error


def _add_growth(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("scheme", help="a scheme with one learnable coefficient, e.g. lm")
    add_format(parser)
    parser.add_argument("--ks", required=True, metavar="VALUE[,VALUE...]", help="k_1 ... k_N, e.g. --ks -0.5,0.1,-1.2")


def _growth(options: argparse.Namespace) -> str:
    scheme = scheme_of(options.scheme)
    if len(scheme.symbols) != 1:
        names = ", ".join(map(str, scheme.symbols)) or "none"
        raise OdenetsError(
            f"growth: got {scheme.name} with the learnable coefficients {names}, expected a scheme with exactly one; "
            "use odenets.analysis.sequence_growth for several"
        )
    found = sequence_growth(scheme, [_real(text) for text in options.ks.split(",")])
    rows = [
        [str(n), f"{radius:.6g}", f"{growth:.6g}", f"{parasitic:.6g}"]
        for n, (radius, growth, parasitic) in enumerate(
            zip(found.radius, found.growth_from, found.parasitic_from, strict=True)
        )
    ]
    header = ["layer", "spectral radius", "largest growth from here", "of the parasitic part"]
    worst = f"largest: {found.growth:.6g}, layers {found.worst[0]} to {found.worst[1]}"
    said = f"{worst}; bound for any number of such layers: {found.bound:.6g}"
    return together(options, shown(options, header, rows), said)


def _real(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise OdenetsError(f"--ks: got {text.strip()!r}, expected numbers such as 0.5,-0.1") from error


COMMANDS = {
    "stability": (_add_stability, _stability),
    "growth": (_add_growth, _growth),
    "order-star": (_add_star, _star),
    "locus": (_add_locus, _locus),
    "dispersion": (_add_dispersion, _dispersion),
    "optimal-step": (_add_step, _step),
    "ssp": (add_schemes, _ssp),
}
