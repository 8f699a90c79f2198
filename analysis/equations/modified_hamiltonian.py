"""The modified Hamiltonian of a symplectic scheme."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations_with_replacement, product
from typing import Any

import sympy

from odenets import Scheme, SchemeError
from odenets.scheme.exact import is_zero
from odenets.scheme.shown import Shown
from odenets.scheme.trees import Tree, graft, grow, symmetry, vertices

from ..linear.irreducible import irreducible
from ..text.expressions import displayed, join_terms
from .modified_equation import ModifiedEquation
from .term_text import latex_term, text_term
from .tree_text import differential_latex, differential_text, function_names

Names = tuple[str, ...]
STEP = sympy.Symbol("h")


@dataclass(frozen=True, eq=False, repr=False)  # equal as mappings are
class ModifiedHamiltonian(Shown, Mapping[Tree, sympy.Expr]):
    """H~ = sum over free trees of h^(|t|-1) b(t)/s(t) H(t), conserved up to the remainder.

    H(t) = H^(m)(F(t_1), ..., F(t_m)) is the elementary Hamiltonian; trees that differ by the place of
    their root alone share one, up to its sign, and one of them is the key. s(t) is the number of
    symmetries of the free tree: sigma(t) times the number of vertices that give t if made the root,
    1 where the root is the centre. With H = T(p) + U(q) and a partitioned scheme the vertices have
    two colours, whose functions are f = T'(p) and g = -U'(q).

    Attributes:
        scheme: the scheme.
        order: the largest number of vertices; the remainder is O(h^order).

    Source: Hairer, Lubich & Wanner, Geometric Numerical Integration (2006), IX.9 and IX.10.
    """

    scheme: Scheme
    order: int
    coefficients: Mapping[Tree, sympy.Expr] = field(repr=False)

    def __getitem__(self, tree: Tree) -> sympy.Expr:
        return self.coefficients[tree]

    def __iter__(self) -> Any:
        return iter(self.coefficients)

    def __len__(self) -> int:
        return len(self.coefficients)

    def factor(self, tree: Tree) -> sympy.Expr:
        """b(t)/s(t), the factor of h^(|t|-1) H(t)."""
        return sympy.factor(self[tree] / (symmetry(tree) * _rootings(tree).count(tree)))

    def text(self) -> str:
        """One line, e.g. ``H~ = T + U - h/2 T'g + ... + O(h^3)``."""
        return self._render("H~", text_term, differential_text, f"O(h^{self.order})")

    def latex(self) -> str:
        """The same for LaTeX's mathematics mode."""
        return self._render(r"\tilde H", latex_term, differential_latex, rf"\mathcal{{O}}(h^{{{self.order}}})")

    def _render(self, name: str, term: Any, differential: Any, remainder: str) -> str:
        functions = function_names(len(self.scheme.functions))
        parts = [
            term(self.factor(t), vertices(t) - 1, differential(t, functions, self._energies[t[0]]))
            for t in self
            if self.factor(t) != 0
        ]
        return f"{name} = {join_terms([*parts, remainder])}"

    def __str__(self) -> str:
        return self.text()

    def _repr_latex_(self) -> str | None:
        return displayed(self.latex())

    @cached_property
    def _energies(self) -> Names:
        """For each colour the part of H its function is a derivative of."""
        names = ("T", "U")  # q' = T'(p) is the function that yields component 0
        return ("H",) if not self.scheme.several else tuple(names[y] for _, y in self.scheme.functions)

    def expression(
        self,
        H: sympy.Expr,
        q: Sequence[sympy.Symbol] | sympy.Symbol,
        p: Sequence[sympy.Symbol] | sympy.Symbol,
        h: sympy.Expr | float = STEP,
    ) -> sympy.Expr:
        """H~ of a given Hamiltonian as an expression in q, p and h.

        Args:
            H: the Hamiltonian; T(p) + U(q) for a partitioned scheme, which takes its functions as
                (q' = dT/dp, p' = -dU/dq).
            q: the positions, one symbol or several.
            p: the momenta, as many.
            h: the step size, a number or a symbol; default: the symbol h.

        Raises:
            SchemeError: numbers of symbols that differ, or an H that is not separable where it must be.
        """
        q, p = (tuple(x) if isinstance(x, (tuple, list)) else (x,) for x in (q, p))
        if len(q) != len(p) or not q:
            raise SchemeError(f"modified Hamiltonian: got {len(q)} positions and {len(p)} momenta, expected as many")
        system = _whole(H, q, p) if len(self._energies) == 1 else _separated(H, q, p, self._energies)
        return sympy.Add(*(self.factor(t) * h ** (vertices(t) - 1) * system.energy(t) for t in self))


