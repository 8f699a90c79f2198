"""The modified equation in derivative form: the differential equation a network really solves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sympy

from odenets import Scheme, SchemeError
from odenets.scheme.shown import Shown

from ..linear.generating_polynomials import multistep_polynomials
from ..linear.resolve import check_order, resolve, zeta
from ..text.expressions import ascending, by_degree, displayed, join_terms, split_sign

PRIMES = 4  # u'''' is still read at a glance, u^(5) is written with its number


@dataclass(frozen=True, repr=False)
class DerivativeForm(Shown):
    """sum_m left[m-1] h^(m-1) u^(m) = sum_m right[m] h^m f^(m), up to the remainder.

    ``f^(m)`` is the m-th time derivative of f along the solution. Numbers and expressions in the
    free symbols are exact. ``str()`` gives :meth:`text`.
    """

    scheme: str
    left: tuple[sympy.Expr, ...]
    right: tuple[sympy.Expr, ...]

    @property
    def order(self) -> int:
        """The highest derivative of u that is written out."""
        return len(self.left)

    def text(self) -> str:
        """One line, e.g. ``u' + (h/2) u'' + ... = f``."""
        return self._render(_text_term)

    def latex(self) -> str:
        r"""The same for LaTeX's mathematics mode, e.g. ``u' + \frac{h}{2} u'' + \cdots = f``."""
        return self._render(_latex_term, dots=r"\cdots")

    def _render(self, term: Any, dots: str = "...") -> str:
        left = [term(c, m, "u", m + 1) for m, c in enumerate(self.left) if c != 0]
        right = [term(c, m, "f", m) for m, c in enumerate(self.right) if c != 0]
        # A right-hand side that ends with f, the value at the base point, is complete.
        right += [dots] if any(c != 0 for c in self.right[1:]) else []
        return f"{join_terms([*left, dots])} = {join_terms(right)}"

    def __str__(self) -> str:
        return self.text()

    def _repr_latex_(self) -> str | None:
        return displayed(self.latex())


def derivative_form(scheme: Scheme | str, order: int = 4, **values: Any) -> DerivativeForm:
    """The equation that the numbers u_n of a linear multistep scheme satisfy if read as u(t_n).

    With E = exp(h d/dt), rho(E) u = h sigma(E) f is expanded about the time of the newest function
    evaluation and divided by h sigma(1):

        sum_m c_m h^(m-1) u^(m) = sum_m d_m h^m f^(m)

    lm: (1 + k) u' + (1 - k) (h/2) u'' + (1 + k) (h^2/6) u''' + ... = f, with k left symbolic.

    Args:
        scheme: a Scheme, or a name of the zoo, with one stage at u_n or u_{n+1}.
        order: the highest derivative of u to write out, at least 1; the remainder is O(h^order).
        values: exact numbers for its symbols; the others stay symbolic.

    Raises:
        SchemeError: an order below 1, a scheme with several stages, or one that does not keep u' = 0.

    Source: Lu, Zhong, Li & Dong (2018), section 3; Warming & Hyett (1974) for the method.
    """
    order = check_order(order, "derivative form")
    found = resolve(scheme, values)
    if found.stages != 1:
        raise SchemeError(
            f"{found.name}: got {found.stages} stages, expected 1 for a modified equation in derivative form; "
            "the stages of other schemes do not lie on the solution; modified_equation has the form solved for u'"
        )
    rho, sigma = multistep_polynomials(found)
    base = sigma.degree()
    scale = sigma.eval(1)
    if scale == 0:
        raise SchemeError(f"{found.name}: got sigma(1) = 0, expected function values with a non-zero sum")
    if rest := sympy.expand(rho.eval(1)):
        raise SchemeError(
            f"{found.name}: got rho(1) = {rest}, expected 0: it damps u itself, so its equation has a term u/h"
        )
    left = tuple(_moment(rho, base, m) / scale for m in range(1, order + 1))
    right = tuple(_moment(sigma, base, m) / scale for m in range(order))
    return DerivativeForm(found.name, tuple(map(_tidy, left)), tuple(map(_tidy, right)))


def _tidy(c: sympy.Expr) -> sympy.Expr:
    """In factors where symbols are free; surds expanded, without roots in denominators."""
    return sympy.factor(c) if c.free_symbols else sympy.expand(sympy.radsimp(sympy.expand(c)))


def _moment(poly: sympy.Poly, base: int, m: int) -> sympy.Expr:
    """Coefficient of (h d/dt)^m in poly(E) E^-base: sum_j p_j (j - base)^m / m!."""
    terms = (c * sympy.Integer(j - base) ** m for (j,), c in sympy.Poly(poly, zeta).terms())
    return sum(terms, start=sympy.Integer(0)) / sympy.factorial(m)


def _text_term(coefficient: sympy.Expr, power: int, name: str, derivative: int) -> str:
    negative, number, rest = split_sign(coefficient)
    h = "" if power == 0 else "h" if power == 1 else f"h^{power}"
    top = f"{number.p} {h}".strip() if number.p != 1 or not h else h
    factor = top if number.q == 1 else f"{top}/{number.q}"
    parts = [] if rest == 1 else [f"({ascending(rest)})"]
    parts += [] if factor == "1" else [f"({factor})" if " " in factor or "/" in factor else factor]
    primes = "'" * derivative if derivative <= PRIMES else f"^({derivative})"
    return ("-" if negative else "") + " ".join([*parts, name + primes])


def _latex_term(coefficient: sympy.Expr, power: int, name: str, derivative: int) -> str:
    negative, number, rest = split_sign(coefficient)
    h = sympy.Symbol("h") ** power
    factor = sympy.latex(number * h, fold_short_frac=False)
    parts = [] if rest == 1 else [rf"\left({sympy.latex(rest, order=by_degree)}\right)"]
    parts += [] if factor == "1" else [factor]
    primes = "'" * derivative if derivative <= PRIMES else f"^{{({derivative})}}"
    return ("-" if negative else "") + " ".join([*parts, name + primes])
