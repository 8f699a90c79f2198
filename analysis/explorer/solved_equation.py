"""The modified equation of a scheme as data for the page, its coefficients exact functions of the scheme's symbols."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from odenets import Scheme, SchemeError
from odenets.scheme.trees import vertices

if TYPE_CHECKING:
    from ..equations.derivative_form import DerivativeForm

#: Vertices of the trees that are written out, at least and at most: beyond, the terms fill the page.
FEWEST, MOST = 3, 4


def solved_equation(scheme: Scheme) -> dict[str, Any]:
    """What the page knows of u' = f - h/2 f'f + ..., which the numbers u_n of a scheme follow.

    Returns:
        order (the remainder is O(h^order)), terms: component, power of h, elementary differential, factor as text such
        as ``(k - 1)/(2*(k + 1)**3)``, and linear: whether they hold for linear f only. Without any of it where the
        scheme damps u itself. Of a multistep scheme with f at one point also derivatives, the factors of u', h u'',
        h^2 u''' ... = f, and form, the same as text.
    """
    from ..equations.backward_error import modified_equation  # noqa: PLC0415 - loads torch

    order = max(FEWEST, min(scheme.order + 1, MOST))
    try:
        equation = modified_equation(scheme, order)
    except SchemeError:
        return {}
    terms = [
        [equation.maps[tree[0]][1], vertices(tree) - 1, differential, str(factor)]
        for differential, tree in equation.differentials.items()
        if (factor := equation.factor(tree)) != 0
    ]
    # As far as its order nothing but f is left.
    return {"order": max(order, scheme.order), "terms": terms, "linear": equation.linear} | _derivatives(scheme)


def _derivatives(scheme: Scheme) -> dict[str, Any]:
    """Empty where the right-hand side is not f alone: such an equation is not solved for anything."""
    form = _form(scheme)
    if form is None or any(form.right[1:]):
        return {}
    return {"derivatives": [str(factor) for factor in form.left], "form": form.text()}


def _form(scheme: Scheme) -> DerivativeForm | None:
    from ..equations.derivative_form import derivative_form  # noqa: PLC0415 - loads torch

    try:
        return derivative_form(scheme, max(FEWEST, scheme.order + 1))
    except SchemeError:
        return None
