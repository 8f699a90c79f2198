"""Schemes built from others: splittings of partitioned systems, and the reversible coupling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import sympy

from .checks import FEWEST_DIGITS
from .errors import SchemeError
from .exact import exact
from .scheme import Scheme
from .trees import Maps

#: x' = f_0(y), y' = f_1(x): the first module takes the second half of the state, the second the first
CROSSED: Maps = ((1, 0), (0, 1))


def splitting(name: str, parts: Sequence[tuple[int, Any]], *, reference: str = "") -> Scheme:
    """Flows of x' = f_0(y) and y' = f_1(x) in turn, each an addition: exact, volume-preserving, reversible.

    Args:
        name: name of the scheme.
        parts: (module, fraction c of the step) in order: 0 adds c h f_0(y) to x, 1 adds
            c h f_1(x) to y.
        reference: key of the bibliography, or free text.

    RevNet's X+ = X + f(Y), Y+ = Y + g(X+) is [(0, 1), (1, 1)], symplectic Euler; Verlet
    [(1, 1/2), (0, 1), (1, 1/2)].
    Source: Hairer, Lubich & Wanner (2006), II.5.
    """
    modules = [module for module, _ in parts]
    c = [exact(fraction, f"{name}: fraction {i + 1}") for i, (_, fraction) in enumerate(parts)]
    s = len(parts)

    def adds(j: int, component: int) -> Any:
        return c[j] if CROSSED[modules[j]][1] == component else 0

    takes = [CROSSED[module][0] for module in modules]
    A = [[adds(j, takes[i]) if j < i else 0 for j in range(s)] for i in range(s)]
    U = [[int(component == takes[i]) for component in (0, 1)] for i in range(s)]
    B = [[adds(j, component) for j in range(s)] for component in (0, 1)]
    return Scheme(name, A, U, B, sympy.eye(2), reference=reference, modules=tuple(modules), functions=CROSSED)


def symmetric_composition(parts: Sequence[tuple[int, Any]], factors: Sequence[Any]) -> list[tuple[int, Any]]:
    """A splitting scaled by each factor in turn; where one ends with what the next begins with, they merge.

    Source: Yoshida (1990).
    """
    found: list[tuple[int, Any]] = []
    for factor in factors:
        for module, fraction in parts:
            if found and found[-1][0] == module:
                found[-1] = (module, found[-1][1] + factor * fraction)
            else:
                found.append((module, factor * fraction))
    return [(module, sympy.expand(fraction)) for module, fraction in found]


def mccallum_foster(scheme: Scheme, coupling: Any = "999/1000") -> Scheme:
    """A one-step scheme u+ = u + Psi_h(u) made reversible, at twice its evaluations:

        y+ = lambda y + (1 - lambda) z + Psi_h(z),   z+ = z - Psi_{-h}(y+),   z_0 = y_0,

    Psi_h the increment of the scheme. Undoing a step multiplies rounding errors by 1/lambda.

    Args:
        scheme: carries the solution alone (Runge-Kutta).
        coupling: lambda, exact, in (0, 1); at 1 nothing would tie z to y.

    Raises:
        SchemeError: a scheme that carries more, a coupling outside (0, 1), or decimals known to too
            few digits for it.

    Source: McCallum & Foster (2024), Efficient, Accurate and Stable Gradients for Neural ODEs.
    """
    lam = exact(coupling, "coupling")
    if scheme.carried != 1 or scheme.V[0, 0] != 1:
        raise SchemeError(
            f"{scheme.name}: got {scheme.carried} carried values, the first kept {scheme.V[0, 0]} times, expected a "
            "scheme u+ = u + increment that carries the solution alone, such as 'rk4'"
        )
    if not 0 < lam < 1:
        raise SchemeError(f"coupling: got {lam}, expected a number in (0, 1)")
    s = scheme.stages
    A = sympy.BlockMatrix([[scheme.A, sympy.zeros(s, s)], [scheme.U * scheme.B, -scheme.A]]).as_explicit()
    U = (scheme.U * sympy.Matrix([[0, 1]])).col_join(scheme.U * sympy.Matrix([[lam, 1 - lam]]))
    B = sympy.diag(scheme.B, scheme.B)
    V = sympy.Matrix([[lam, 1 - lam], [0, 1]])
    digits = None if scheme.digits is None else _digits_left(scheme, lam)
    options: dict[str, Any] = {"functions": scheme.functions, "digits": digits, "init": scheme.init}
    name = f"reversible_{scheme.name}"
    return Scheme(name, A, U, B, V, reference="mccallum2024", modules=scheme.modules * 2, **options)


def _digits_left(scheme: Scheme, lam: Any) -> int:
    """Digits to which conditions on the coupled scheme can be judged.

    z is known to the rounding of the coefficients over 1 - lambda, and each order divides again.
    """
    lost = (scheme.order + 1) * math.ceil(-math.log10(1 - lam))
    assert scheme.digits is not None
    if scheme.digits - lost < FEWEST_DIGITS:
        raise SchemeError(
            f"{scheme.name}: got coefficients right to {scheme.digits} digits, expected {lost + FEWEST_DIGITS} for the "
            f"coupling {lam}, which divides their rounding by {1 - lam} at each order; use an exact scheme"
        )
    return scheme.digits - lost
