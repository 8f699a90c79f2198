"""The B-series of a scheme's stages and carried values, and the order that follows from them.

Every carried value of a scheme of order p stands for something: a past solution value, h f at a
past step, a velocity. Its B-series s_i in terms of the solution is not declared, but solved for,
tree by tree, from the demand that a step maps the carried values at t to those at t + h:

    eta(t)   = A eta'(t) + U s(t),                 eta'([t1 ... tm]) = eta(t1) ... eta(tm)
    (E s)(t) = B eta'(t) + V s(t)                  E: the exact flow over one step

with the first carried values the components of the solution itself (one, unless the scheme is
partitioned). There are more equations than unknowns, one for each component; what is left over is
the local error of the scheme on that tree (Butcher 2008, section 53; Hairer, Norsett & Wanner 1993,
III.8; for several functions, P-series: Hairer, Lubich & Wanner 2006, III.2).

The slopes of a Rosenbrock scheme, K = F(Y) + h f'(u) Gamma K, differ from F(Y) on trees whose root has one child:
h f'(u) grafts a root to the trees of K (Hairer & Wanner 1996, IV.7).

All arithmetic is exact, in the smallest field that holds the entries: the rationals, an algebraic
number field, or rational functions of the learnable coefficients. sympy expressions instead were
ten to a hundred times slower, and their zero test is a heuristic.
"""

from __future__ import annotations

from functools import reduce
from operator import mul
from typing import Any

import sympy

from .errors import SchemeError
from .exact import common_field, independent_rows
from .general_linear_method import GeneralLinearMethod
from .trees import Tree, exact_weight, rooted_cuts

Sparse = list[tuple[int, Any]]  # the nonzero entries of a row


