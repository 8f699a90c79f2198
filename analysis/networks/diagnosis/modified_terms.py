"""The size of the leading term by which the equation that a layer solves differs from u' = f."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from odenets import Scheme, SchemeError

from ...equations import backward_error
from .flow import relative_step
from .layer_scheme import substituted
from .records import Coefficient, ModifiedTerm
from .residual_function import ResidualFunction

HIGHEST = 5  # terms up to h^4: beyond, the nested derivatives take longer than all the rest
VANISHES = 1e-12


@lru_cache(maxsize=64)
def _equation(scheme: Scheme, order: int) -> Any:
    return backward_error.modified_equation(scheme, order)


def leading_term(
    scheme: Scheme, coefficients: Sequence[Coefficient], residual: ResidualFunction, u: Tensor, h: float
) -> tuple[ModifiedTerm | None, str]:
    """(||h^m f_m||/||f_0|| over the samples, "") or (None, why there is none).

    Beside f_0, the equation's own leading term, not f: for lm f_0 = f/(1 + k).
    f_m is the factor of h^m in the modified field, evaluated by products with Jacobians.
    ``scheme`` has its symbols free; per-channel coefficients stand at their means.
    """
    if why := _none(scheme, coefficients, residual, u):
        return None, why
    known = {str(symbol) for symbol in scheme.symbols}
    values = {c.symbol: c.mean for c in coefficients if c.symbol in known}
    if not scheme.series.preconsistent:
        scheme, values = scheme.substitute(values), {}  # keeps u' = 0 for these values only
    samples = [u[i : i + 1] for i in range(u.shape[0])]
    # A term may vanish for these values of the symbols (lm at k = 1 is leapfrog): then the next one leads.
    found: tuple[ModifiedTerm | None, str] = (None, "")
    for count in range(max(scheme.order, 1) + 1, HIGHEST + 1):
        try:
            equation = _equation(scheme, count)
        except SchemeError as error:
            return None, str(error)
        found = _sizes([_norms(equation, residual, sample, h, values) for sample in samples])
        if found[0] is not None:
            break
    return found


def _none(scheme: Scheme, coefficients: Sequence[Coefficient], residual: ResidualFunction, u: Tensor) -> str:
    """Why there is no leading term to compute; empty where there is one."""
    order = max(scheme.order, 1)
    settled = substituted(scheme, coefficients)
    step = relative_step(settled)
    timed = residual.autonomous(u[:1])[1].shape != u[:1].shape
    reasons = {
        f"order {order}: its leading term, of h^{order}, is not computed (h^{HIGHEST - 1} at most)": order >= HIGHEST,
        "several functions stand for one f": residual.index is not None,
        "a split or partitioned scheme": scheme.several,
        "the step does not keep u' = 0: it damps u itself, so its equation has a term u/h and no expansion about "
        "u' = f": not settled.series.preconsistent,
        "the layer solves no first-order equation (lm at k = -1)": step is None or math.isinf(step),
        "a function of time under a scheme that advances time and state differently": timed and scheme.order < 1,
    }
    return next((why for why, holds in reasons.items() if holds), "")


def _norms(equation: Any, residual: ResidualFunction, u: Tensor, h: float, values: dict[str, float]) -> list[float]:
    """||f_0||, ||h f_1||, ||h^2 f_2||, ... at one sample; time, if it is part of the state, does not count."""
    g, w = residual.autonomous(u)
    terms = equation.terms(g, w, **values)
    vectors = [h**m * term for m, term in enumerate(terms)]
    return [float(torch.linalg.vector_norm(v.reshape(-1)[: u.numel()])) for v in vectors]


def _sizes(norms: Sequence[Sequence[float]]) -> tuple[ModifiedTerm | None, str]:
    slopes = [row[0] for row in norms]
    if min(slopes) == 0:
        return None, "f vanishes at a sample"
    for m in range(1, len(norms[0])):
        sizes = [row[m] / slope for row, slope in zip(norms, slopes, strict=True)]
        if max(sizes) > VANISHES:
            return ModifiedTerm(m, sum(sizes) / len(sizes), max(sizes)), ""
    return None, f"all terms up to h^{len(norms[0]) - 1} vanish"
