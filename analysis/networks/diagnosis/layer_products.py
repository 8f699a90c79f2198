"""What several layers do one after the other: to the parasitic component, and from a starting step on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from odenets import ODENet, Scheme

from ...linear.layer_sequence import parasitic_products
from ...linear.region import step_matrices
from .jacobian import Array
from .records import LayerSequence


def parasitic_growth(net: ODENet, first: int) -> tuple[float, float] | None:
    """(over all regular layers, over any of them in a row): ||P_n ... P_m||, the largest over the channels.

    P_n is what layer n makes of all it carries besides the solution where f = 0, -k_n for lm. Each channel has
    its own products, of its own coefficients, and they are measured by norms: the eigenvalues of a product
    of several matrices bound no product in between, and those of means belong to no channel.

    Args:
        net: a network.
        first: its first regular layer.

    Returns:
        None where nothing else is carried, u' = 0 is not kept or the layers are starting steps alone.
    """
    scheme = net.scheme
    if scheme.carried == scheme.components or not scheme.series.preconsistent or first >= net.steps:
        return None
    return parasitic_products(scheme, _columns(net, range(first, net.steps)))


def _columns(net: ODENet, layers: Sequence[int]) -> Array:
    """The coefficients, shape (symbols, layers, channels): channels with the same ones in all layers once."""
    names = [str(symbol) for symbol in net.scheme.symbols]
    rows = [[net.coefficients_at(n)[name].detach().double().reshape(-1) for n in layers] for name in names]
    values = np.array([[row.cpu().numpy() for row in some] for some in rows], dtype=np.float64).reshape(
        len(names), len(layers), -1 if names else 1
    )
    found: Array = np.unique(values, axis=2) if names else values
    return found


def largest_of_sequence(sequence: LayerSequence, points: Array, part: int = 1) -> float:
    """The largest |u_n| / |u_0| on u' = lambda u over the points z = h lambda, each step cut into ``part``.

    Starting steps are taken once, so that no power of theirs counts, only what the regular steps make of
    them: u_n = e_1^T M(z)^(n - s) S_s(z) ... S_1(z) e_1.
    """
    at = np.asarray(points / part, dtype=np.complex128)
    state = np.zeros((len(points), sequence.regular.carried), dtype=complex)
    state[:, 0] = 1
    largest = 1.0
    regular = step_matrices(sequence.regular, at)
    starts = [step_matrices(start, at) for start in sequence.starts]
    for n in range(sequence.steps * part):
        matrix = starts[n] if n < len(starts) else regular
        with np.errstate(over="ignore", invalid="ignore"):
            state = (matrix @ state[..., None])[..., 0]
            size = np.abs(state[:, 0]).max(initial=0.0)
        largest = max(largest, float(size) if np.isfinite(size) else np.inf)
    return largest


def sequence_of(net: ODENet, first: int, starts: Sequence[Scheme], regular: Scheme) -> LayerSequence | None:
    """The steps of a network from layer ``first`` on, as if all had one f; None where a scheme has no numbers."""
    if not starts or regular.symbols or any(start.symbols for start in starts):
        return None
    return LayerSequence(tuple(starts), regular, net.steps - first)
