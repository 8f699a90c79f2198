"""Backward error analysis: the equation a scheme really solves, and the one that would make it exact."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sympy

from odenets import Scheme, SchemeError
from odenets.scheme.trees import PLAIN, Tree, tall, vertices

from ..linear.resolve import HIGHEST_ORDER, check_order, resolve
from ..linear.stability import to_digits
from .modified_equation import ModifiedEquation, all_trees
from .modified_field import FieldSeries, modified_field, modifying_field
from .modified_hamiltonian import ModifiedHamiltonian, free_trees, is_symplectic_one_step

SEPARABLE = {(1, 0), (0, 1)}  # q' = f(p), p' = g(q)


def modified_equation(scheme: Scheme | str, order: int = 3, **values: Any) -> ModifiedEquation:
    """The equation u' = f - h/2 f'f + ... whose exact solution the numbers u_n of a scheme follow.

    Exact for any scheme that keeps u' = 0. For one that carries several values (linear multistep,
    LM with its k, momentum, ...) it is the equation of the underlying one-step method, the
    principal root; the parasitic roots are on top of it. lm:

        u' = f/(1 + k) - (1 - k) h/(2 (1 + k)^3) f'f + O(h^2)

    Args:
        scheme: a Scheme, or a name of the zoo.
        order: powers h^0 ... h^(order-1) are computed, from trees with up to ``order`` vertices.
        values: exact numbers for its symbols, e.g. ``k=-0.1``; the others stay symbolic.

    Returns:
        A mapping from trees to coefficients, see :class:`ModifiedEquation`. For PolyNet, whose
        stages do not start from u, it holds for linear f only.

    Raises:
        SchemeError: an order below 1 or above 12, a scheme that does not keep u' = 0 (In-ResNet), or one that
            solves a second-order equation (lm at k = -1; :func:`odenets.analysis.derivative_form` has it).

    Source: Hairer, Lubich & Wanner (2006), IX.9 and XV.2; Lu, Zhong, Li & Dong (2018), section 3, for lm.
    """
    found, order = _checked(scheme, order, values, "modified equation")
    trees = [tall(n) for n in range(1, order + 1)] if found.linear_only else list(all_trees(found, order))
    return ModifiedEquation(found, order, _exact(modified_field(found, order), trees, found), linear=found.linear_only)


def modifying_integrator(scheme: Scheme | str, order: int = 3, **values: Any) -> ModifiedEquation:
    """The field f~ = f + h b(t)/sigma(t) f'f + ... that a scheme has to be given to solve u' = f exactly.

    The inverse of :func:`modified_equation`: truncated after h^(order-1), it makes an integrator of
    that order at least out of any consistent scheme, and out of lm: f~ = (1 + k) f + ...

    Arguments, result and errors as for :func:`modified_equation`; besides:

    Raises:
        SchemeError: a scheme of several functions, or with stages that do not start from u.

    Source: Chartier, Hairer & Vilmart, Numerical integrators based on modified differential
    equations (2007).
    """
    found, order = _checked(scheme, order, values, "modifying integrator")
    if found.linear_only:
        raise SchemeError(f"{found.name}: got stages that do not start from u, expected a scheme that has a B-series")
    return ModifiedEquation(found, order, _exact(modifying_field(found), all_trees(found, order), found), left="f~")


def modified_hamiltonian(scheme: Scheme | str, order: int = 3, **values: Any) -> ModifiedHamiltonian:
    """The modified Hamiltonian H~ = H + h H_2 + ..., which a symplectic scheme conserves up to O(h^order).

    Whether the scheme is symplectic is decided for one-step schemes by its weights, and tested tree
    by tree on the modified equation: for schemes that carry several values to two orders beyond the
    first term of the error, which is a test and no proof.

    verlet, on H = T(p) + U(q) with q' = f = T'(p) and p' = g = -U'(q), conserves
    T + U - h^2/24 T''(g,g) + h^2/12 U''(f,f) + O(h^4).

    Args:
        scheme: a Scheme, or a name of the zoo; partitioned ones are for separable H = T(p) + U(q).
        order: powers h^0 ... h^(order-1) are computed.
        values: exact numbers for its symbols.

    Returns:
        A mapping from trees to coefficients with ``text()``, ``latex()`` and ``expression(H, q, p)``.

    Raises:
        SchemeError: a scheme that is not symplectic, with the trees that show it, or one of several
            functions that are not those of q' = f(p), p' = g(q).

    Source: Hairer, Lubich & Wanner (2006), IX.9.2 and IX.10.
    """
    equation = modified_equation(scheme, order, **values)
    separable = len(equation.maps) == len(SEPARABLE) and set(equation.maps) == SEPARABLE
    if not (equation.maps == PLAIN or separable) or equation.linear:
        raise SchemeError(
            f"{equation.scheme.name}: got functions that map components as {equation.maps}, expected one function "
            "of the whole state or the two of q' = f(p), p' = g(q)"
        )
    one_step = equation.scheme.carried == equation.scheme.components
    # Below the first term of its error any scheme looks symplectic: others are tested two orders beyond it.
    tested = order if one_step else max(order, _first_term(equation.scheme) + 2)
    chosen = free_trees(equation if tested == order else modified_equation(equation.scheme, tested))
    if one_step and not is_symplectic_one_step(equation.scheme):
        raise SchemeError(
            f"{equation.scheme.name}: got weights with b_i a_ij + b_j a_ji != b_i b_j, expected equality for all "
            "stages: it is not symplectic, so it has no modified Hamiltonian"
        )
    kept = {tree: value for tree, value in chosen.items() if vertices(tree) <= order}
    return ModifiedHamiltonian(equation.scheme, order, kept)


def _first_term(scheme: Scheme) -> int:
    """Vertices of the smallest trees with an error term: the order of its underlying method, in its own time, and 1."""
    limit = 2 * scheme.stages + scheme.carried + 1  # no scheme has a higher order
    found = (t for n in range(2, limit + 1) for t, b in modified_equation(scheme, n).items() if b != 0)
    return next((vertices(tree) for tree in found if vertices(tree) > 1), limit)


def b_series(scheme: Scheme | str, order: int = 3, **values: Any) -> dict[Tree, sympy.Expr]:
    """The B-series of one step: a(t) with u_{n+1} = u + sum of h^|t| a(t)/sigma(t) F(t)(u).

    The elementary weights of a Runge-Kutta scheme; the underlying one-step method of one that
    carries several values. The exact solution has a(t) = 1/gamma(t): :func:`order_conditions`.

    Arguments and errors as for :func:`modified_equation`.

    Source: Hairer, Lubich & Wanner (2006), III.1 and XV.2.
    """
    found, order = _checked(scheme, order, values, "B-series")
    trees = [tall(n) for n in range(1, order + 1)] if found.linear_only else list(all_trees(found, order))
    series = modified_field(found, order)
    return {tree: _settled(series.exact(series.flow(tree), tree), found) for tree in trees}


def _checked(scheme: Scheme | str, order: int, values: dict[str, Any], what: str) -> tuple[Scheme, int]:
    found = resolve(scheme, values)
    return found, check_order(order, what, None if found.linear_only else HIGHEST_ORDER)


def _exact(series: FieldSeries, trees: Iterable[Tree], scheme: Scheme) -> dict[Tree, sympy.Expr]:
    return {tree: _settled(series.exact(series.field_coefficient(tree), tree), scheme) for tree in trees}


def _settled(value: sympy.Expr, scheme: Scheme) -> sympy.Expr:
    """Rounded where the scheme is known in decimals: what is left of a condition it meets becomes 0."""
    return value if scheme.digits is None else to_digits(value, scheme.digits - 2)
