"""One step of a scheme on u' = J u from products J v alone, where J is too large to be made as a matrix."""

from __future__ import annotations

import numpy as np
from scipy.sparse.linalg import LinearOperator, gmres

from odenets import Scheme

from .jacobian import Array, Jacobian
from .layer_scheme import Channels
from .step_matrix import combined, entries_of, maps_of

#: Accuracy of the stages of an implicit step, relative; one that is not reached ends the search.
STAGES = 1e-11


class StagesUnsolved(ArithmeticError):
    """The stage equations of an implicit step were not solved."""


def step_operator(jacobian: Jacobian, scheme: Scheme, h: float, values: Channels) -> LinearOperator:
    """M(hJ) on all that a step carries, I + hJ for Euler: products with J are all that it takes.

    Args:
        jacobian: of one sample, N numbers.
        scheme: may have symbols.
        h: step size.
        values: of the symbols, for each of the m = N / components numbers of a component.

    Raises (its products):
        StagesUnsolved: I - Z A, solved by GMRES, is too near a matrix without an inverse.
    """
    m, r, s = jacobian.size // scheme.components, scheme.carried, scheme.stages
    A, U, B, V = (entries_of(block, values) for block in (scheme.A, scheme.U, scheme.B, scheme.V))
    maps = maps_of(scheme)

    def slope(i: int, y: Array) -> Array:
        part, (takes, yields) = maps[i]
        whole = np.zeros((scheme.components, m, 1), dtype=jacobian.dtype)
        whole[takes] = y
        return part * h * jacobian.apply(whole.reshape(-1)).reshape(scheme.components, m, 1)[yields]

    def stages(carried: Array) -> Array:
        start = [combined(U[i], carried) for i in range(s)]
        slopes = np.zeros((s, m, 1), dtype=jacobian.dtype)
        if scheme.explicit:
            for i in scheme.evaluation_order:
                slopes[i] = slope(i, start[i] + combined(A[i], slopes))
            return slopes

        def equation(flat: Array) -> Array:
            inner = flat.reshape(s, m, 1)
            return flat - np.concatenate([slope(i, combined(A[i], inner)) for i in range(s)]).reshape(-1)

        right = np.concatenate([slope(i, start[i]) for i in range(s)]).reshape(-1)
        matrix = LinearOperator((s * m, s * m), matvec=equation, dtype=jacobian.dtype)
        found, failed = gmres(matrix, right, rtol=STAGES, atol=0.0, restart=50, maxiter=4)
        if failed:
            raise StagesUnsolved
        return np.asarray(found).reshape(s, m, 1)

    def product(flat: Array) -> Array:
        carried = flat.reshape(r, m, 1)
        slopes = stages(carried)
        return np.concatenate([combined(B[i], slopes) + combined(V[i], carried) for i in range(r)]).reshape(-1)

    return LinearOperator((r * m, r * m), matvec=product, dtype=jacobian.dtype)
