"""The scheme of one layer with its learned coefficients: its numbers, its parasitic roots, its zero-stability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import product

import numpy as np
from torch import Tensor

from odenets import FieldError, ODENet, Scheme

from ...linear.zero_stability import zero_stable
from .amplification import amplification
from .jacobian import Array
from .records import Coefficient

Channels = Mapping[str, Array]


@lru_cache(maxsize=256)
def parasitic_roots(scheme: Scheme) -> tuple[complex, ...]:
    """Eigenvalues of V but for those next to 1 that are the solution's own, one for each component."""
    roots = np.linalg.eigvals(np.array(scheme.V.tolist(), dtype=float)).astype(complex)
    others = sorted(map(complex, roots), key=lambda root: abs(root - 1))[scheme.components :]
    return tuple(sorted(others, key=abs, reverse=True))


def reduced(scheme: Scheme) -> Scheme:
    """The part of a starting step that makes the solution, where nothing else it carries goes into it.

    That is the starter: the stages that only fill the history say nothing about the solution.
    """
    if scheme.carried == 1 or not (scheme.U[:, 1:].is_zero_matrix and scheme.V[0, 1:].is_zero_matrix):
        return scheme
    needed: set[int] = set()
    more = {j for j in range(scheme.stages) if scheme.B[0, j] != 0}
    while more - needed:
        needed |= more
        more = {j for i in needed for j in range(scheme.stages) if scheme.A[i, j] != 0}
    kept = sorted(needed)
    blocks = (scheme.A.extract(kept, kept), scheme.U.extract(kept, [0]), scheme.B.extract([0], kept), scheme.V[:1, :1])
    modules = tuple(scheme.modules[j] for j in kept)
    return Scheme(scheme.name, *blocks, modules=modules, digits=scheme.digits, strict=False)


def coefficients(net: ODENet, n: int) -> tuple[Coefficient, ...]:
    """The learned coefficients of step n; FieldError for one that is not finite."""
    found = []
    for symbol, value in net.coefficients_at(n).items():
        entries = value.detach().double()
        if not bool(entries.isfinite().all()):
            raise FieldError(f"layer {n}: got a coefficient {symbol} that is not finite, expected a trained network")
        found.append(Coefficient(symbol, float(entries.mean()), float(entries.min()), float(entries.max())))
    return tuple(found)


def channels(net: ODENet, n: int, u: Tensor) -> dict[str, Array]:
    """Symbol -> its value for each number of one component of a sample's state u, shape (1, ...)."""
    one = u.chunk(net.scheme.components, 1)[0] if net.scheme.components > 1 else u
    values = net.coefficients_at(n).items()
    return {symbol: value.detach().double().expand(one.shape).reshape(-1).cpu().numpy() for symbol, value in values}


def substituted(scheme: Scheme, found: Sequence[Coefficient]) -> Scheme:
    """The scheme with its learned coefficients at their means."""
    known = {str(symbol) for symbol in scheme.symbols}
    return scheme.substitute({c.symbol: c.mean for c in found if c.symbol in known})


def is_zero_stable(scheme: Scheme, values: Channels) -> bool | None:
    """Whether V is power-bounded for the values of every channel, decided exactly; None where u' = 0 is not kept.

    Where f = 0 the channels do not mix, so each has the scheme's V at its own coefficients.
    """
    names = [str(symbol) for symbol in scheme.symbols if str(symbol) in values]
    if not names:
        return zero_stable(scheme) if scheme.series.preconsistent else None
    if not scheme.series.preconsistent:
        return None
    rows = np.unique(np.stack([values[name] for name in names]), axis=1).T
    return all(zero_stable(scheme.substitute(dict(zip(names, map(float, row), strict=True)))) for row in rows)


def corners(scheme: Scheme, found: Sequence[Coefficient]) -> list[Scheme]:
    """The scheme at the corners of its coefficients' ranges; at the one place where they have none."""
    names = [str(symbol) for symbol in scheme.symbols]
    own = [c for c in found if c.symbol in names]
    choices = product(*[sorted({c.low, c.high}) for c in own])
    return [scheme.substitute(dict(zip([c.symbol for c in own], choice, strict=True))) for choice in choices]


def corner_range(
    scheme: Scheme, found: Sequence[Coefficient], points: Array, margin: float
) -> tuple[float, float] | None:
    """Smallest and largest max |zeta| over the corners of the coefficients' ranges; None where they have none."""
    if all(c.low == c.high for c in found):
        return None
    maxima = [amplification(corner, points, margin).maximum for corner in corners(scheme, found)]
    return min(maxima), max(maxima)
