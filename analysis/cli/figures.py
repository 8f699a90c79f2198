"""Commands that measure and draw: convergence, gallery."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from odenets import OdenetsError

from ..equations.error_curve import Convergence, convergence_of
from ..equations.problems import rotation, rotation_solution
from .shared_options import add_out, add_schemes, chosen, drawn, shown, together


def _add_convergence(parser: argparse.ArgumentParser) -> None:
    add_schemes(parser)
    add_out(parser, "error over step size")
    parser.add_argument("--steps", type=int, nargs="+", default=[8, 16, 32, 64, 128], help="numbers of steps")


def _convergence(options: argparse.Namespace) -> str:
    results = convergence_of(chosen(options), rotation, rotation_solution, t1=3.0, steps=options.steps)
    head = ["scheme", "order", "observed", *(f"error, {n} steps" for n in options.steps)]
    title = r"Error at $t = 3$ on $u' = \cos(t)\,(-u_2, u_1)$"
    wrote = drawn(options.out, lambda plot: plot.convergence(results, title=title))
    note = "u' = cos(t) (-u_2, u_1), u(0) = (1, 0), at t = 3, in float64"
    note = "\n".join([note, *(f"Order 0: {result.reason}." for result in results if result.reason)])
    return together(options, shown(options, head, [_row(result) for result in results]), *wrote, before=note)


def _row(result: Convergence) -> list[str]:
    slope = result.observed_order
    observed = "-" if math.isnan(slope) else f"{slope:.2f}"
    return [result.scheme, str(result.order), observed, *(f"{error:.3g}" for error in result.error)]


def _add_gallery(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="figure", help="names of figures; all by default")
    parser.add_argument("--out", type=Path, required=True, help="folder to write gallery-NAME.png into")
    parser.add_argument("--check", action="store_true", help="compare the files in the folder with the figures instead")


def _gallery(options: argparse.Namespace) -> str:
    from .. import gallery  # noqa: PLC0415 - loads matplotlib

    if options.check:
        if names := gallery.changed(options.out, options.names):
            raise OdenetsError(
                f"got {', '.join(names)} in {options.out}, expected what is drawn today; write them anew"
            )
        return f"The figures in {options.out} are those drawn today."
    return "\n".join(f"Wrote {path}" for path in gallery.write(options.out, options.names))


COMMANDS = {"convergence": (_add_convergence, _convergence), "gallery": (_add_gallery, _gallery)}
