"""The scheme: a general linear method with exact entries, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import sympy

from . import tableau
from .errors import SchemeError
from .exact import exact_matrix, is_zero, rational
from .graph import stage_order, strongly_connected
from .series import Series, derive_error_constant, derive_order
from .trees import tall

#: Range a learnable coefficient starts from, uniformly: the paper's for k_n (Lu et al. 2018).
PAPER_INIT = (-0.1, 0.0)


@dataclass(frozen=True)
class Scheme:
    """A numerical scheme as a value: the general linear method

        Y  = h A F(Y) + U y        (s stages)
        y+ = h B F(Y) + V y        (r carried values; the first is the solution)

    Args:
        name: lower case; how the zoo, the plots and the results call it.
        A, U, B, V: matrices of sizes s x s, s x r, r x s, r x r with exact entries (int,
            Fraction, strings such as "1/4", sympy expressions). Free symbols in them are the
            learnable coefficients.
        reference: key of :data:`odenets.bibliography.REFERENCES`, or free text.
        init: for each symbol the range its Parameters are drawn from, uniformly; symbols not
            named start in [-0.1, 0], as the paper's k_n does.
        strict: refuse inconsistent coefficients. :meth:`substitute` turns it off, since a learned
            coefficient may have any value: LM at k = 1/2 solves 3/2 u' = f.

    Everything else (nodes, order, error constant, starting values, reversibility) is derived.
    Equal entries make equal, hashable schemes.

    Raises:
        SchemeError: entries that are not exact, matrices that do not fit together, or
            coefficients that are inconsistent whatever the value of the symbols.

    Source: Butcher, Numerical Methods for Ordinary Differential Equations (2008), section 50.
    """

    name: str
    A: sympy.ImmutableDenseMatrix
    U: sympy.ImmutableDenseMatrix
    B: sympy.ImmutableDenseMatrix
    V: sympy.ImmutableDenseMatrix
    reference: str = ""
    init: Any = ()
    strict: bool = field(default=True, compare=False)

    def __post_init__(self) -> None:
        for block in "AUBV":
            object.__setattr__(self, block, exact_matrix(getattr(self, block), f"{self.name}.{block}"))
        self._check_shapes()
        self._set_init()
        if self.strict:
            self._check_consistency()

    # ------------------------------------------------------------------ shape

    @property
    def stages(self) -> int:
        """s, the number of stages (function evaluations a step)."""
        return int(self.A.rows)

    @property
    def carried(self) -> int:
        """r, the number of values a step hands to the next; the first is the solution."""
        return int(self.V.rows)

    @cached_property
    def symbols(self) -> tuple[sympy.Symbol, ...]:
        """The free symbols, sorted by name: the learnable coefficients."""
        free = set().union(*(matrix.free_symbols for matrix in (self.A, self.U, self.B, self.V)))
        return tuple(sorted(free, key=str))

    def substitute(self, values: Mapping[str, Any] | None = None, /, **named: Any) -> Scheme:
        """The scheme with numbers in the place of some of its symbols, e.g. ``lm.substitute(k="1/2")``.

        Numbers are read exactly; a float stands for its shortest decimal.

        Raises:
            SchemeError: an unknown symbol, or a value that is not a finite real number.
        """
        wanted = {**(values or {}), **named}
        known = {str(symbol): symbol for symbol in self.symbols}
        for key in wanted:
            if key not in known:
                raise SchemeError(
                    f"{self.name}: got a value for {key!r}, expected one of its free symbols {sorted(known)}"
                )
        if not wanted:
            return self
        numbers = {known[key]: rational(value, f"{self.name}: {key}") for key, value in wanted.items()}
        label = ", ".join(f"{key}={value}" for key, value in sorted(numbers.items(), key=lambda item: str(item[0])))
        init = tuple(item for item in self.init if item[0] not in wanted)
        A, U, B, V = (matrix.subs(numbers) for matrix in (self.A, self.U, self.B, self.V))
        return Scheme(f"{self.name}({label})", A, U, B, V, self.reference, init, strict=False)

    # --------------------------------------------------------------- derived

    @cached_property
    def evaluation_order(self) -> tuple[int, ...]:
        """Stages in an order in which each needs earlier ones only; SchemeError if there is none."""
        order = stage_order(self.A)
        if order is None:
            raise SchemeError(f"{self.name} is implicit: its stages depend on each other in a cycle")
        return order

    @property
    def explicit(self) -> bool:
        """Whether no stage depends on itself through A: the graph of A has no cycle."""
        return stage_order(self.A) is not None

    @property
    def structure(self) -> str:
        """Derived from the graph of A: explicit, diagonally implicit (one stage at a time) or fully implicit."""
        if self.explicit:
            return "explicit"
        alone = all(len(group) == 1 for group in strongly_connected(self.A))
        return "diagonally implicit" if alone else "fully implicit"

    @cached_property
    def _series(self) -> Series:
        return Series(self)

    @cached_property
    def nodes(self) -> tuple[sympy.Expr, ...]:
        """c: stage i approximates the solution at t_n + c_i h. Derived: A 1 + U s, s from the carried values."""
        return tuple(sympy.sympify(c) for c in self._series.stages(tall(1)))

    @cached_property
    def order(self) -> int:
        """The order p, from all rooted trees; with free symbols, the one that holds for every value.

        0 means inconsistent: LM is, for k != 0, since it solves (1 + k) u' = f.
        """
        return derive_order(self._series)

    @cached_property
    def error_constant(self) -> sympy.Expr:
        """C of the local error C z^(p+1) on u' = lambda u, z = h lambda, carried values exact.

        For a linear multistep scheme that carries past solutions and slopes this is C_{p+1} with
        alpha_k = 1 (Lambert 1973; Adams-Bashforth 2: 5/12); for a Runge-Kutta scheme the first
        term of exp(z) - R(z).
        """
        return derive_error_constant(self._series, self.order)

    @cached_property
    def starting_values(self) -> int:
        """Steps a one-step scheme must do before this one has its history (k - 1 for a k-step scheme).

        The power of the carried values' own matrix V[2:, 2:] that vanishes: after so many steps
        nothing is left of what they were seeded with. 0 where it never vanishes (a velocity):
        there the seed is the starting value.
        """
        block = self.V[1:, 1:]
        power = sympy.eye(self.carried - 1)
        for steps in range(self.carried):
            if power.is_zero_matrix:
                return steps
            power = power * block
        return 0

    @cached_property
    def seeds(self) -> tuple[sympy.Expr, ...]:
        """Multiples of u_0 the carried values start from: 1 for a past solution, 0 for a slope or a velocity."""
        return tuple(sympy.sympify(c) for c in self._series.constant)

    @cached_property
    def _inverse(self) -> tuple[sympy.ImmutableDenseMatrix, ...] | None:
        """(A, U, B, V) of the step undone, or None where V has no inverse or the stages form a cycle."""
        if is_zero(self.V.det()):
            return None
        back = self.V.inv()
        parts = (self.A - self.U * back * self.B, self.U * back, -back * self.B, back)
        matrices = tuple(sympy.ImmutableDenseMatrix(part.applyfunc(sympy.cancel)) for part in parts)
        return matrices if stage_order(matrices[0]) is not None else None

    @property
    def reversible(self) -> bool:
        """Whether a step can be undone explicitly: V invertible and A - U V^-1 B without a cycle."""
        return self._inverse is not None

    @property
    def inverse(self) -> tuple[sympy.ImmutableDenseMatrix, ...]:
        """Matrices (A, U, B, V) that take the carried values after a step to those before it.

        With the same functions and the same h; raises SchemeError where the scheme is not reversible.
        """
        if self._inverse is None:
            raise SchemeError(f"{self.name} is not reversible: its step cannot be undone explicitly")
        return self._inverse

    @cached_property
    def amplification(self) -> sympy.Expr:
        """Factor by which undoing a step multiplies rounding errors: the spectral radius of V^-1.

        Max(1, 1/|k|) for LM; SchemeError where the scheme is not reversible.
        """
        eigenvalues = sympy.Matrix(self.inverse[3]).eigenvals()
        return sympy.Max(*(sympy.Abs(value) for value in eigenvalues))

    # ---------------------------------------------------------------- checks

    def _check_shapes(self) -> None:
        s, r = self.A.rows, self.V.rows
        expected = {"A": (s, s), "U": (s, r), "B": (r, s), "V": (r, r)}
        got = {block: getattr(self, block).shape for block in "AUBV"}
        if got != expected:
            raise SchemeError(
                f"{self.name}: got shapes {got}, expected {expected} for {s} stages (rows of A) "
                f"and {r} carried values (rows of V)"
            )

    def _set_init(self) -> None:
        given = dict(self.init) if isinstance(self.init, Mapping) else {n: (a, b) for n, a, b in self.init}
        names = [str(symbol) for symbol in self.symbols]
        if unknown := sorted(set(given) - set(names)):
            raise SchemeError(f"{self.name}: init got {unknown}, expected free symbols of the scheme: {names}")
        ranges = []
        for name in names:
            low, high = (float(x) for x in given.get(name, PAPER_INIT))
            if not -float("inf") < low <= high < float("inf"):
                raise SchemeError(f"{self.name}: init of {name} got ({low}, {high}), expected finite low <= high")
            ranges.append((name, low, high))
        object.__setattr__(self, "init", tuple(ranges))

    def _check_consistency(self) -> None:
        series = self._series
        residuals = {"the carried values of u' = 0 (rows of V, applied to the solution)": series.preconsistency}
        for i, row in enumerate(self.U.tolist()):
            start = sum(a * sympy.sympify(b) for a, b in zip(row, series.constant, strict=True))
            residuals[f"stage {i + 1} of u' = 0 (row of U)"] = 1 - start
        residuals["the step of u' = 1 (the weights of f)"] = series.residual(tall(1))
        for what, residual in residuals.items():
            value = sympy.cancel(sympy.sympify(residual))
            if value.is_number and not is_zero(value):
                raise SchemeError(
                    f"{self.name} is inconsistent: {what} misses the exact value by {value}, expected 0; "
                    "check the coefficients (Runge-Kutta: weights b sum to 1; multistep: a sums to 1 and "
                    "the sum of b is 1 + sum of j a_j)"
                )

    def __str__(self) -> str:
        return tableau.render(self)
