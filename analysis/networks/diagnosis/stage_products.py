"""What the layers of a stage do together: the product of their steps, each linearised at its own state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import expm
from scipy.sparse.linalg import LinearOperator

from odenets import Scheme

from .flow import Flow
from .jacobian import Array, Jacobian
from .layer_scheme import Channels
from .records import StageProduct
from .step_matrix import step_matrix
from .step_operator import StagesUnsolved, step_operator

#: Layers^2 N^3, N numbers carried, up to which all products are made, and their norms: about a second.
SMALL = 1e9
#: The search beyond: rounds at most, and the relative gain of one that ends it. What it finds is a lower bound.
ROUNDS, GAIN = 30, 1e-4


@dataclass(frozen=True, eq=False)
class Layer:
    """One step: its scheme, which may have symbols, their values, J at the state of each sample, and its flow."""

    scheme: Scheme
    values: Channels
    jacobians: Sequence[Jacobian]
    flow: Flow | None


@np.errstate(over="ignore", invalid="ignore")
def stage_product(layers: Sequence[Layer], h: float, first: int, explained: float) -> StageProduct | None:
    """The largest ||M_j ... M_i||_2 over all runs i ... j of the layers, and that of all of them.

    A disturbance may enter at any layer, so that products from the first one on are not enough: one layer that
    damps everything would hide what the next ones do. Of several samples the largest is taken.

    Args:
        layers: in their order.
        h: step size.
        first: number of the first of them.
        explained: see :class:`StageProduct`.

    Returns:
        None where stage equations were not solved.
    """
    found, flows = [], []
    for sample in range(len(layers[0].jacobians)):
        own = [(layer.jacobians[sample], layer.scheme, h, layer.values) for layer in layers]
        size = own[0][1].carried * own[0][0].size // own[0][1].components
        try:
            if all(j.matrix is not None for j, *_ in own) and len(own) ** 2 * size**3 <= SMALL:
                found.append((*_all(np.stack([_matrix(*one) for one in own])), True))
                flows.append(_of_flow(layers, sample, h))
            else:
                found.append((*_searched([step_operator(*one) for one in own]), False))
        except StagesUnsolved:
            return None
    most, (i, j), _, exact = max(found, key=lambda entry: entry[0])
    whole = max(entry[2] for entry in found)
    flow = None if len(flows) < len(found) else max(flows, key=lambda one: np.inf if one is None else one)
    return StageProduct(most, (first + i, first + j), whole, explained, exact, flow)


def _of_flow(layers: Sequence[Layer], sample: int, h: float) -> float | None:
    """The largest norm of the exact flows exp(h_eff J) one after the other; None where a layer follows none."""
    steps = [h * layer.flow.step if layer.flow and layer.flow.shift == 0 else None for layer in layers]
    own = [layer.jacobians[sample].matrix for layer in layers]
    pairs = [(step, J) for step, J in zip(steps, own, strict=True) if step is not None and J is not None]
    return _all(np.stack([expm(step * J) for step, J in pairs]))[0] if len(pairs) == len(layers) else None


def _matrix(jacobian: Jacobian, scheme: Scheme, h: float, values: Channels) -> Array:
    assert jacobian.matrix is not None
    return step_matrix(scheme, h * jacobian.matrix, values)


def _all(steps: Array) -> tuple[float, tuple[int, int], float]:
    """(largest norm, its run, norm of the product of all), by all products."""
    products, most, run = steps, -1.0, (0, 0)
    for length in range(1, len(steps) + 1):
        products = products if length == 1 else steps[length - 1 :] @ products[:-1]
        finite = np.isfinite(products).all(axis=(1, 2))
        norms = np.full(len(products), np.inf)
        norms[finite] = np.linalg.norm(products[finite], 2, axis=(1, 2))
        first = int(norms.argmax())
        if norms[first] > most:
            most, run = float(norms[first]), (first, first + length - 1)
    return most, run, float(norms[0])


def _searched(steps: Sequence[LinearOperator]) -> tuple[float, tuple[int, int], float]:
    """The same by products with vectors: the power method for M^T M, on the run that is best for its vector."""
    drawn = np.random.default_rng(0).standard_normal(steps[0].shape[1])
    starts = sorted({len(steps) * quarter // 4 for quarter in range(4)})
    most, run = max((_ascended(steps, start, drawn) for start in starts), key=lambda entry: entry[0])
    whole, _ = _ascended([_composed(steps)], 0, drawn)
    return max(most, whole), run if most >= whole else (0, len(steps) - 1), whole


def _ascended(steps: Sequence[LinearOperator], first: int, vector: Array) -> tuple[float, tuple[int, int]]:
    """(||M_j ... M_i||, (i, j)) of a run at which neither another vector nor another end is better.

    The end j is the one at which the image of the vector is largest, the start i the one at which what M^T makes
    of that image is: no round makes the product smaller.
    """
    size, run = 0.0, (first, first)
    vector = vector / np.linalg.norm(vector)
    for _ in range(ROUNDS):
        images = _through([step.matvec for step in steps[first:]], vector)
        sizes = np.linalg.norm(images, axis=1)
        last = first + int(sizes.argmax())
        if not 0 < sizes[last - first] < np.inf:
            return (0.0 if sizes[last - first] == 0 else np.inf), (first, last)
        pulled = _through([step.rmatvec for step in steps[last::-1]], images[last - first] / sizes[last - first])
        sizes = np.linalg.norm(pulled, axis=1)
        first = last - int(sizes.argmax())
        found, vector = float(sizes[last - first]), pulled[last - first] / sizes[last - first]
        gained, size, run = found > (1 + GAIN) * size, found, (first, last)
        if not gained:
            break
    return size, run


def _through(products: Sequence[Callable[[Array], Array]], vector: Array) -> Array:
    """A vector after each of the products."""
    found: list[Array] = []
    for product in products:
        vector = product(vector)
        found.append(vector)
    return np.stack(found)


def _composed(steps: Sequence[LinearOperator]) -> LinearOperator:
    """All steps as one."""

    def there(v: Array) -> Array:
        return _through([step.matvec for step in steps], v)[-1]

    def back(w: Array) -> Array:
        return _through([step.rmatvec for step in steps[::-1]], w)[-1]

    return LinearOperator(steps[0].shape, matvec=there, rmatvec=back, dtype=steps[0].dtype)