@dataclass(frozen=True)
class _System:
    """For each colour: the part of H, the variables it is differentiated by, the field and its variables."""

    energies: tuple[sympy.Expr, ...]
    fields: tuple[tuple[sympy.Expr, ...], ...]
    variables: tuple[tuple[sympy.Symbol, ...], ...]

    def energy(self, tree: Tree) -> sympy.Expr:
        """The elementary Hamiltonian H(t)."""
        return self._derivative(self.energies[tree[0]], tree)

    def differential(self, tree: Tree) -> tuple[sympy.Expr, ...]:
        """The elementary differential F(t)."""
        return tuple(self._derivative(part, tree) for part in self.fields[tree[0]])

    def _derivative(self, expression: sympy.Expr, tree: Tree) -> sympy.Expr:
        """expression^(m)(F(t_1), ..., F(t_m))."""
        directions = [self.differential(child) for child in tree[1]]
        variables = self.variables[tree[0]]
        total = sympy.Integer(0)
        for choice in product(range(len(variables)), repeat=len(directions)):
            found = expression
            for i in choice:
                found = found.diff(variables[i])
            total += found * sympy.prod(direction[i] for i, direction in zip(choice, directions, strict=True))
        return total


def _whole(H: sympy.Expr, q: Any, p: Any) -> _System:
    return _System((H,), ((*(H.diff(x) for x in p), *(-H.diff(x) for x in q)),), ((*q, *p),))


def _separated(H: sympy.Expr, q: Any, p: Any, energies: Names) -> _System:
    kinetic, potential = sympy.expand(H).as_independent(*q, as_Add=True)
    if potential.free_symbols & set(p):
        raise SchemeError(f"modified Hamiltonian: got H = {H}, expected T(p) + U(q) for a partitioned scheme")
    parts = {
        "T": (kinetic, tuple(kinetic.diff(x) for x in p), tuple(p)),
        "U": (potential, tuple(-potential.diff(x) for x in q), tuple(q)),
    }
    return _System(*zip(*(parts[energy] for energy in energies), strict=True))


def free_trees(equation: ModifiedEquation) -> dict[Tree, sympy.Expr]:
    """One tree of each class under moving the root along an edge, with its b(t); checked to be symplectic.

    A field with coefficients b is Hamiltonian for every Hamiltonian f if and only if
    b(u o v) + b(v o u) = 0 for all trees u, v, with the Butcher product o, which joins their roots
    by an edge; so b is 0 where u o u arises.

    Raises:
        SchemeError: where that fails, with the trees.
    """
    chosen: dict[Tree, sympy.Expr] = {}
    seen: set[Tree] = set()
    for tree in equation:
        for other in _moves(tree):
            _check_pair(equation, tree, other)
        if tree not in seen:
            alike = set(_rootings(tree))
            seen |= alike
            if not any(member in _moves(member) for member in alike):  # else superfluous: its own negative
                root = max(alike, key=lambda member: (len(member[1]), -member[0]))
                chosen[root] = equation[root]
    return chosen


def _check_pair(equation: ModifiedEquation, tree: Tree, other: Tree) -> None:
    total = sympy.cancel(equation[tree] + equation[other], extension=True)
    if total != 0:
        names = function_names(len(equation.maps))
        pair = " and ".join(differential_text(t, names) for t in (tree, other))
        raise SchemeError(
            f"{equation.scheme.name}: got coefficients of {pair} that sum to {total}, expected 0: it is not "
            "symplectic, so it has no modified Hamiltonian"
        )


def is_symplectic_one_step(scheme: Scheme) -> bool:
    """b_i a_ij + b_j a_ji = b_i b_j for all stages i, j whose functions are conjugate (all, if there is one function).

    Sufficient always, and necessary without superfluous stages, so these are taken out first.

    Source: Sanz-Serna (1988), Suris (1988); Hairer, Lubich & Wanner (2006), theorems VI.4.3 and VI.4.6.
    """
    (A, _, B, _), colours = irreducible((scheme.A, scheme.U, scheme.B, scheme.V), scheme.colours)
    weights = [B[scheme.functions[colour][1], i] for i, colour in enumerate(colours)]
    plain = not scheme.several
    return all(
        is_zero(weights[i] * A[i, j] + weights[j] * A[j, i] - weights[i] * weights[j])
        for i, j in combinations_with_replacement(range(len(colours)), 2)
        if plain or colours[i] != colours[j]
    )


def _moves(tree: Tree) -> list[Tree]:
    """The trees that arise from moving the root to one of its children."""
    colour, children = tree
    found = []
    for child in dict.fromkeys(children):
        others = list(children)
        others.remove(child)
        found.append(graft(child, (colour, tuple(others))))
    return found


def _rootings(tree: Tree) -> list[Tree]:
    """The tree rooted at each of its vertices in turn."""
    found: list[Tree] = []

    def visit(colour: int, branches: tuple[Tree, ...], above: tuple[Tree, ...]) -> None:
        found.append(grow(colour, (*branches, *above)))
        for i, (own, below) in enumerate(branches):
            visit(own, below, (grow(colour, (*branches[:i], *branches[i + 1 :], *above)),))

    visit(*tree, ())
    return found
