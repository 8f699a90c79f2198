"""The general linear method: the entries of a scheme, with nothing derived from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import sympy

from .exact import exact_matrix, rounded_digits, tolerance
from .trees import PLAIN, Maps


@dataclass(frozen=True)
class GeneralLinearMethod:
    """What :class:`Scheme` is given, as exact numbers, and the sizes that can be read off it.

    Apart from Scheme, so that what Scheme is made of (its checks, its B-series, its tableau) takes this and need not
    know what is made of it. Use Scheme: entries here are not checked.
    """

    name: str
    A: sympy.ImmutableDenseMatrix
    U: sympy.ImmutableDenseMatrix
    B: sympy.ImmutableDenseMatrix
    V: sympy.ImmutableDenseMatrix
    reference: str = ""
    init: Any = ()
    modules: tuple[int, ...] = ()
    functions: Maps = PLAIN
    embedded: Any = None
    third: Any = None
    at_rest: bool = False
    digits: int | None = None
    Gamma: Any = None
    inside: Any = None
    strict: bool = field(default=True, compare=False)

    def __post_init__(self) -> None:
        given = [*(getattr(self, block) for block in "AUBV"), self.embedded, self.third, self.Gamma, self.inside]
        object.__setattr__(self, "digits", self.digits or rounded_digits(*given))
        for block in "AUBV":
            object.__setattr__(self, block, exact_matrix(getattr(self, block), f"{self.name}.{block}"))
        object.__setattr__(self, "modules", tuple(self.modules) or (0,) * self.stages)
        for row in ("embedded", "third"):
            if (given := getattr(self, row)) is not None:
                object.__setattr__(self, row, exact_matrix([list(given)], f"{self.name}.{row}"))
        for block in ("Gamma", "inside"):
            if getattr(self, block) is not None:
                object.__setattr__(self, block, exact_matrix(getattr(self, block), f"{self.name}.{block}"))

    @property
    def stages(self) -> int:
        """s, the number of stages (function evaluations a step)."""
        return int(self.A.rows)

    @property
    def carried(self) -> int:
        """r, the number of values a step hands to the next; the first is the solution."""
        return int(self.V.rows)

    @property
    def linear_A(self) -> sympy.ImmutableDenseMatrix:
        """A as it is for linear f, for which a Rosenbrock scheme is the Runge-Kutta scheme of A + Gamma."""
        return self.A if self.Gamma is None else self.A + self.Gamma

    @cached_property
    def components(self) -> int:
        """Components of the state: 1, or 2 for a scheme that treats positions and velocities apart."""
        return 1 + max(component for pair in self.functions for component in pair)

    @property
    def several(self) -> bool:
        """Whether u' is the sum, or the components, of several functions: partitioned and additive (IMEX) schemes."""
        return len(self.functions) > 1

    @property
    def colours(self) -> tuple[int, ...]:
        """For each stage the function it evaluates, as order conditions count them."""
        return self.modules if self.several else (0,) * self.stages

    @cached_property
    def symbols(self) -> tuple[sympy.Symbol, ...]:
        """The free symbols, sorted by name: the learnable coefficients."""
        others = [matrix for matrix in (self.embedded, self.third, self.Gamma) if matrix is not None]
        free = set().union(*(matrix.free_symbols for matrix in (self.A, self.U, self.B, self.V, *others)))
        return tuple(sorted(free, key=str))

    @property
    def tolerance(self) -> sympy.Expr:
        """What a condition may miss: 0 for exact entries, 100 units of the last digit for decimals."""
        return sympy.Integer(0) if self.digits is None else tolerance(self.digits)
