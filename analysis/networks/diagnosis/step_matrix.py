"""One step of a scheme on u' = J u as the matrix it is: its norm, and its spectral radius with a k for each channel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import sympy
from scipy.linalg import eigvals
from scipy.sparse.linalg import ArpackNoConvergence, svds

from odenets import Scheme

from ...linear.region import step_matrices
from ...linear.stability import shares
from .jacobian import Array, Jacobian
from .layer_scheme import Channels

#: A matrix of a scheme, of numbers for each number of a component.
Entries = list[list[Array]]
#: Dimension up to which a full decomposition takes less than a second.
LARGE = 1200


class StepMatrices:
    """The steps of the samples as matrices, one at a time, since with a history they are larger than J.

    Nothing is known where the J were not made, or where functions that are added do not give them.

    Args:
        jacobians: of the samples.
        h: step size.
        free: the layer's scheme with its symbols.
        values: of the symbols, for each number of a component of the state.

    Attributes:
        ranged: whether the channels have coefficients of their own.
        norm: the largest ||M(hJ)||_2; inf where a stage equation has no solution, None where it is not known.
        radius: the largest spectral radius of M where they have; else None.
    """

    def __init__(self, jacobians: Sequence[Jacobian], h: float, *, free: Scheme, values: Channels) -> None:
        follows = known_by_jacobian(free)
        known = [jacobian.matrix for jacobian in jacobians if follows and jacobian.matrix is not None]
        self._matrices = known if len(known) == len(jacobians) else []
        self._h, self._scheme, self._values = h, free, values
        self.ranged = any(value.min() < value.max() for value in values.values())
        self.norm: float | None = None
        self.radius: float | None = None
        for step in self._steps():
            finite = bool(np.isfinite(step).all())
            self.norm = max(self.norm or 0.0, spectral_norm(step) if finite else np.inf)
            if self.ranged:
                self.radius = max(self.radius or 0.0, float(np.abs(eigvals(step)).max()) if finite else np.inf)

    def _steps(self) -> Iterator[Array]:
        for matrix in self._matrices:
            yield step_matrix(self._scheme, matrix if self._h == 1 else self._h * matrix, self._values)


def known_by_jacobian(scheme: Scheme) -> bool:
    """Whether J says what a step does: not where functions that are added are evaluated one after the other."""
    return scheme.components > 1 or not scheme.several or bool(scheme.A.is_zero_matrix)


def normal_norm(schemes: Sequence[Scheme], points: Array, count: int = 1, factor: float = 1.0) -> float:
    """For a normal J of these h lambda max ||M(z)^n||_2 / factor^n over n = 1 ... count, and over the schemes."""
    powers = range(1, count + 1)
    return max(float(_norms(scheme, points, n).max()) / factor**n for scheme in schemes for n in powers)


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
    A, U, B, V = (entries_of(block, values) for block in (scheme.linear_A, scheme.U, scheme.B, scheme.V))
    blocks = [(part, J[y * m : (y + 1) * m, x * m : (x + 1) * m]) for part, (x, y) in maps_of(scheme)]
    parts = [block if part == 1 else part * block for part, block in blocks]
    carried = np.eye(r * m).reshape(r, m, r * m)
    start = [combined(U[i], carried) for i in range(s)]
    slopes = np.zeros((s, m, r * m))
    if scheme.explicit:
        for i in scheme.evaluation_order:
            slopes[i] = parts[i] @ (start[i] + combined(A[i], slopes))
    else:
        # G_i diag(A_ij), which multiplies columns
        coupling = [[parts[i] * np.broadcast_to(A[i][j], (m, 1)).T for j in range(s)] for i in range(s)]
        right = np.concatenate([part @ y for part, y in zip(parts, start, strict=True)])
        try:
            slopes = np.linalg.solve(np.eye(s * m) - np.block(coupling), right).reshape(s, m, r * m)
        except np.linalg.LinAlgError:
            return np.full((r * m, r * m), np.inf)
    return np.concatenate([combined(B[i], slopes) + combined(V[i], carried) for i in range(r)])


def spectral_norm(matrix: Array) -> float:
    """||matrix||_2; of large ones by ARPACK, where a full decomposition would take minutes."""
    if len(matrix) > LARGE:
        start = np.random.default_rng(0).standard_normal(len(matrix))
        try:
            return float(svds(matrix, k=1, v0=start, return_singular_vectors=False)[0])
        except ArpackNoConvergence:
            pass  # two singular values that are nearly the same: the decomposition has no trouble with these
    return float(np.linalg.norm(matrix, 2))


def maps_of(scheme: Scheme) -> list[tuple[float, tuple[int, int]]]:
    """For each stage its part of u' = f, and the components (takes, yields) of its function."""
    found = zip(shares(scheme), scheme.colours, strict=True)
    return [(float(share), scheme.functions[colour]) for share, colour in found]


def entries_of(block: sympy.MatrixBase, values: Channels) -> Entries:
    """Entries as columns of shape (m, 1), or (1, 1) where no symbol is in them."""
    symbols = sorted(block.free_symbols, key=str)
    columns = [values[str(symbol)][:, None] for symbol in symbols]

    def entry(expression: sympy.Expr) -> Array:
        if not expression.free_symbols:
            return np.full((1, 1), float(expression))
        return np.asarray(sympy.lambdify(symbols, expression, "numpy")(*columns), dtype=float)

    return [[entry(block[i, j]) for j in range(block.cols)] for i in range(block.rows)]


def combined(row: Sequence[Array], terms: Array) -> Array:
    """A row of entries times what they belong to."""
    total: Array = np.zeros(terms.shape[1:])
    for factor, term in zip(row, terms, strict=True):
        if factor.any():
            total += term if (factor == 1).all() else factor * term
    return total


def _norms(scheme: Scheme, points: Array, power: int) -> Array:
    """||M(z)^power||_2 at the points; inf at a pole."""
    with np.errstate(over="ignore", invalid="ignore"):
        found = np.linalg.matrix_power(step_matrices(scheme, points), power)
    finite = np.isfinite(found).all(axis=(1, 2))
    norms: Array = np.full(len(points), np.inf)
    norms[finite] = np.linalg.norm(found[finite], 2, axis=(1, 2))
    return norms
