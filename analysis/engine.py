"""The modified equation as a vector field of the whole state: the one place the drawings call it from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import sympy
import torch
from torch import Tensor

from odenets import Scheme

from .modified import modified_equation, modified_hamiltonian


def modified_field(scheme: Scheme, order: int, f: Any, h: float) -> Callable[[Tensor], Tensor]:
    """The field u -> sum_{j < order} h^j f_j(u), for a state (..., d) that is cut into the scheme's components."""
    if isinstance(f, Sequence):
        field = modified_equation(scheme, order).field(tuple(f), h)
        return lambda u: torch.cat(field(u.chunk(scheme.components, -1)), -1)
    return modified_equation(scheme, order).field(f, h)


def truncated_hamiltonian(
    scheme: Scheme, order: int, hamiltonian: sympy.Expr, symbols: tuple[sympy.Symbol, sympy.Symbol], h: float
) -> sympy.Expr:
    """The modified Hamiltonian with the terms h^0 ... h^(order-1), with a number for h."""
    expression = modified_hamiltonian(scheme, order).expression(hamiltonian, *symbols)
    # The engine calls the step size h, whatever its assumptions.
    return expression.subs({symbol: h for symbol in expression.free_symbols if symbol.name == "h"})
