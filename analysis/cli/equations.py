"""Commands on trees, and on the equation a scheme really solves: conditions, modified, modifying, hamiltonian."""

from __future__ import annotations

import argparse
from typing import Any

from odenets import Scheme, SchemeError

from ..equations.backward_error import modified_equation, modified_hamiltonian, modifying_integrator
from ..equations.derivative_form import derivative_form
from ..equations.order_conditions import order_conditions
from ..linear.resolve import HIGHEST_ORDER
from .shared_options import add_format, add_schemes, chosen, shown

#: Powers h^0 ... h^3 are written, and more where the first term after f is beyond them.
USUAL = 4


def _add(parser: argparse.ArgumentParser) -> None:
    add_schemes(parser, tables=False)
    parser.add_argument(
        "--order",
        type=int,
        help=f"powers h^0 ... h^(order-1) (default: {USUAL}, or as many as the first term after f takes)",
    )
    parser.add_argument("--latex", action="store_true", help="write LaTeX")


def _orders(options: argparse.Namespace) -> list[tuple[Scheme, int]]:
    """The schemes asked for, and for each how far its series is to be written."""
    if options.order is not None:
        return [(scheme, options.order) for scheme in chosen(options)]
    return [(scheme, min(max(USUAL, scheme.order + 1), HIGHEST_ORDER)) for scheme in chosen(options)]


def _written(scheme: Scheme, equation: Any, latex: bool) -> list[str]:
    """A line a component, with the scheme's name before it unless it is LaTeX."""
    text = equation.latex() if latex else equation.text()
    return [line if latex else f"{scheme.name}: {line}" for line in text.split("\n")]


def _modified(options: argparse.Namespace) -> str:
    return "\n".join(line for scheme, order in _orders(options) for line in _both(scheme, order, options.latex))


def _both(scheme: Scheme, order: int, latex: bool) -> list[str]:
    """The form solved for u', and the paper's for linear multistep schemes; SchemeError where there is neither."""
    equation, form = (_or_error(make, scheme, order) for make in (modified_equation, derivative_form))
    if isinstance(equation, SchemeError):
        if isinstance(form, SchemeError):
            raise equation
        # lm at k = -1: an equation of second order, which cannot be solved for u'
        return [*([] if latex else [f"{equation}"]), *_written(scheme, form, latex)]
    lines = _written(scheme, equation, latex)
    return lines if isinstance(form, SchemeError) else lines + _written(scheme, form, latex)


def _or_error(make: Any, scheme: Scheme, order: int) -> Any:
    try:
        return make(scheme, order)
    except SchemeError as error:
        return error


def _modifying(options: argparse.Namespace) -> str:
    members = [(scheme, modifying_integrator(scheme, order)) for scheme, order in _orders(options)]
    return "\n".join(line for scheme, found in members for line in _written(scheme, found, options.latex))


def _hamiltonian(options: argparse.Namespace) -> str:
    members = [(scheme, modified_hamiltonian(scheme, order)) for scheme, order in _orders(options)]
    return "\n".join(line for scheme, found in members for line in _written(scheme, found, options.latex))


def _add_conditions(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("order", type=int, help="p: one condition for each rooted tree with at most p vertices")
    add_format(parser)


def _conditions(options: argparse.Namespace) -> str:
    rows = [[c.differential, f"sum {c.weight}", str(c.value)] for c in order_conditions(options.order)]
    return shown(options, ["elementary differential", "elementary weight", "must be"], rows)


COMMANDS = {
    "conditions": (_add_conditions, _conditions),
    "modified": (_add, _modified),
    "modifying": (_add, _modifying),
    "hamiltonian": (_add, _hamiltonian),
}
