"""Starting steps of schemes with a history, and the step of a layer that changes the shape."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import lru_cache

import sympy

from ..fields import Field, FieldError, TimeField
from ..program import Program, compile_scheme
from ..scheme import Scheme, SchemeError
from ..scheme.errors import SchemeWarning
from ..zoo import as_scheme, schemes


def can_start(scheme: Scheme) -> bool:
    """Whether a scheme can do starting steps: one-step, one function, nothing to learn, any f."""
    plain = scheme.carried == 1 and not scheme.symbols and not any(scheme.modules) and not scheme.linear_only
    return plain and scheme.Gamma is None


@lru_cache(maxsize=256)
def starting_scheme(scheme: Scheme, starter: Scheme) -> Scheme:
    """The starting step: the solution by the one-step ``starter``, the history by the scheme itself.

    First row of B and V from the starter, the others as they are, so what the scheme carries is
    filled as in any of its steps. LM's starting step is u+ = u + h f(u), carrying u: the plain
    residual step of the paper. An implicit stage at the end of the step, whose slope Adams-Moulton
    schemes carry, is taken where the starter ends, so that it need not be solved for.
    """
    if not can_start(starter):
        raise SchemeError(
            f"start: got {starter.name!r}, expected a one-step scheme without learnable coefficients, "
            "such as 'euler' or 'rk4'"
        )
    if scheme.several:
        raise SchemeError(
            f"{scheme.name} needs {scheme.starting_values} starting steps of {len(scheme.functions)} functions, which "
            "no starter here does; a scheme of several functions must carry its components alone"
        )
    s, r = starter.stages, scheme.carried
    modules = scheme.modules + starter.modules
    A = sympy.Matrix(sympy.diag(scheme.A, starter.A))
    U = sympy.Matrix(scheme.U.col_join(sympy.Matrix(s, r, lambda i, j: int(j == 0))))
    for stage in range(scheme.stages):
        if scheme.A.row(stage) == scheme.B.row(0) and scheme.U.row(stage) == scheme.V.row(0):
            A[stage, :] = sympy.Matrix([[0] * scheme.stages + list(starter.B)])
            U[stage, :] = sympy.Matrix([[1] + [0] * (r - 1)])
    B = sympy.zeros(r, scheme.stages + s)
    B[1:, : scheme.stages] = scheme.B[1:, :]
    B[0, scheme.stages :] = starter.B
    V = sympy.Matrix(scheme.V)
    V[0, :] = sympy.Matrix(1, r, lambda i, j: int(j == 0))
    names = {str(symbol) for matrix in (A, U, B, V) for symbol in matrix.free_symbols}
    init = tuple(item for item in scheme.init if item[0] in names)
    return Scheme(f"{scheme.name} started by {starter.name}", A, U, B, V, init=init, modules=modules)


def transition(scheme: Scheme, h: float) -> Program:
    """The plain residual step P(u) + h f(u) of a layer that changes the shape.

    It is the first starting step of a scheme that has any; otherwise what the scheme carries is
    seeded after it, and the step carries the solution alone.
    """
    euler = schemes["euler"]
    program = compile_scheme(starting_scheme(scheme, euler) if scheme.starting_values else euler, h)
    if program.evaluations != 1:
        raise FieldError(
            f"shortcut: {scheme.name} needs {program.evaluations} evaluations to fill its history, expected 1; "
            "a layer that changes the shape can be evaluated once only"
        )
    return program


def starting_steps(scheme: Scheme, field: Field, start: Scheme | str | Sequence[Scheme] | None) -> list[Scheme]:
    """The scheme of each starting step.

    Warns:
        SchemeWarning: the starting steps are all that the network has.

    Raises:
        SchemeError: an unknown or unfit starter.
        FieldError: a list that is not one scheme a step, or whose schemes carry something else.
    """
    if scheme.starting_values >= field.steps:
        warnings.warn(
            f"{scheme.name}: got {field.steps} layers, all of them starting steps, and no step of its own, expected "
            f"more than {scheme.starting_values}; take more layers, or a scheme with fewer steps",
            SchemeWarning,
            stacklevel=3,
        )
    if isinstance(start, Sequence) and not isinstance(start, str):
        same = [one.V[1:, :] == scheme.V[1:, :] and one.B[1:, :] == scheme.B[1:, :] for one in start]
        if len(start) != scheme.starting_values or not all(same):
            raise FieldError(
                f"start: got {len(start)} schemes, of which {sum(same)} carry what {scheme.name} does, expected "
                f"{scheme.starting_values}, one for each starting step, with its rows of B and V but for the first"
            )
        return list(start)
    given = None if start is None else as_scheme(start)  # a wrong name is an error though it may not be needed
    if not scheme.starting_values:
        return []
    return [starting_scheme(scheme, given or default_starter(scheme, field))] * scheme.starting_values


def default_starter(scheme: Scheme, field: Field) -> Scheme:
    """Euler for layers; for a function of time the first one-step scheme of at least order p.

    Implicit ones for an implicit scheme, since an explicit one would blow up where it is needed.
    Order p - 1 would do for the order of convergence (Hairer, Norsett & Wanner 1993, III.4), but its
    error is then of the size of the scheme's own, and a weakly stable scheme carries it along.
    """
    order = scheme.order if isinstance(field, TimeField) else 1
    fitting = (s for s in schemes.values() if can_start(s) and s.explicit == scheme.explicit)
    found = next((s for s in fitting if s.order >= order), None)
    if found is None:
        raise FieldError(f"{scheme.name}: no one-step scheme of order {scheme.order} to start with; give start=")
    return found
