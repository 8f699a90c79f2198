"""The field whose exact flow a scheme follows, and the field that makes a scheme exact, tree by tree.

Both ask for one number more per tree than the derivation of the order does (odenets.scheme.b_series): there
a residual is left over, here it is made to vanish. For a scheme that carries several values this is
the underlying one-step method: the carried values are series s in the
solution, and together with the field they are solved for from

    (exp(d_b) s)(t) = (B eta' + V s)(t),    d_b: the derivative along the field with coefficients b.

The flow is the exponential of a derivation that cuts one edge at a time; composing partitions of a
tree instead costs 2^|t| terms a tree.

Source: Hairer, Lubich & Wanner, Geometric Numerical Integration (2006), IX.9 (cuts of one edge) and
XV.2 (the underlying one-step method); Chartier, Hairer & Vilmart (2007) for modifying integrators.
"""

from __future__ import annotations

from functools import lru_cache
from math import factorial, lcm, prod
from typing import Any

import sympy

from odenets import Scheme, SchemeError
from odenets.scheme.b_series import BSeries
from odenets.scheme.trees import Tree, edge_cuts, prunings, vertices


class FieldSeries(BSeries):
    """Series with one unknown more for each tree: the coefficient of a vector field.

    ``field_coefficient(t)`` is b(t); the field is sum of h^(|t|-1) b(t)/sigma(t) F(t).
    """

    _unsolvable = ""  # why the equations may have no solution

    def __init__(self, scheme: Scheme) -> None:
        super().__init__(scheme)
        if not self.preconsistent:
            raise SchemeError(
                f"{scheme.name}: got a step that does not keep u' = 0, expected V u = u for some carried values: "
                "it damps u itself, so its equation has a term u/h"
            )
        self._name = scheme.name
        self._found: dict[Tree, Any] = {}
        self._responses = [self._response(component) for component in range(self.components)]

    def _response(self, component: int) -> tuple[list[Any], int, Any]:
        """What one unit of the unknown does: to the carried values, and 1/(to the equation left over), with its row."""
        rest, left = self._balance(*self._unit(component))
        row = next((i for i, value in enumerate(left) if value != self.field.zero), None)
        if row is None:
            raise SchemeError(f"{self._name}: {self._unsolvable}")
        return rest, row, self.field.one / left[row] if self.field.is_Field else left[row]

    def _unit(self, component: int) -> tuple[list[Any], list[Any]]:
        """(exact, numerical) side of the equations for one unit of the unknown."""
        raise NotImplementedError

    def exact(self, value: Any, tree: Tree) -> sympy.Expr:
        """An element of :attr:`field` that belongs to ``tree``, as an expression."""
        del tree
        return self.to_sympy(value)

    def field_coefficient(self, tree: Tree) -> Any:
        """b(t), an element of :attr:`field`."""
        self.carried(tree)
        return self._found[tree]

    def _settle(self, tree: Tree, exact: list[Any], numerical: list[Any]) -> Any:
        """Choose b(t) such that nothing is left over, and the carried values with it."""
        unit, row, inverse = self._responses[self.maps[tree[0]][1]]
        rest, left = self._balance(exact, numerical)
        value = self._found[tree] = -left[row] * inverse
        solved = [x + value * y for x, y in zip(rest, unit, strict=True)]
        self._carried[tree] = [*[self.field.zero] * self.components, *solved]
        return value


