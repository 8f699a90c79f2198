"""A vector field as a truncated B-series: its coefficients, its text, its values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from operator import itemgetter
from typing import Any

import sympy
from torch import Tensor

from odenets import Scheme, SchemeError
from odenets.scheme.given_numbers import real
from odenets.scheme.shown import Shown
from odenets.scheme.trees import Maps, Tree, symmetry, trees_of_order, vertices

from ..text.expressions import displayed, join_terms
from .derivative_form import DerivativeForm, derivative_form
from .elementary_differentials import Differentials, Function
from .term_text import latex_term, text_term
from .tree_text import differential_latex, differential_text, function_names

State = Tensor | Sequence[Tensor]


@dataclass(frozen=True, eq=False, repr=False)  # equal as mappings are
class ModifiedEquation(Shown, Mapping[Tree, sympy.Expr]):
    """u' = sum over rooted trees t of h^(|t|-1) b(t)/sigma(t) F(t)(u), as far as h^(order-1).

    A mapping from the trees with up to ``order`` vertices (:mod:`odenets.scheme.trees`) to b(t), exact, in
    the free symbols of the scheme. Instead of a tree the text of its elementary differential may be
    given: ``equation["f'f"]``. ``str()`` gives :meth:`text`.

    Attributes:
        scheme: the scheme, with numbers in the place of the symbols that got one.
        order: the largest number of vertices; the remainder is O(h^order).
        left: what stands on the left: u' for the modified equation, f~ for the modifying integrator.
        linear: whether it holds for linear f only, whose trees are the tall ones (PolyNet).

    Source: Hairer, Lubich & Wanner, Geometric Numerical Integration (2006), IX.9.
    """

    scheme: Scheme
    order: int
    coefficients: Mapping[Tree, sympy.Expr] = field(repr=False)
    left: str = "u'"
    linear: bool = False

    def __getitem__(self, tree: Tree | str) -> sympy.Expr:  # the text for people, the tree for Mapping
        return self.coefficients[self._tree(tree)]

    def _tree(self, tree: Tree | str) -> Tree:
        """The tree itself; KeyError for one that is not there."""
        found = self.differentials.get(tree) if isinstance(tree, str) else tree
        if found is None or found not in self.coefficients:
            raise KeyError(
                f"got {tree!r}, expected a rooted tree with at most {self.order} vertices, or the text of its "
                f"elementary differential, one of {', '.join(list(self.differentials)[:4])}, ..."
            )
        return found

    def __getstate__(self) -> dict[str, Any]:
        """The fields alone: what is derived from them is derived again (compiled functions do not pickle)."""
        return {name: self.__dict__[name] for name in self.__dataclass_fields__}

    def __iter__(self) -> Iterator[Tree]:
        return iter(self.coefficients)

    def __len__(self) -> int:
        return len(self.coefficients)

    @property
    def maps(self) -> Maps:
        """For each function of the scheme the component it takes and the one it yields."""
        return self.scheme.functions

    @property
    def symbols(self) -> tuple[sympy.Symbol, ...]:
        """The symbols left free."""
        return self.scheme.symbols

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return function_names(len(self.maps))

    @cached_property
    def differentials(self) -> dict[str, Tree]:
        """The text of each elementary differential, e.g. ``f'f`` -> its tree."""
        return {differential_text(tree, self._names): tree for tree in self}

    def factor(self, tree: Tree | str) -> sympy.Expr:
        """b(t)/sigma(t), the factor of h^(|t|-1) F(t)(u)."""
        found = self._tree(tree)
        return sympy.factor(self[found] / symmetry(found))

    def text(self) -> str:
        """One line a component, e.g. ``u' = f - h/2 f'f + h^2/12 f''(f,f) + h^2/3 f'f'f + O(h^3)``."""
        return self._render(text_term, differential_text, f"O(h^{self.order})")

    def latex(self) -> str:
        r"""The same for LaTeX's mathematics mode, e.g. ``u' = f - \frac{h}{2} f'f + O(h^{2})``."""
        return self._render(latex_term, differential_latex, rf"\mathcal{{O}}(h^{{{self.order}}})")

    def _render(self, term: Any, differential: Any, remainder: str) -> str:
        components = self.scheme.components
        lines = []
        for component in range(components):
            own = [t for t in self if self.maps[t[0]][1] == component]
            parts = [
                term(self.factor(t), vertices(t) - 1, differential(t, self._names)) for t in own if self.factor(t) != 0
            ]
            name = self.left if components == 1 else f"u{component + 1}'"
            lines.append(f"{name} = {join_terms([*parts, remainder])}")
        return "\n".join(lines) + (" (for linear f)" if self.linear else "")

    def __str__(self) -> str:
        return self.text()

    def _repr_latex_(self) -> str | None:
        return displayed(self.latex())

    @property
    def derivative_form(self) -> DerivativeForm:
        """The form of the paper, (1 + k) u' + (1 - k) (h/2) u'' + ... = f, for a linear multistep scheme.

        Raises:
            SchemeError: a scheme of another kind.
        """
        return derivative_form(self.scheme, self.order)

    def terms(self, f: Function | Sequence[Function], u: State, **values: float) -> list[Any]:
        """The value at u of the factor of h^0, h^1, ..., h^(order-1), by products with Jacobians.

        Args:
            f: a torch function of the state that returns its shape; for a scheme of several
                functions a sequence of them, in the scheme's order.
            u: the state; for a partitioned scheme the sequence of its components.
            values: numbers for the symbols that are still free.

        Returns:
            ``order`` tensors of the shape of u; for a partitioned scheme tuples of them. Where f is
            piecewise linear (ReLU) the derivatives from the second on, and so the terms with them,
            are 0 almost everywhere: the equation then misses what the kinks do.

        Raises:
            FieldError: functions, components or shapes that do not fit.
            SchemeError: a symbol without a value, an unknown one, or a pole of the coefficients.
        """
        numbers = self._numbers(values)
        at = Differentials(f, u, self.maps)
        by_power = [{t: c for t, c in numbers.items() if vertices(t) == n} for n in range(1, self.order + 1)]
        totals = [at.total(weights) for weights in by_power]
        return totals if self.scheme.components > 1 else [total[0] for total in totals]

    def field(self, f: Function | Sequence[Function], h: float, **values: float) -> Callable[[State], Any]:
        """The truncated field at step size h as a function of the state: sum of h^j times the j-th of :meth:`terms`."""
        numbers = {tree: weight * h ** (vertices(tree) - 1) for tree, weight in self._numbers(values).items()}

        def modified(u: State) -> Any:
            total = Differentials(f, u, self.maps).total(numbers)
            return total if self.scheme.components > 1 else total[0]

        return modified

    @cached_property
    def _compiled(self) -> Callable[..., list[float]]:
        weights = [self[tree] / symmetry(tree) for tree in self]
        return sympy.lambdify(self.symbols, weights, "math")

    def _numbers(self, values: Mapping[str, float]) -> dict[Tree, float]:
        names = [str(symbol) for symbol in self.symbols]
        if set(values) != set(names):
            raise SchemeError(
                f"{self.scheme.name}: got values for {sorted(values) or 'no symbol'}, expected one for each of "
                f"{names or 'no symbol'}"
            )
        try:
            found = self._compiled(*(real(values[name], f"{self.scheme.name}: {name}") for name in names))
        except ZeroDivisionError as error:
            raise SchemeError(
                f"{self.scheme.name}: got {values}, a pole of the coefficients, expected other values: there the "
                "scheme solves an equation of another order (lm at k = -1); see derivative_form"
            ) from error
        return {tree: float(value) for tree, value in zip(self, found, strict=True)}


def all_trees(scheme: Scheme, order: int) -> Iterator[Tree]:
    """The trees a scheme's series runs over: by number of vertices, then colour of the root, bushy before tall."""
    for n in range(1, order + 1):
        yield from sorted(reversed(trees_of_order(n, scheme.functions)), key=itemgetter(0))
