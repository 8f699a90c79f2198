"""One step of a scheme on u' = J u from products J v alone, where J is too large to be made as a matrix."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.sparse.linalg import LinearOperator, gmres

from odenets import Scheme

from .jacobian import Array, Jacobian
from .layer_scheme import Channels
from .step_matrix import Entries, combined, entries_of, maps_of

#: Accuracy of the stages of an implicit step, relative, and in units of rounding where that is more (float32); one
#: that is not reached ends the search.
STAGES, ROUNDING = 1e-11, 100.0


class StagesUnsolved(ArithmeticError):
    """The stage equations of an implicit step were not solved."""


def step_operator(jacobian: Jacobian, scheme: Scheme, h: float, values: Channels) -> LinearOperator:
    """M(hJ) on all that a step carries, I + hJ for Euler: products with J are all that it takes.

    Its transpose, for Z of the stages' Jacobians, is M^T = V^T + U^T (I - Z^T A^T)^-1 Z^T B^T: a step of the
    scheme of the matrices A^T, B^T, U^T, V^T with J^T, its stages in the other order.

    Args:
        jacobian: of one sample, N numbers.
        scheme: may have symbols.
        h: step size.
        values: of the symbols, for each of the m = N / components numbers of a component.

    Raises (its products):
        StagesUnsolved: I - Z A, solved by GMRES, is too near a matrix without an inverse.
    """
    A, U, B, V = (entries_of(block, values) for block in (scheme.A, scheme.U, scheme.B, scheme.V))
    order = scheme.evaluation_order if scheme.explicit else None
    maps = [(h * part, takes, yields) for part, (takes, yields) in maps_of(scheme)]
    there = _product(jacobian, jacobian.apply, (A, U, B, V), maps, order)
    turned = [(part, yields, takes) for part, takes, yields in maps]
    At, Ut, Bt, Vt = (list(map(list, zip(*block, strict=True))) for block in (A, U, B, V))
    back = _product(jacobian, jacobian.transpose, (At, Bt, Ut, Vt), turned, order and order[::-1])
    size = scheme.carried * jacobian.size // scheme.components
    return LinearOperator((size, size), matvec=there, rmatvec=back, dtype=jacobian.dtype)


def _product(
    jacobian: Jacobian,
    apply: Callable[[Array], Array],
    blocks: tuple[Entries, Entries, Entries, Entries],
    maps: Sequence[tuple[float, int, int]],
    order: Sequence[int] | None,
) -> Callable[[Array], Array]:
    """The step of the matrices A, U, B, V with J, or its transpose, as ``apply``; ``order`` of explicit stages."""
    A, U, B, V = blocks
    s, r = len(A), len(V)
    components = max(max(takes, yields) for _, takes, yields in maps) + 1
    m = jacobian.size // components
    accuracy = max(STAGES, ROUNDING * float(np.finfo(jacobian.dtype).eps))

    def slope(i: int, y: Array) -> Array:
        part, takes, yields = maps[i]
        whole = np.zeros((components, m, 1), dtype=jacobian.dtype)
        whole[takes] = y
        return part * apply(whole.reshape(-1)).reshape(components, m, 1)[yields]

    def stages(carried: Array) -> Array:
        start = [combined(U[i], carried) for i in range(s)]
        slopes = np.zeros((s, m, 1), dtype=jacobian.dtype)
        if order is not None:
            for i in order:
                slopes[i] = slope(i, start[i] + combined(A[i], slopes))
            return slopes

        def equation(flat: Array) -> Array:
            inner = flat.reshape(s, m, 1)
            return flat - np.concatenate([slope(i, combined(A[i], inner)) for i in range(s)]).reshape(-1)

        right = np.concatenate([slope(i, start[i]) for i in range(s)]).reshape(-1)
        matrix = LinearOperator((s * m, s * m), matvec=equation, dtype=jacobian.dtype)
        found, failed = gmres(matrix, right, rtol=accuracy, atol=0.0, restart=50, maxiter=4)
        if failed:
            raise StagesUnsolved
        return np.asarray(found).reshape(s, m, 1)

    def product(flat: Array) -> Array:
        carried = flat.reshape(r, m, 1)
        slopes = stages(carried)
        return np.concatenate([combined(B[i], slopes) + combined(V[i], carried) for i in range(r)]).reshape(-1)

    return product