class ModifiedField(FieldSeries):
    """The modified equation: b(t), whose exact flow is the scheme's underlying one-step method."""

    _unsolvable = (
        "got a double root 1 of its characteristic polynomial, expected a simple one: it solves an equation of "
        "second order, which has no modified field; use derivative_form"
    )

    def __init__(self, scheme: Scheme, order: int) -> None:
        self.order, self.scale = order, _integer_scale(scheme, order)
        super().__init__(scheme)
        #: per carried value and tree the iterated derivatives d_b^j s_i(t), j = 0 ... |t|
        self._iterates: list[dict[Tree, list[Any]]] = [{} for _ in range(self.size[1])]

    def _in_one_field(self, blocks: list[sympy.MatrixBase]) -> tuple[Any, list[Any]]:
        """Integers for a one-step scheme with rational entries: h -> scale h makes every b(t) one.

        About ten times faster than fractions, which reduce after every operation.
        """
        if not self.scale:
            return super()._in_one_field(blocks)
        factors = [self.scale, 1, self.scale, 1, 1, 1, self.scale]  # A, U, B, V, inverse, shifted, Gamma
        rows = [
            [[(j, int(x * factor)) for j, x in enumerate(block.row(i)) if x != 0] for i in range(block.rows)]
            for block, factor in zip(blocks, factors, strict=True)
        ]
        return sympy.ZZ, rows

    def _unit(self, component: int) -> tuple[list[Any], list[Any]]:
        return list(self.constants[component]), [self.field.zero] * self.size[1]

    def carried(self, tree: Tree) -> list[Any]:  # noqa: D102 - as above
        if tree not in self._carried:
            if vertices(tree) > self.order:  # the integers are scaled for this order: divisions would not be exact
                raise SchemeError(
                    f"{self._name}: got a tree of {vertices(tree)} vertices, expected at most {self.order}, the order "
                    "this series was made for"
                )
            slopes = self.slopes(tree)
            iterates = [self._derivatives(tree, i) for i in range(self.size[1])]
            flow = [self._exponential(found) for found in iterates]
            value = self._settle(tree, flow, [self._dot(row, slopes) for row in self._B])
            constants = self.constants[self.maps[tree[0]][1]]
            for i, found in enumerate(iterates):
                found[0] = self._carried[tree][i]
                found[1] += constants[i] * value
                self._iterates[i][tree] = found
        return self._carried[tree]

    def _derivatives(self, tree: Tree, i: int) -> list[Any]:
        """d_b^j s_i(t) but for the terms with b(t) and s_i(t) themselves."""
        known, zero = self._iterates[i], self.field.zero
        found = [zero] * (vertices(tree) + 1)
        for (trunk, branch), ways in edge_cuts(tree).items():
            weight = self._found[branch] if branch in self._found else self.field_coefficient(branch)
            if weight != zero:  # a scheme of order p has none with 2 to p vertices
                if trunk not in known:
                    self.carried(trunk)
                weight = ways * weight
                for j, value in enumerate(known[trunk], 1):
                    if value != zero:
                        found[j] += value * weight
        return found

    def _exponential(self, found: list[Any]) -> Any:
        """Sum of d_b^j s(t)/j!."""
        n = len(found) - 1
        total = sum((value * (factorial(n) // factorial(j)) for j, value in enumerate(found)), self.field.zero)
        return total // factorial(n) if self.scale else total * self.number(sympy.Rational(1, factorial(n)))

    def exact(self, value: Any, tree: Tree) -> sympy.Expr:  # noqa: D102 - as above, the scale taken out
        if self.scale:
            return sympy.Rational(int(value), self.scale ** vertices(tree))
        return self.to_sympy(value)

    def flow(self, tree: Tree) -> Any:
        """Coefficient of the underlying one-step method itself: the elementary weight, for a Runge-Kutta scheme."""
        self.carried(tree)
        return self._exponential(self._iterates[self.maps[tree[0]][1]][tree])


def _integer_scale(scheme: Scheme, order: int) -> int:
    """A number q with q^n b(t) an integer for all |t| = n <= order; 0 if entries are not rational, or several carried.

    With q0 the common denominator of A and b, q0^n a(t) is an integer, and products of the b(t) have
    no denominators but divisors of n!, which divides the n-th power of the product of the primes <= n.
    """
    entries = [*scheme.A, *scheme.B, *(scheme.Gamma or [])]
    whole = all(x.is_Integer for x in [*scheme.U, *scheme.V])
    if scheme.carried > 1 or not whole or not all(x.is_Rational for x in entries):
        return 0
    return lcm(*(int(x.q) for x in entries)) * prod(sympy.primerange(order + 1))


class ModifyingField(FieldSeries):
    """The inverse: b(t) such that the scheme applied to the field with these coefficients follows u' = f exactly.

    Only for schemes of one function of the whole state: a component's modified function would take
    the other components too.
    """

    _unsolvable = (
        "got function values whose weights sum to 0, expected another sum: no field makes such a scheme consistent"
    )

    def __init__(self, scheme: Scheme) -> None:
        if scheme.several or scheme.Gamma is not None:
            got = "a step with f'(u) in it" if scheme.Gamma is not None else f"{len(scheme.functions)} functions a step"
            raise SchemeError(f"{scheme.name}: got {got}, expected one function for a modifying integrator")
        super().__init__(scheme)

    def _unit(self, component: int) -> tuple[list[Any], list[Any]]:
        return [self.field.zero] * self.size[1], [self._dot(row, self.stage_constants) for row in self._B]

    def carried(self, tree: Tree) -> list[Any]:  # noqa: D102 - as above
        if tree not in self._carried:
            slopes = self._slopes_of_smaller_trees(tree)
            numerical = [self._dot(row, slopes) for row in self._B]
            self._settle(tree, [self._flow(tree, i) for i in range(self.size[1])], numerical)
        return self._carried[tree]

    def slopes(self, tree: Tree) -> list[Any]:
        """Coefficients of h f~(Y_i): the series of the field composed with that of the stage."""
        value = self.field_coefficient(tree)
        known = self._slopes_of_smaller_trees(tree)
        return [x + c * value for x, c in zip(known, self.stage_constants, strict=True)]

    def _slopes_of_smaller_trees(self, tree: Tree) -> list[Any]:
        total = [self.field.zero] * self.size[0]
        for (rest, pieces), ways in prunings(tree).items():
            if rest != tree:
                value = self.field_coefficient(rest) * ways
                etas = [self.stages(piece) for piece in pieces]
                total = [x + prod((eta[i] for eta in etas), start=value) for i, x in enumerate(total)]
        return total


@lru_cache(maxsize=128)
def modified_field(scheme: Scheme, order: int) -> ModifiedField:
    """The modified field of a scheme, for trees of up to ``order`` vertices."""
    return ModifiedField(scheme, order)


@lru_cache(maxsize=128)
def modifying_field(scheme: Scheme) -> ModifyingField:
    """The field that makes a scheme exact."""
    return ModifyingField(scheme)
