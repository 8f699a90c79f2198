"""A Runge-Kutta scheme made ready for steps of any size: its program, error estimate and extension."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import sympy

from ..program import Combine, OpenProgram
from ..program.compiler import instructions
from ..program.evaluations import Evaluations, Grading, evaluations_of
from ..program.rows import Coefficient, Op, operations, small_first
from ..scheme import Scheme, SchemeError


@dataclass(frozen=True)
class Method:
    """What a step of a scheme does besides the solution.

    The program's step takes what the scheme carries, u_n first, and returns that after the step and the values F_i of
    its evaluations. In the slots of the rows ``error`` and ``extension`` 0 is u_{n+1}, i + 1 is F_i, and the last
    f(u_{n+1}).

    Args:
        scheme: the scheme.
        program: its step, the step size left open.
        first: the evaluation f(t_n, u_n), which is known before the step; None of several functions, or without one.
        last: the evaluation f(t_{n+1}, u_{n+1}), as of a first-same-as-last scheme, else None.
        error: sum (b_i - bhat_i) F_i, which times h is the estimate of the error; () without embedded weights.
        third: sum (b_i - b_i of the third solution) F_i, with which :func:`.step.error_norm` is of higher
            order; () without one.
        order: of the estimate: the error norm goes like h^(order + 1).
        evaluations: those of every stage, where the extension may be asked for.
    """

    scheme: Scheme
    program: OpenProgram
    first: int | None
    last: int | None
    error: tuple[Op, ...]
    third: tuple[Op, ...]
    order: int
    evaluations: Evaluations

    @property
    def carried(self) -> int:
        """How many values the scheme carries."""
        return self.scheme.carried

    @cached_property
    def extension(self) -> tuple[tuple[Op, ...], ...]:
        """Sum d_ki F_i for each k, of :class:`odenets.scheme.extension.Extension`."""
        return tuple(_row(self.evaluations, list(d)) for d in self.scheme.extension.terms)


@lru_cache(maxsize=256)
def runs_as_method(scheme: Scheme) -> bool:
    """Whether a scheme is an explicit one-step scheme of one function, without learnable coefficients.

    A Runge-Kutta scheme, or one that carries several approximations of the solution, as reversible ones do.
    """
    plain = scheme.explicit and not any(scheme.modules) and not scheme.symbols and not scheme.linear_only
    return plain and scheme.one_step


@lru_cache(maxsize=64)
def method_of(scheme: Scheme, every: bool) -> Method:
    """The method of a one-step scheme; with ``every`` stage, as an error estimate and an extension need.

    Raises:
        SchemeError: a scheme of order 0, which solves another equation.
    """
    if scheme.order < 1:
        raise SchemeError(
            f"{scheme.name}: got a scheme of order 0, which converges to another equation's solution, expected one of "
            "order 1 at least"
        )
    of = evaluations_of(scheme, every)
    A, U, B, V = of.fold((scheme.A, scheme.U, scheme.B, scheme.V))
    count, carried = B.cols, scheme.carried
    blocks = A, U, B.col_join(sympy.eye(count)), V.col_join(sympy.zeros(count, carried))
    items, outputs = instructions(of, blocks, of.groups, Grading(1, 0, (*[0] * carried, *[1] * count)))
    items = tuple(
        Combine(item.slot, small_first(item.ops)) if isinstance(item, Combine) and item.slot == outputs[0] else item
        for item in items
    )
    one = not scheme.several
    last = next((i for i in range(count) if (A.row(i), U.row(i)) == (B.row(0), V.row(0))), None) if one else None
    embedded = scheme.embedded if every else None
    return Method(
        scheme,
        OpenProgram(scheme, items, outputs, (*[False] * carried, *[True] * count)),
        of.groups[0][0] if one and carried == 1 else None,
        last,
        () if embedded is None else _row(of, list(scheme.B.row(0) - embedded)),
        () if embedded is None or scheme.third is None else _row(of, list(scheme.B.row(0) - scheme.third)),
        scheme.estimate_order or scheme.order,
        of,
    )


def row(weights: dict[int, sympy.Expr]) -> tuple[Op, ...]:
    """The operations for the sum of weights times what is in the slots."""
    return operations({slot: Coefficient(weight) for slot, weight in weights.items() if weight != 0})


def _row(of: Evaluations, weights: list[sympy.Expr]) -> tuple[Op, ...]:
    """The operations for sum w_i F_i; one weight more than stages is that of f(u_{n+1})."""
    places = {stage: i + 1 for i, own in enumerate(of.stages) for stage in own} | {of.scheme.stages: len(of.stages) + 1}
    sums: dict[int, sympy.Expr] = {}
    for stage, weight in enumerate(weights):
        sums[places[stage]] = sums.get(places[stage], sympy.Integer(0)) + weight
    return row(sums)
