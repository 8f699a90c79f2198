"""The commands of ``odenets`` on schemes and networks. Each module here has a group of them."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Mapping, Sequence

from odenets import __version__

from ..text.console import Parser, missing, print_anywhere

#: command -> the module that has it, loaded when it is asked for, and a line of help. There ``COMMANDS`` has a function
#: that adds the command's options, and one that returns what it prints.
COMMANDS = {
    "stability": ("linear_stability", "stability intervals, zero-stability, polynomial; a figure with --out"),
    "growth": ("linear_stability", "zero-stability of a sequence of coefficients k_1 ... k_N"),
    "order-star": ("linear_stability", "order of zeta(z) against e^z; the order star with --out"),
    "locus": ("linear_stability", "points z with a root |zeta| = 1; the curves with --out"),
    "dispersion": (
        "linear_stability",
        "phase and amplitude error on u' = i omega u, y = omega h; curves with --out",
    ),
    "optimal-step": ("linear_stability", "largest stable step for eigenvalues of a Jacobian"),
    "ssp": ("linear_stability", "coefficient of strong stability preservation"),
    "conditions": ("equations", "the order conditions of a Runge-Kutta scheme"),
    "modified": ("equations", "the modified equation, and for multistep schemes its derivative form"),
    "modifying": ("equations", "the field that makes a scheme exact"),
    "hamiltonian": ("equations", "the modified Hamiltonian of a symplectic scheme"),
    "convergence": ("figures", "errors over the step size on a problem with a known solution"),
    "gallery": ("figures", "draw the figures of docs/gallery.md"),
    "diagnose": ("diagnosis", "the numerical diagnosis of a network"),
    "schemes": ("schemes", "every scheme with its derived properties"),
    "explore": ("explorer", "a page to play with schemes in the browser: regions, roots, order stars, sliders"),
}


def main(argv: Sequence[str] | None = None, others: Mapping[str, str] | None = None) -> int:
    """Run one command; returns the exit status: 0, or 2 for bad input, with one line on stderr.

    Args:
        argv: the arguments; by default those of the process.
        others: commands that somebody else runs, and what help says of them.
    """
    print_anywhere()
    arguments = list(sys.argv[1:] if argv is None else argv)
    options = _parser(next((a for a in arguments if not a.startswith("-")), ""), others or {}).parse_args(arguments)
    from odenets import OdenetsError  # noqa: PLC0415 - loads sympy, which --help needs not wait for

    try:
        print(options.run(options))
    except (OdenetsError, ImportError) as error:
        message = missing(error) if isinstance(error, ImportError) else str(error)
        if message is None:
            raise
        print(f"odenets: error: {message}", file=sys.stderr)
        return 2
    return 0


def _parser(wanted: str, others: Mapping[str, str]) -> argparse.ArgumentParser:
    """All commands, with the options of the wanted one."""
    parser = Parser(
        prog="odenets",
        description="Residual networks as numerical schemes: what a scheme, or a trained network, does.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"odenets {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")
    for name, (module, text) in COMMANDS.items():
        own = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        if name == wanted:
            add, run = importlib.import_module(f".{module}", __name__).COMMANDS[name]
            add(own)
            own.set_defaults(run=run)
    for name, text in others.items():
        commands.add_parser(name, help=text, add_help=False)
    return parser
