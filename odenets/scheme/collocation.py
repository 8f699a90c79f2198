"""Collocation and its relatives: the nodes of Gauss, Radau and Lobatto, and the schemes at them.

The nodes are exact algebraic numbers. What is solved for from them is exact where their field is small: rationals,
or surds such as sqrt(15). The zeros of a Legendre polynomial of degree 4 or more lie in a field in which one
product takes seconds; there the schemes have entries of 60 decimals, which are said to be right to 50.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sympy
from sympy.polys.matrices import DomainMatrix

from .constructors import runge_kutta
from .errors import SchemeError
from .exact import common_field, exact, rounded_digits
from .given_numbers import integer
from .scheme import Scheme

#: decimals of the nodes, decimals of the entries, and digits that the entries are said to be right to
NODE_DECIMALS, DECIMALS, DIGITS = 90, 60, 50

x = sympy.Symbol("x")
Rows = list[list[Any]]


def gauss_nodes(s: int) -> list[sympy.Expr]:
    """Zeros of the Legendre polynomial P_s shifted to [0, 1], ascending: surds, or sympy's CRootOf."""
    s = integer(s, "gauss_nodes: s")
    return _zeros(_legendre(s), s)


def radau_nodes(s: int, end: int) -> list[sympy.Expr]:
    """Radau nodes on [0, 1] that include the given end, 0 (left, I) or 1 (right, II): zeros of P_s +- P_{s-1}."""
    s, end = integer(s, "radau_nodes: s"), integer(end, "radau_nodes: end", 0)
    if end > 1:
        raise SchemeError(f"radau_nodes: got end = {end}, expected 0 (Radau I) or 1 (Radau II)")
    return _zeros(_legendre(s) + (1 if end == 0 else -1) * _legendre(s - 1), s)


def lobatto_nodes(s: int) -> list[sympy.Expr]:
    """Lobatto nodes on [0, 1]: both ends, and the zeros of P'_{s-1}; those of P_s - P_{s-2}."""
    s = integer(s, "lobatto_nodes: s", 2)
    return _zeros(_legendre(s) - _legendre(s - 2), s)


def _legendre(degree: int) -> sympy.Expr:
    return sympy.legendre(degree, 2 * x - 1)


def _zeros(polynomial: sympy.Expr, number: int) -> list[sympy.Expr]:
    # Not sympy.roots, which leaves out the zeros that it has no radicals for.
    zeros = [sympy.radsimp(root) for root in sympy.Poly(sympy.expand(polynomial), x).real_roots()]
    if len(zeros) != number:
        raise SchemeError(f"got {len(zeros)} real zeros of {polynomial}, expected {number}")
    return zeros


class _Powers:
    """The powers c_j^q of the nodes and their integrals, in a field.

    Attributes:
        powers: c_j^q in row j, q = 0 ... s-1.
        moments: int_0^{c_i} t^q dt in row i.
        whole: int_0^1 t^q dt.
    """

    def __init__(self, nodes: Sequence[Any]) -> None:
        numbers = [exact(node, f"nodes[{i}]") for i, node in enumerate(nodes)]
        if not numbers or len(set(numbers)) < len(numbers):
            raise SchemeError(f"got the nodes {list(nodes)}, expected different ones, at least one")
        self.digits = rounded_digits(list(nodes))
        self.rounded = any(map(_needs_decimals, numbers))
        if self.rounded:
            numbers, self.digits = [_decimal(node, NODE_DECIMALS) for node in numbers], DIGITS
        self.field, c = common_field(numbers)
        s = range(len(c))
        self.powers: Rows = [[node**q for q in s] for node in c]
        self.whole = [self.field.one / self.field.convert(q + 1) for q in s]
        self.moments: Rows = [[node ** (q + 1) * self.whole[q] for q in s] for node in c]

    def matrix(self, rows: Rows) -> DomainMatrix:
        return DomainMatrix(rows, (len(rows), len(rows[0])), self.field)

    def weights(self) -> list[Any]:
        """The weights b of the quadrature formula, from B(s): sum_j b_j c_j^(q-1) = 1/q, q = 1 ... s."""
        return list((self.matrix([self.whole]) * self.matrix(self.powers).inv()).to_list_flat())

    def scheme(self, name: str, A: DomainMatrix, b: Sequence[Any], options: dict[str, Any]) -> Scheme:
        """The scheme with these elements of the field as entries."""
        rows = [[self._entry(value) for value in row] for row in [*A.to_list(), b]]
        return runge_kutta(name, rows[:-1], rows[-1], **{"digits": self.digits, **options})

    def _entry(self, value: Any) -> sympy.Expr:
        found = self.field.to_sympy(value)
        return _decimal(found, DECIMALS) if self.rounded else sympy.radsimp(sympy.expand(found))


def _needs_decimals(node: sympy.Expr) -> bool:
    """Whether a node has no formula, or roots within roots."""
    return node.has(sympy.CRootOf) or any(power.base.has(sympy.Pow) for power in node.atoms(sympy.Pow))


def _decimal(value: sympy.Expr, decimals: int) -> sympy.Rational:
    scale = sympy.Integer(10) ** decimals
    return sympy.Rational(round(sympy.N(value, decimals + 10) * scale), scale)


def collocation(name: str, nodes: Sequence[Any], **options: Any) -> Scheme:
    """The Runge-Kutta scheme whose stages collocate at the nodes: A_ij = int_0^{c_i} l_j, b_j = int_0^1 l_j.

    Args:
        name: name of the scheme.
        nodes: c_i, different; surds and rationals give exact entries, other algebraic numbers (four nodes of
            Gauss and more) decimals right to 50 digits.
        options: as for :func:`odenets.runge_kutta`.

    Raises:
        SchemeError: nodes that are no exact numbers, or not different.

    Source: Hairer, Norsett & Wanner (1993), II.7.
    """
    of = _Powers(nodes)
    return of.scheme(name, of.matrix(of.moments) * of.matrix(of.powers).inv(), of.weights(), options)


def adjoint_collocation(name: str, nodes: Sequence[Any], **options: Any) -> Scheme:
    """Radau IA's kind: quadrature weights b, and A from sum_i b_i c_i^(q-1) A_ij = b_j (1 - c_j^q)/q, q = 1 ... s.

    Arguments and errors as for :func:`collocation`.
    Source: Hairer & Wanner (1996), IV.5, condition D(s).
    """
    of = _Powers(nodes)
    b, s = of.weights(), range(len(nodes))
    left = of.matrix([[b[i] * of.powers[i][q] for i in s] for q in s])
    right = of.matrix([[b[j] * (of.whole[q] - of.moments[j][q]) for j in s] for q in s])
    return of.scheme(name, left.inv() * right, b, options)


def lobatto_iiic(name: str, nodes: Sequence[Any], **options: Any) -> Scheme:
    """Lobatto IIIC: A_i1 = b_1 and sum_j A_ij c_j^(q-1) = c_i^q / q, q = 1 ... s-1 (Chipman 1971).

    Arguments and errors as for :func:`collocation`.
    """
    of = _Powers(nodes)
    b = of.weights()
    left = of.matrix([[of.field.convert(int(j == 0)), *row[:-1]] for j, row in enumerate(of.powers)])
    right = of.matrix([[b[0], *row[:-1]] for row in of.moments])
    return of.scheme(name, right * left.inv(), b, options)
