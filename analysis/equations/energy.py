"""Energy along numerical orbits of a Hamiltonian system H(q, p) = T(p) + U(q) of one degree of freedom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import sympy
import torch

from odenets import Scheme, SchemeError, as_scheme
from odenets.scheme.given_numbers import integer
from odenets.scheme.shown import Shown

from ..text.tables import render
from .backward_error import modified_hamiltonian
from .orbit import Functions, numerical_orbit

Symbols = tuple[sympy.Symbol, sympy.Symbol]


@dataclass(frozen=True, eq=False, repr=False)
class EnergyErrors(Shown):
    """How well an orbit keeps the Hamiltonian, and the truncated modified Hamiltonians.

    Attributes:
        scheme: its name; h: the step size.
        times: n h, shape (steps + 1,).
        errors: truncation order r -> H_r(q_n, p_n) - H_r(q_0, p_0), likewise; H_1 is H itself,
            H_r has the terms h^0 ... h^(r-1).
    """

    scheme: str
    h: float
    times: npt.NDArray[np.float64]
    errors: dict[int, npt.NDArray[np.float64]]

    def __str__(self) -> str:
        rows = [[f"H_{r}", f"{abs(error).max():.3g}", f"{error[-1]:.3g}"] for r, error in self.errors.items()]
        return render([f"{self.scheme}, h = {self.h:g}", "largest error", f"at t = {self.times[-1]:g}"], rows)


def energy_errors(
    scheme: Scheme | str,
    hamiltonian: sympy.Expr,
    symbols: Symbols,
    start: npt.ArrayLike,
    *,
    h: float,
    steps: int,
    orders: Sequence[int] = (1, 2, 3),
) -> EnergyErrors:
    """H and its modifications along the orbit of a scheme.

    Args:
        scheme: a one-step scheme, or its name; for orders above 1 a symplectic one.
        hamiltonian: sympy expression T(p) + U(q).
        symbols: (q, p) in it.
        start: (q_0, p_0).
        h: step size.
        steps: number of steps.
        orders: truncation orders of the modified Hamiltonian; 1 is H itself.

    Raises:
        SchemeError: a Hamiltonian that does not separate, a scheme without a modified Hamiltonian.

    Source: Hairer, Lubich & Wanner, Geometric Numerical Integration (2006), IX.3 and IX.8.
    """
    found, steps = as_scheme(scheme), integer(steps, "energy errors: steps")
    points = numerical_orbit(found, hamiltonian_functions(found, hamiltonian, symbols), start, h, steps)
    errors = {}
    for order in (integer(one, "energy errors: order") for one in orders):
        energy = hamiltonian_at(found, hamiltonian, symbols, h, order)(*points.T)
        errors[order] = energy - energy[0]
    return EnergyErrors(found.name, h, h * np.arange(steps + 1, dtype=np.float64), errors)


def hamiltonian_at(scheme: Scheme | str, hamiltonian: sympy.Expr, symbols: Symbols, h: float, order: int) -> Any:
    """(q, p) -> the modified Hamiltonian with the terms h^0 ... h^(order-1), of arrays."""
    expression = hamiltonian
    if order > 1:
        expression = modified_hamiltonian(scheme, order).expression(hamiltonian, *symbols, h)
    function = sympy.lambdify(symbols, expression, "numpy")
    return lambda q, p: np.broadcast_to(function(q, p), np.shape(q))


def hamiltonian_functions(scheme: Scheme, hamiltonian: sympy.Expr, symbols: Symbols) -> Functions:
    """The system q' = T'(p), p' = -U'(q) as torch functions: two for a partitioned scheme, else one of states (..., 2).

    Raises:
        SchemeError: H is not T(p) + U(q).
    """
    q, p = symbols
    velocity, force = sympy.diff(hamiltonian, p), -sympy.diff(hamiltonian, q)
    if velocity.free_symbols - {p} or force.free_symbols - {q}:
        raise SchemeError(f"got the Hamiltonian {hamiltonian}, expected T({p}) + U({q}) without other symbols")
    drift, kick = sympy.lambdify(p, velocity, torch), sympy.lambdify(q, force, torch)
    if scheme.components > 1:
        return (drift, kick)
    return lambda u: torch.stack([drift(u[..., 1]), kick(u[..., 0])], -1)
