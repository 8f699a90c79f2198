"""The scheme: a general linear method with exact entries, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil, log10
from typing import Any

import sympy

from . import checks, tableau
from .b_series import BSeries
from .errors import SchemeError
from .exact import is_zero, rational, spectral_radius
from .extension import HERMITE, Extension, extension, straight_extension
from .general_linear_method import GeneralLinearMethod
from .multistep_form import generating_polynomials, multistep_error_constant
from .order import derive_order, order_of_difference
from .shown import Shown
from .stage_graph import stage_order, strongly_connected
from .trees import tall

Matrices = tuple[sympy.ImmutableDenseMatrix, ...]


@dataclass(frozen=True, repr=False)
class Scheme(Shown, GeneralLinearMethod):
    """A numerical scheme as a value: the general linear method

        Y  = h A F(Y) + U y        (s stages)
        y+ = h B F(Y) + V y        (r carried values; the first is the solution)

    Args:
        name: lower case; how the zoo, the plots and the results call it.
        A, U, B, V: matrices of sizes s x s, s x r, r x s, r x r with exact entries (int,
            Fraction, strings such as "1/4", sympy expressions; a float stands for the short number
            that it is but for rounding, 0.1 for 1/10). Free symbols in them are the
            learnable coefficients.
        reference: key of :data:`odenets.scheme.bibliography.REFERENCES`, or free text.
        init: for each symbol the range its Parameters are drawn from, uniformly; symbols not
            named start in [-0.1, 0], as the paper's k_n does.
        modules: for each stage, which of a layer's modules it evaluates; all the first by default.
        functions: of a partitioned or split system u_c' = sum of f_g, for each module g the
            component of the state it takes and the one it yields; the first carried values are
            then the components. By default all modules stand for one f of the whole state.
        embedded: weights of a second solution from the same stages and the same row of V, for an error estimate.
        third: of an explicit scheme, weights of a third solution, of lower order than the embedded one. With E and E_3
            what these two are off by, the estimate is E^2 / sqrt(E^2 + E_3^2 / 100), which is of higher order than E
            (Hairer, Norsett & Wanner 1993, II.10).
        at_rest: velocities start at 0 instead of at h f(u_0).
        digits: the entries are decimals, right to so many digits; conditions are judged to that. 15 where a
            float among the entries stands for no short number.
        Gamma: of a Rosenbrock scheme, whose slopes are K = F(Y) + h f'(u) Gamma K in the place of F(Y); see
            :func:`odenets.rosenbrock`.
        inside: of a Rosenbrock scheme, d_ki of the solution inside a step (:mod:`odenets.scheme.extension`), which are
            derived where it is None.
        strict: refuse inconsistent coefficients. :meth:`substitute` turns it off, since a learned
            coefficient may have any value: LM at k = 1/2 solves 3/2 u' = f.

    Everything else (nodes, order, error constant, starting values, reversibility) is derived.
    Equal entries make equal, hashable schemes.

    Raises:
        SchemeError: entries that are not exact, matrices that do not fit together, or
            coefficients that are inconsistent whatever the value of the symbols.

    Source: Butcher, Numerical Methods for Ordinary Differential Equations (2008), section 50.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.shapes(self)
        object.__setattr__(self, "init", checks.ranges(self))
        if self.strict:
            checks.consistency(self, self.series)
            if self.embedded is not None and self.carried > 1 and not self.one_step:
                raise SchemeError(
                    f"{self.name}: got embedded weights and {self.carried} carried values that are not all the "
                    "solution at the start of a step, expected a one-step scheme"
                )

    def substitute(self, values: Mapping[Any, Any] | None = None, /, **named: Any) -> Scheme:
        """The scheme with numbers in the place of some of its symbols, e.g. ``lm.substitute(k="1/2")``.

        Symbols are given by name, or by themselves in a mapping. Numbers are read exactly; a float
        stands for the short number that it is but for rounding, 0.1 for 1/10.

        Raises:
            SchemeError: an unknown symbol, or a value that is not a finite real number.
        """
        wanted = {str(key): value for key, value in {**(values or {}), **named}.items()}
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
        blocks: dict[str, Any] = {block: getattr(self, block).subs(numbers) for block in "AUBV"}
        for row in ("embedded", "third"):
            if (known := getattr(self, row)) is not None:
                blocks[row] = list(known.subs(numbers))
        if self.Gamma is not None:
            blocks["Gamma"] = self.Gamma.subs(numbers)
        init = tuple(item for item in self.init if item[0] not in wanted)
        return replace(self, name=f"{self.name}({label})", **blocks, init=init, strict=False)

    # --------------------------------------------------------------- derived

    @cached_property
    def evaluation_order(self) -> tuple[int, ...]:
        """Stages in an order in which each needs earlier ones only; SchemeError if there is none."""
        order = stage_order(self.linear_A)
        if order is None:
            raise SchemeError(f"{self.name} is implicit: its stages depend on each other in a cycle")
        return order

    @cached_property
    def explicit(self) -> bool:
        """Whether no stage depends on itself: the graph of A (of a Rosenbrock scheme A + Gamma) has no cycle."""
        return stage_order(self.linear_A) is not None

    @property
    def structure(self) -> str:
        """Derived from the graph of A: explicit, diagonally implicit (one stage at a time) or fully implicit.

        Linearly implicit where the stages are to be solved for in linear equations alone: by Gamma.
        """
        if self.explicit:
            return "explicit"
        if self.Gamma is not None:
            return "linearly implicit"
        alone = all(len(group) == 1 for group in strongly_connected(self.A))
        return "diagonally implicit" if alone else "fully implicit"

    @cached_property
    def series(self) -> BSeries:
        """The B-series of its stages and carried values."""
        return BSeries(self)

    @cached_property
    def linear_only(self) -> bool:
        """Whether order and stability hold for linear f only: some stage does not start from u (PolyNet)."""
        return any(c != self.series.field.one for c in self.series.stage_constants)

    @cached_property
    def nodes(self) -> tuple[sympy.Expr, ...]:
        """c: stage i approximates the solution at t_n + c_i h. Derived: A 1 + U s, s from the carried values."""
        series = self.series
        takes = [self.functions[colour][0] for colour in self.colours]
        yields = [next(g for g, pair in enumerate(self.functions) if pair[1] == component) for component in takes]
        return tuple(series.to_sympy(series.stages((g, ()))[i]) for i, g in enumerate(yields))

    @cached_property
    def order(self) -> int:
        """The order p, from all rooted trees; with free symbols, the one that holds for every value.

        0 means inconsistent: LM is, for k != 0, since it solves (1 + k) u' = f.

        Raises:
            SchemeError: an order above 11 that only trees could tell, or above the digits of decimals.
        """
        found = derive_order(self.series, self.linear_only, self.tolerance)
        if self.digits is not None and found > self.digits:
            raise SchemeError(
                f"{self.name}: got entries right to {self.digits} digits, which cannot tell orders above that: "
                "their conditions are missed by less than the rounding; expected exact entries, or more digits"
            )
        return found

    @cached_property
    def linear_order(self) -> int:
        """The order on u' = lambda u of a scheme that carries the solution alone: at least :attr:`order`."""
        return derive_order(self.series, True, self.tolerance)

    @cached_property
    def embedded_order(self) -> int | None:
        """Order of the embedded weights, or None without any."""
        return self._order_of(self.embedded)

    @cached_property
    def estimate_order(self) -> int | None:
        """Q of the error estimate, which goes like h^(q + 1): :attr:`embedded_order`, or more with a third solution."""
        second, third = self.embedded_order, self._order_of(self.third)
        if second is None:
            return None
        return min(self.order, second if third is None else 2 * second - third)

    def _order_of(self, weights: Any) -> int | None:
        if weights is None:
            return None
        if self.carried == 1:
            return replace(self, B=weights, embedded=None, third=None).order
        # Of one step from exact carried values: what is carried besides damps in later steps what the second solution
        # is off by, so that repeated it may be of a higher order.
        return min(self.order, order_of_difference(self.series, weights - self.B.row(0), self.tolerance))

    @cached_property
    def extension(self) -> Extension:
        """The solution inside a step, of the highest order that the step's evaluations allow for.

        Derived from the trees where the scheme is a Rosenbrock scheme, or an explicit Runge-Kutta scheme of one
        function without learnable coefficients (:mod:`odenets.scheme.extension`); else cubic Hermite interpolation of
        solution and slope.
        """
        if self.Gamma is not None:
            return straight_extension(self, self.order)
        one_step = self.carried == 1 and self.explicit and not self.symbols and not any(self.modules)
        if one_step and not self.linear_only:
            return extension(self, self.order)
        return Extension(min(HERMITE, self.order), (), True)

    @property
    def dense_order(self) -> int:
        """The order of the solution between the steps: the error inside a step is O(h^(dense_order + 1)) locally."""
        return self.extension.order

    @cached_property
    def error_constant(self) -> sympy.Expr | None:
        """C of the local error C z^(p+1) on u' = lambda u, z = h lambda, in the normalisation alpha_k = 1.

        For a linear multistep scheme, whatever it carries, this is C_{p+1} of Lambert (1973), 2.6, its
        coefficients scaled so that u_{n+k} has the factor 1: 5/12 for Adams-Bashforth 2, 1/3 for the midpoint
        rule, 19/20 for momentum with gamma = 9/10. Hairer, Norsett & Wanner (1993), III.2, divide by sigma(1),
        which is another number where sigma(1) is not 1: for Nystrom, Milne-Simpson, BDF, ZeroSNet and
        momentum. That one is the error of the principal root, e^z - zeta(z), of
        :func:`odenets.analysis.order_star`. For a Runge-Kutta scheme C is the first term of exp(z) - R(z),
        for others what one step with exact carried values leaves in the solution. None where the step
        evaluates several functions (no single number) or does not even keep u' = 0 (In-ResNet).
        """
        if self.several or not self.series.preconsistent:
            return None
        if (polynomials := generating_polynomials(self)) is not None:
            return multistep_error_constant(*polynomials, self.order)
        scale = self.series.error_scale
        if scale == self.series.field.zero:
            return None
        constant = self.series.to_sympy(self.series.residuals(tall(self.order + 1))[0] / scale)
        if self.digits is None:
            return constant
        if abs(constant) < self.tolerance:  # of a higher order on u' = lambda u
            return sympy.Integer(0)
        # So many decimals are right; of a small number that is fewer digits.
        return constant.n(max(1, self.digits + min(0, ceil(log10(abs(constant))))))

    @cached_property
    def starting_values(self) -> int:
        """Steps a one-step scheme must do before this one has its history (k - 1 for an explicit k-step scheme).

        The power of the carried values' own block of V that vanishes: after so many steps nothing
        is left of what they were seeded with, provided that the stages that fill the history do
        not read it themselves, as in linear multistep schemes. 0 where it never vanishes (a
        velocity): there the seed, right to first order in h, is the starting value.
        """
        block = self.V[self.components :, self.components :]
        power = sympy.eye(block.rows)
        for steps in range(self.carried):
            if power.is_zero_matrix:
                return steps
            power = power * block
        return 0

    @cached_property
    def seeds(self) -> tuple[tuple[sympy.Expr, ...], ...]:
        """For each carried value the multiples of u_0's components, and last that of h f(u_0), it starts from.

        1 for a past solution; 0 for a slope, to be filled by a starting step. The slope is given
        where no starting step does (a velocity, unless it is to start at rest).
        """
        series = self.series
        slope_wanted = not (self.starting_values or self.at_rest) and not self.several
        slopes = series.carried(tall(1)) if slope_wanted else [series.field.zero] * self.carried
        columns = [*series.constants, slopes]
        return tuple(tuple(series.to_sympy(column[i]) for column in columns) for i in range(self.carried))

    @cached_property
    def needs_slope(self) -> bool:
        """Whether the carried values start from h f(u_0), one evaluation more."""
        return any(multiples[-1] != 0 for multiples in self.seeds)

    @cached_property
    def one_step(self) -> bool:
        """Whether a step needs the solution at its start alone: every carried value approximates that."""
        gaps = [x - y for seeds in self.seeds for x, y in zip(seeds, (1, *[0] * (len(seeds) - 1)), strict=True)]
        return self.starting_values == 0 and all(is_zero(x) or bool(abs(x) < self.tolerance) for x in gaps)

    @cached_property
    def _inverse(self) -> Matrices | None:
        """(A, U, B, V) of the step undone, or None where V has no inverse or the stages form a cycle."""
        if self.Gamma is not None or is_zero(self.V.det()):
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
    def inverse(self) -> Matrices:
        """Matrices (A, U, B, V) that take the carried values after a step to those before it.

        With the same functions and the same h; raises SchemeError where the scheme is not reversible.
        """
        if self._inverse is None:
            raise SchemeError(f"{self.name} is not reversible: its step cannot be undone explicitly")
        return self._inverse

    @cached_property
    def amplification(self) -> sympy.Expr:
        """Factor by which undoing a step multiplies rounding errors: the spectral radius of V^-1.

        Asymptotically, over many steps; where an eigenvalue of that size is defective (LM at
        k = -1) the errors grow by a power of the number of steps besides. Max(1, 1/|k|) for LM.
        SchemeError where the scheme is not reversible, or the eigenvalues have no formula in the
        free symbols.
        """
        return spectral_radius(self.inverse[3])

    def __getstate__(self) -> dict[str, Any]:
        """The fields alone: what is derived from them is derived again (sympy's fields do not pickle)."""
        return {name: self.__dict__[name] for name in self.__dataclass_fields__}

    def __deepcopy__(self, memo: Any) -> Scheme:
        return self  # immutable

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {tableau.latex(self, self.nodes)}$"

    def __str__(self) -> str:
        try:
            order = str(self.order)
        except SchemeError:  # one that cannot be told
            order = "unknown"
        head = f"{self.name}: order {order}, {self.structure}, stages {self.stages}"
        if self.symbols:
            head += ", learnable " + ", ".join(map(str, self.symbols))
        return f"{head}\n{tableau.render(self, self.nodes)}"
