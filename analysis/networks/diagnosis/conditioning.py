"""How far rounding moves the eigenvalues of a matrix that is far from normal, and what holds all the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import eig, eigvals

from odenets import Scheme

from .amplification import kinds, roots_at
from .jacobian import Array
from .spectrum_record import Spectrum

#: How an eigenvalue is moved to see whether the verdict on it stays the same: on circles, since what is stable may lie
#: within the disc of one that is not.
AROUND = np.concatenate([[0], *(np.exp(2j * np.pi * np.arange(16) / 16) / part for part in (1, 2, 4, 8))])
#: A multiple eigenvalue that a perturbation e moves by less than this times e is not sensitive, whatever its vectors.
FIRM = 10.0


def eigenvalues(matrix: Array) -> tuple[Array, Array]:
    """(eigenvalues, their condition numbers): |x| |y| / |y^H x| of the right and the left eigenvector.

    A perturbation of J by E moves a simple eigenvalue by at most its condition number times ||E||, to first
    order; 1 if J is normal. Of a multiple one that has all its vectors LAPACK returns some left and some right
    ones, that need not fit: such values do not move when J is perturbed, and get the condition number 1.

    Source: Wilkinson, The Algebraic Eigenvalue Problem (1965), 2.8; Golub & Van Loan (2013), 7.2.2.
    """
    values, left, right = eig(matrix, left=True, right=True)
    with np.errstate(divide="ignore"):
        found = 1 / np.abs(np.einsum("ij,ij->j", left.conj(), right))  # both have unit columns
    norm = float(np.linalg.norm(matrix, 2))
    error = backward_error(matrix.shape[0], norm, matrix.dtype)
    if norm > 0 and (found > FIRM).any():
        drawn = np.random.default_rng(0).standard_normal(matrix.shape)
        other = eigvals(matrix + (drawn * (error / np.linalg.norm(drawn, 2))).astype(matrix.dtype))
        moved = np.abs(values[:, None] - other[None, :]).min(axis=1) / error
        apart = np.sort(np.abs(values[:, None] - values[None, :]), axis=1)[:, 1:2].min(axis=1, initial=np.inf)
        multiple = apart < norm * np.finfo(matrix.dtype).eps ** 0.5
        found = np.where(multiple & (moved < FIRM), 1.0, found)
    order = np.lexsort((values.imag, values.real))
    return values[order], np.maximum(found, 1.0)[order]


def backward_error(size: int, norm: float, dtype: Any) -> float:
    """What the QR algorithm may add to a matrix of that norm, and its rounding does to a spectrum."""
    return float(size * np.finfo(dtype).eps * norm)


def error_bound(size: int, norm: float, error: float) -> float:
    """How far a perturbation of that size moves any eigenvalue at most.

    Source: Elsner (1985), An optimal bound for the spectral variation of two matrices.
    """
    return float((2 * norm + error) ** (1 - 1 / size) * error ** (1 / size))


@dataclass(frozen=True)
class Discs:
    """What rounding may have made of eigenvalues: discs about z = h lambda, to first order the pseudospectrum.

    Attributes:
        points: z; radii: of the discs.
        low, high: of Re z over the numerical range, which no eigenvalue leaves; turning: of |Im z|.
    """

    points: Array
    radii: Array
    low: float
    high: float
    turning: float

    def around(self, which: Array) -> Array:
        """Points of those discs, the centre first, moved into the numerical range, shape (..., directions)."""
        found = self.points[which, None] + self.radii[which, None] * AROUND
        re, im = np.clip(found.real, self.low, self.high), np.clip(found.imag, -self.turning, self.turning)
        inside: Array = re + 1j * im
        return inside


def discs_of(spectrum: Spectrum, points: Array, h: float) -> Discs:
    """The discs of a spectrum; what was not found bounds nothing."""
    low, high = sorted(h * bound for bound in spectrum.bounds)
    if not np.isfinite([low, high]).all():
        low, high = -np.inf, np.inf
    turning = abs(h) * max(spectrum.turning)
    turning = turning if np.isfinite(turning) else np.inf
    return Discs(points, abs(h) * np.array(spectrum.errors), float(low), float(high), turning)


def undecided(scheme: Scheme, discs: Discs, margin: float) -> Array:
    """For each z = h lambda whether the disc of what rounding may have made of it has points of several kinds."""
    rough = discs.radii > margin
    found = np.zeros(len(discs.points), dtype=bool)
    if rough.any():
        kind = kinds(scheme, discs.around(rough), margin)
        found[rough] = (kind != kind[:, :1]).any(axis=1)
    return found


def reach(scheme: Scheme, discs: Discs, which: Array) -> tuple[float, float]:
    """(largest Re z, largest |zeta|) over those of the discs."""
    around = discs.around(which)
    return float(around.real.max()), float(roots_at(scheme, around, 0.0)[0].max())
