"""Schemes built from others: splittings of partitioned and of added systems, and the reversible coupling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import sympy

from .checks import FEWEST_DIGITS
from .errors import SchemeError
from .exact import exact, is_zero
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


def additive(name: str, *parts: Scheme, reference: str = "") -> Scheme:
    """A Runge-Kutta scheme for each term of u' = f_0(t, u) + f_1(t, u) + ..., on stages that they share:

        Y_i = u_n + h sum_g sum_j A^g_ij f_g(Y_j),   u_{n+1} = u_n + h sum_g sum_i b^g_i f_g(Y_i).

    With f_0 by an explicit and f_1 by a diagonally implicit scheme it is an IMEX scheme: a step solves equations in
    f_1 alone. Evaluations that nothing depends on are left out.

    Args:
        name: name of the scheme.
        parts: for each function a Runge-Kutta scheme, of equal nodes, one of them implicit at most. Where all have
            embedded weights, so has this; learnable coefficients are drawn as the parts say.
        reference: key of the bibliography, or free text.

    Raises:
        SchemeError: fewer than two parts, parts that are no Runge-Kutta schemes of one function, several implicit
            ones, other nodes.

    Source: Ascher, Ruuth & Spiteri (1997); Kennedy & Carpenter (2003).
    """
    _check_parts(name, parts)
    weights = [[part.B, *([] if part.embedded is None else [part.embedded])] for part in parts]
    places = [
        (i, g)
        for i in range(parts[0].stages)
        for g, part in enumerate(parts)
        if any(part.A[:, i]) or any(row[i] for row in weights[g])
    ]
    A = [[parts[g].A[i, j] for j, g in places] for i, _ in places]

    def shared(rows: Sequence[Any]) -> list[sympy.Expr] | None:
        """The weights of all parts, where each has some."""
        return None if any(row is None for row in rows) else [rows[g][0, j] for j, g in places]

    return Scheme(
        name,
        A,
        [[1]] * len(places),
        [[parts[g].B[0, j] for j, g in places]],
        [[1]],
        reference=reference,
        modules=tuple(g for _, g in places),
        functions=((0, 0),) * len(parts),
        embedded=shared([part.embedded for part in parts]),
        third=shared([part.third for part in parts]),
        init=tuple(dict.fromkeys(item for part in parts for item in part.init)),
        digits=min((part.digits for part in parts if part.digits is not None), default=None),
    )


def _check_parts(name: str, parts: Sequence[Scheme]) -> None:
    if len(parts) < 2:
        raise SchemeError(f"{name}: got {len(parts)} schemes, expected one for each of two functions or more")
    if strange := [part for part in parts if not isinstance(part, Scheme)]:
        raise SchemeError(
            f"{name}: got {strange[0]!r} for one function, expected a Scheme: odenets.schemes[...] has some"
        )
    if len(implicit := [part.name for part in parts if not part.explicit]) > 1:
        raise SchemeError(
            f"{name}: got implicit schemes for several functions, {', '.join(implicit)}, expected one at most: their "
            "shared stages would be the solutions of one equation in all of these; add the functions up instead"
        )
    for part in parts:
        plain = part.carried == 1 and part.V[0, 0] == 1 and not any(part.modules) and part.Gamma is None
        if not plain or part.linear_only:
            raise SchemeError(f"{name}: got {part.name} for one function, expected a Runge-Kutta scheme, such as 'rk4'")
        gaps = [x - y for x, y in zip(part.nodes, parts[0].nodes, strict=False)]
        allowed = max(part.tolerance, parts[0].tolerance)
        if part.stages != parts[0].stages or not all(is_zero(x) or abs(x) < allowed for x in gaps):
            raise SchemeError(
                f"{name}: got nodes {[str(x) for x in part.nodes]} for one function and "
                f"{[str(x) for x in parts[0].nodes]} for another, expected the same: their stages are shared"
            )


def mccallum_foster(scheme: Scheme, coupling: Any = "999/1000") -> Scheme:
    """A one-step scheme u+ = u + Psi_h(u) made reversible, at twice its evaluations:

        y+ = lambda y + (1 - lambda) z + Psi_h(z),   z+ = z - Psi_{-h}(y+),   z_0 = y_0,

    Psi_h the increment of the scheme. Undoing a step multiplies rounding errors by 1/lambda. Embedded weights are those
    of the scheme, in Psi_h(z).

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
    if scheme.embedded is not None:
        options["embedded"] = [*scheme.embedded, *[0] * s]
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