class BSeries:
    """B-series of the stages and carried values of one scheme, computed tree by tree on demand.

    ``carried(t)`` and ``stages(t)`` are the coefficients s(t) and eta(t); ``residuals(t)`` is what
    the equations left over say, exact minus numerical, one for each component of the solution.
    """

    def __init__(self, scheme: GeneralLinearMethod) -> None:
        self.maps, self._colours = scheme.functions, scheme.colours
        self.components, r = scheme.components, scheme.carried
        shifted = (scheme.V - sympy.eye(r))[:, self.components :]
        self._rows, self._left = _split_rows(scheme, shifted)
        inverse = shifted.extract(self._rows, list(range(shifted.cols))).inv() if self._rows else shifted[:0, :]
        self.linearly_implicit = scheme.Gamma is not None
        Gamma = scheme.Gamma if self.linearly_implicit else scheme.A[:0, :]
        blocks = [scheme.A, scheme.U, scheme.B, scheme.V, inverse, shifted, Gamma]
        self.field, rows = self._in_one_field(blocks)
        self._A, self._U, self._B, self._V, self._solve, self._shifted, self._Gamma = rows
        self.size = scheme.stages, r
        self._stages: dict[Tree, list[Any]] = {}
        self._carried: dict[Tree, list[Any]] = {}
        self._residuals: dict[Tree, list[Any]] = {}
        self.constants, self.preconsistency = zip(*map(self._constant, range(self.components)), strict=True)
        #: eta_i(empty): 1 where a stage value is the solution plus slopes, as in every scheme but PolyNet's
        self.stage_constants = [sum((self._dot(u, c) for c in self.constants), self.field.zero) for u in self._U]

    def _in_one_field(self, blocks: list[sympy.MatrixBase]) -> tuple[Any, list[list[Sparse]]]:
        """The field of all entries, and each block as sparse rows of its elements."""
        entries = [x for block in blocks for x in block]
        field, elements = common_field(entries)
        values = iter(elements)
        dense = [[[next(values) for _ in range(block.cols)] for _ in range(block.rows)] for block in blocks]
        return field, [[[(j, x) for j, x in enumerate(row) if x != field.zero] for row in block] for block in dense]

    def _constant(self, component: int) -> tuple[list[Any], list[Any]]:
        """s_i(empty) with respect to one component, and what the rows left over say."""
        one = [self.field.one if i == component else self.field.zero for i in range(self.components)]
        exact = [*one, *[self.field.zero] * len(self._rows)]
        rest, left = self._balance(exact, [self._dot([e for e in row if e[0] == component], exact) for row in self._V])
        return [*one, *rest], left

    def _balance(self, exact: list[Any], numerical: list[Any]) -> tuple[list[Any], list[Any]]:
        """Solve (V - I) x = exact - numerical for the carried values x that are not the solution.

        Returns x and the residuals of the rows that x was not solved from.
        """
        gap = [e - n for e, n in zip(exact, numerical, strict=True)]
        picked = [gap[i] for i in self._rows]
        rest = [self._dot(row, picked) for row in self._solve]
        return rest, [gap[i] - self._dot(self._shifted[i], rest) for i in self._left]

    def _dot(self, row: Sparse, values: list[Any]) -> Any:
        return sum((a * values[j] for j, a in row), self.field.zero)

    def stages(self, tree: Tree) -> list[Any]:
        """eta_i(t) of every stage i."""
        if tree not in self._stages:
            slopes, carried = self.slopes(tree), self.carried(tree)
            self._stages[tree] = [
                self._dot(a, slopes) + self._dot(u, carried) for a, u in zip(self._A, self._U, strict=True)
            ]
        return self._stages[tree]

    def slopes(self, tree: Tree) -> list[Any]:
        """Coefficients of h F(Y_i): the product of eta_i over the subtrees, where the root is of F's colour.

        Of a Rosenbrock scheme those of h K_i.
        """
        colour, children = tree
        values = [self.stages(child) for child in children]
        if self.linearly_implicit and len(children) == 1:
            below = self.slopes(children[0])
            return [eta + self._dot(row, below) for eta, row in zip(values[0], self._Gamma, strict=True)]
        if not children:
            return [
                c if own == colour else self.field.zero
                for c, own in zip(self.stage_constants, self._colours, strict=True)
            ]
        return [
            reduce(mul, (v[i] for v in values)) if own == colour else self.field.zero
            for i, own in enumerate(self._colours)
        ]

    def carried(self, tree: Tree) -> list[Any]:
        """s_i(t) of every carried value i; 0 for the solution's own components."""
        if tree not in self._carried:
            slopes = self.slopes(tree)
            numerical = [self._dot(row, slopes) for row in self._B]
            exact = [self._flow(tree, i) for i in range(len(self._V))]
            rest, self._residuals[tree] = self._balance(exact, numerical)
            self._carried[tree] = [*[self.field.zero] * self.components, *rest]
        return self._carried[tree]

    def residuals(self, tree: Tree) -> list[Any]:
        """Exact minus numerical solution after one step, on one tree."""
        self.carried(tree)
        return self._residuals[tree]

    def _flow(self, tree: Tree, i: int) -> Any:
        """(E s_i)(t) less s_i(t) itself."""
        value = self.constants[self.maps[tree[0]][1]][i] * self.number(exact_weight(tree))
        if i < self.components:
            return value  # the solution's own series is the identity: nothing but the flow itself
        for rest, weight in rooted_cuts(tree).items():
            if rest != tree:
                value += self.carried(rest)[i] * self.number(weight)
        return value

    def number(self, weight: Any) -> Any:
        """A rational number as an element of the field."""
        return self.field.convert(sympy.QQ(weight.numerator, weight.denominator), sympy.QQ)

    @property
    def dense(self) -> tuple[list[list[Any]], list[list[Any]]]:
        """A and B as rows of elements of the field."""
        zero, stages = self.field.zero, range(self.size[0])
        A, B = ([[dict(row).get(j, zero) for j in stages] for row in block] for block in (self._A, self._B))
        return A, B

    @property
    def preconsistent(self) -> bool:
        """Whether u' = 0 is solved exactly, whatever the symbols are."""
        return all(value == self.field.zero for row in self.preconsistency for value in row)

    @property
    def error_scale(self) -> Any:
        """Part of the solution in the carried value whose row the residual is left over in: 1 for its own row.

        Another row is left over where the solution's own defines a carried value (the reversible
        coupling); divided by this, the residual does not depend on that value's scale.
        """
        return self.constants[0][self._left[0]]

    def to_sympy(self, value: Any) -> sympy.Expr:
        """An element of the field as an expression."""
        if self.field.is_Frac and self.field.domain.is_Algebraic:
            # Over a number field fractions keep common factors that are numbers, which grow with every operation.
            lead = value.denom.LC
            value = self.field.field.new(value.numer.quo_ground(lead), value.denom.quo_ground(lead))
        return self.field.to_sympy(value)


def _split_rows(scheme: GeneralLinearMethod, shifted: sympy.MatrixBase) -> tuple[list[int], list[int]]:
    """Rows that define the carried values, and the rows left over.

    The solution's own rows are the last resort, so that the local error is left over there.
    """
    p, r = scheme.components, scheme.carried
    rows = independent_rows(shifted, [*range(p, r), *range(p)]) if r > p else []
    if len(rows) < r - p:
        raise SchemeError(
            f"{scheme.name}: the {r} carried values are not determined by the solution "
            f"(rank {len(rows)} of {r - p}); every carried value must depend on the solution or on f"
        )
    return rows, [i for i in range(r) if i not in rows]
