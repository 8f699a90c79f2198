"""One step of a scheme on u' = J u as the matrix it is: its norm, and its spectral radius with a k for each channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import sympy
from scipy.linalg import eigvals
from scipy.sparse.linalg import ArpackNoConvergence, svds

from odenets import Scheme

from ...linear.resolve import z
from ...linear.stability import shares, stability_matrix
from .jacobian import Array, Jacobian
from .layer_scheme import Channels

#: Dimension up to which a full decomposition takes less than a second.
LARGE = 1200


@dataclass(frozen=True)
class StepNorms:
    """Of the steps of the samples the largest.

    Attributes:
        norm: ||M(hJ)||_2; inf where a stage equation has no solution.
        normal: what it would be for a normal J of the same eigenvalues, max ||M(h lambda)||_2.
        radius: the spectral radius of M, where the channels have coefficients of their own; else None.
    """

    norm: float
    normal: float
    radius: float | None


def step_norms(
    jacobians: Sequence[Jacobian], points: Array, h: float, *, free: Scheme, mean: Scheme, values: Channels
) -> StepNorms | None:
    """What needs the matrices J; None where they were not made, or functions that are added do not give them.

    Args:
        jacobians: of the samples.
        points: h lambda of all samples together.
        h: step size.
        free: the layer's scheme with its symbols.
        mean: the same, its symbols at their means.
        values: of the symbols, for each number of a component of the state.
    """
    matrices = [jacobian.matrix for jacobian in jacobians if jacobian.matrix is not None]
    added = free.components == 1 and len(free.functions) > 1 and not free.A.is_zero_matrix
    if len(matrices) < len(jacobians) or added:
        return None
    normal = float(_norms(mean, points).max())
    ranged = any(value.min() < value.max() for value in values.values())
    found = []
    for matrix in matrices:  # one at a time: with a history they are larger than J
        step = step_matrix(free, matrix if h == 1 else h * matrix, values)
        if not np.isfinite(step).all():
            return StepNorms(np.inf, normal, np.inf if ranged else None)
        found.append((spectral_norm(step), float(np.abs(eigvals(step)).max()) if ranged else 0.0))
    norm, radius = (max(column) for column in zip(*found, strict=True))
    return StepNorms(norm, normal, radius if ranged else None)


def step_matrix(scheme: Scheme, J: Array, values: Channels) -> Array:
    """M = V + B (I - Z A)^-1 Z U with matrices as entries: Z of the stages' Jacobians, numbers as diag(values).

    Args:
        scheme: may have symbols.
        J: h times the Jacobian of the whole state, N x N. Of a partitioned scheme its blocks are used.
        values: symbol -> m = N / components numbers.

    Returns:
        r m x r m, r the carried values; for lm [[I - K + hJ, K], [I, 0]]. inf where I - Z A has no inverse.

    Source: Butcher, Numerical Methods for Ordinary Differential Equations (2008), section 52.
    """
    m, r, s = len(J) // scheme.components, scheme.carried, scheme.stages
    A, U, B, V = (_entries(block, values) for block in (scheme.A, scheme.U, scheme.B, scheme.V))
    blocks = [(part, J[y * m : (y + 1) * m, x * m : (x + 1) * m]) for part, (x, y) in _maps(scheme)]
    parts = [block if part == 1 else part * block for part, block in blocks]
    carried = np.eye(r * m).reshape(r, m, r * m)
    start = [_sum(U[i], carried) for i in range(s)]
    slopes = np.zeros((s, m, r * m))
    if scheme.explicit:
        for i in scheme.evaluation_order:
            slopes[i] = parts[i] @ (start[i] + _sum(A[i], slopes))
    else:
        # G_i diag(A_ij), which multiplies columns
        coupling = [[parts[i] * np.broadcast_to(A[i][j], (m, 1)).T for j in range(s)] for i in range(s)]
        right = np.concatenate([part @ y for part, y in zip(parts, start, strict=True)])
        try:
            slopes = np.linalg.solve(np.eye(s * m) - np.block(coupling), right).reshape(s, m, r * m)
        except np.linalg.LinAlgError:
            return np.full((r * m, r * m), np.inf)
    return np.concatenate([_sum(B[i], slopes) + _sum(V[i], carried) for i in range(r)])


def spectral_norm(matrix: Array) -> float:
    """||matrix||_2; of large ones by ARPACK, where a full decomposition would take minutes."""
    if len(matrix) > LARGE:
        start = np.random.default_rng(0).standard_normal(len(matrix))
        try:
            return float(svds(matrix, k=1, v0=start, return_singular_vectors=False)[0])
        except ArpackNoConvergence:
            pass  # two singular values that are nearly the same: the decomposition has no trouble with these
    return float(np.linalg.norm(matrix, 2))


def _maps(scheme: Scheme) -> list[tuple[float, tuple[int, int]]]:
    """For each stage its part of u' = f, and the components (takes, yields) of its function."""
    found = zip(shares(scheme), scheme.colours, strict=True)
    return [(float(share), scheme.functions[colour]) for share, colour in found]


def _entries(block: sympy.MatrixBase, values: Channels) -> list[list[Array]]:
    """Entries as columns of shape (m, 1), or (1, 1) where no symbol is in them."""
    symbols = sorted(block.free_symbols, key=str)
    columns = [values[str(symbol)][:, None] for symbol in symbols]

    def entry(expression: sympy.Expr) -> Array:
        if not expression.free_symbols:
            return np.full((1, 1), float(expression))
        return np.asarray(sympy.lambdify(symbols, expression, "numpy")(*columns), dtype=float)

    return [[entry(block[i, j]) for j in range(block.cols)] for i in range(block.rows)]


def _sum(row: Sequence[Array], terms: Array) -> Array:
    total: Array = np.zeros(terms.shape[1:])
    for factor, term in zip(row, terms, strict=True):
        if factor.any():
            total += term if (factor == 1).all() else factor * term
    return total


def _norms(scheme: Scheme, points: Array) -> Array:
    """||M(z)||_2 at the points; inf at a pole."""
    matrix = stability_matrix(scheme)
    found = np.empty((len(points), *matrix.shape), dtype=complex)
    with np.errstate(divide="ignore", invalid="ignore"):
        for i, j in np.ndindex(*matrix.shape):
            found[:, i, j] = sympy.lambdify(z, matrix[i, j], "numpy")(points)
    finite = np.isfinite(found).all(axis=(1, 2))
    norms: Array = np.full(len(points), np.inf)
    norms[finite] = np.linalg.norm(found[finite], 2, axis=(1, 2))
    return norms
