"""What every function here accepts: a scheme or its name, and exact numbers for its symbols."""

from __future__ import annotations

from typing import Any

import sympy

from odenets import Scheme, SchemeError, as_scheme
from odenets.scheme.given_numbers import integer
from odenets.scheme.multistep_form import zeta

__all__ = ["HIGHEST_ORDER", "TREES_OF_12", "check_order", "numeric", "resolve", "z", "zeta"]
#: z = h lambda of the test equation u' = lambda u.
z = sympy.Symbol("z")
#: Rooted trees with 12 vertices; beyond, a modified equation takes minutes and says nothing a person can read.
TREES_OF_12 = 4766
HIGHEST_ORDER = 12


def resolve(scheme: Scheme | str, values: dict[str, Any]) -> Scheme:
    """The scheme of that name with ``values`` in the place of symbols; the rest stays symbolic.

    Raises:
        SchemeError: an unknown symbol, a value that is no number, or a symbol called as one of the
            two variables of the analysis.
        UnknownSchemeError: a name that is not in the zoo.
    """
    found = as_scheme(scheme).substitute(values)
    for symbol in found.symbols:
        if str(symbol) in {"z", "zeta"}:
            raise SchemeError(
                f"{found.name}: got a learnable coefficient called {symbol}, expected another name: "
                "z = h lambda and zeta are the variables of the stability polynomial"
            )
    return found


def check_order(order: Any, what: str, highest: int | None = None) -> int:
    """An integer of at least 1, and of at most ``highest``; else SchemeError."""
    order = integer(order, f"{what}: order")
    if highest is not None and order > highest:
        raise SchemeError(
            f"{what}: got order {order}, expected at most {highest}: there are {TREES_OF_12} rooted trees with 12 "
            "vertices, and three times as many for each vertex more"
        )
    return order


def numeric(scheme: Scheme | str, values: dict[str, Any], what: str, instead: str) -> Scheme:
    """As :func:`resolve`, for results that need a number for every symbol; ``instead`` tells what to do else."""
    found = resolve(scheme, values)
    if found.symbols:
        names = ", ".join(map(str, found.symbols))
        raise SchemeError(
            f"{found.name}: {what} got no value for {names}, expected a number for each; "
            f'pass e.g. {found.symbols[0]}="-1/2"{instead}'
        )
    return found
