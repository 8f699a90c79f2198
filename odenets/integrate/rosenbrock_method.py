"""A Rosenbrock scheme made ready for steps: its coefficients in variables without a product with the Jacobian."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import sympy

from ..scheme import Scheme


@dataclass(frozen=True)
class Rosenbrock:
    """A Rosenbrock scheme in the variables W = h Gamma K, in which no product with J is left:

        (I - h gamma_i J) W_i = gamma_i (h F(u_n + sum a_ij W_j) + h^2 sigma_i f_t + sum C_ij W_j),
        u_{n+1} = u_n + sum m_i W_i.

    Args:
        gamma: the diagonal of Gamma.
        sums: sigma_i, the sums of its rows.
        nodes: c_i.
        a, C, m: the weights.
        error: of the estimate sum error_i W_i; () where there is none.
        order: of the estimate.
        inside: rows, the weights of the solution inside a step.
    """

    gamma: tuple[float, ...]
    sums: tuple[float, ...]
    nodes: tuple[float, ...]
    a: tuple[tuple[float, ...], ...]
    C: tuple[tuple[float, ...], ...]
    m: tuple[float, ...]
    error: tuple[float, ...]
    order: int
    inside: tuple[tuple[float, ...], ...]
    carried: ClassVar[int] = 1

    def same(self, i: int) -> int | None:
        """The earlier stage at the same place as stage i, if there is one."""
        return next((j for j in range(i) if (self.a[j], self.nodes[j]) == (self.a[i], self.nodes[i])), None)


@lru_cache(maxsize=64)
def rosenbrock_of(scheme: Scheme) -> Rosenbrock:
    """The scheme made ready; Source: Hairer & Wanner (1996), IV.7, (7.25)."""
    inverse, embedded = scheme.Gamma.inv(), scheme.embedded
    diagonal = sympy.diag(*(1 / scheme.Gamma[i, i] for i in range(scheme.stages)))

    def floats(row: Sequence[sympy.Expr]) -> tuple[float, ...]:
        return tuple(map(float, row))

    def table(matrix: sympy.MatrixBase) -> tuple[tuple[float, ...], ...]:
        return tuple(floats(matrix.row(i)[:i]) + (0.0,) * (scheme.stages - i) for i in range(scheme.stages))

    return Rosenbrock(
        floats(scheme.Gamma.diagonal()),
        floats([sum(scheme.Gamma.row(i)) for i in range(scheme.stages)]),
        # Decimals: the node of the end is 1, so that f is not asked beyond it.
        tuple(round(float(c), scheme.digits - 2) if scheme.digits else float(c) for c in scheme.nodes),
        table(scheme.A * inverse),
        table(diagonal - inverse),
        floats(scheme.B * inverse),
        () if embedded is None else floats((scheme.B - embedded) * inverse),
        scheme.estimate_order or scheme.order,
        tuple(floats(sympy.Matrix([d]) * inverse) for d in scheme.extension.terms),
    )
