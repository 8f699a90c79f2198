"""Eigenvalues, logarithmic norm and largest singular value of a Jacobian, over some samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

import numpy as np
from scipy.linalg import eigvals, eigvalsh, svdvals
from scipy.sparse.linalg import ArpackError, ArpackNoConvergence, eigs, eigsh

from .jacobian import Array, Jacobian

#: ARPACK's names of the ends: largest modulus, largest and smallest real part, largest imaginary part
ENDS = ("LM", "LR", "SR", "LI")
SMALLEST = 8  # a Krylov space is no smaller than the whole one below this dimension
RESTARTS = 100
SPACE = 48  # dimension of the Krylov space, at least: with scipy's 2 k + 1 the left end did not converge


@dataclass(frozen=True)
class Options:
    """How spectra are computed: dense up to ``dense_limit`` dimensions, else ``values`` at each end."""

    dense_limit: int
    values: int
    tolerance: float
    seed: int


@dataclass(frozen=True)
class Spectrum:
    """What is known of the eigenvalues of J = df/du over the samples.

    Attributes:
        eigenvalues: of all samples together; conjugate pairs in full. Empty if none converged.
        samples: how many samples.
        complete: whether they are all eigenvalues, from the dense matrix; else those at the ends of
            the spectrum (largest modulus, largest and smallest real part, largest imaginary part).
        residual: the largest ||J v - lambda v|| / ||J||_2 with ||v|| = 1 that was measured; 0.0 for
            the dense matrix, whose eigenvalues come from a backward stable method.
        missing: values asked for that ARPACK did not find to its tolerance.
        log_norm: of each sample the logarithmic 2-norm, the largest eigenvalue of (J + J^T)/2.
        lowest: of each sample the smallest eigenvalue of (J + J^T)/2; every Re lambda lies between.
        singular: of each sample ||J||_2, the largest singular value; no |lambda| is larger.
        products: products with J or J^T.

    Source: Söderlind (2006), The logarithmic norm, for the bounds; Lehoucq, Sorensen & Yang (1998)
    for the implicitly restarted Arnoldi process of ARPACK.
    """

    eigenvalues: tuple[complex, ...] = field(repr=False)
    samples: int
    complete: bool
    residual: float
    missing: int
    log_norm: tuple[float, ...]
    lowest: tuple[float, ...]
    singular: tuple[float, ...]
    products: int

    @property
    def abscissa(self) -> float:
        """The largest real part."""
        return max(value.real for value in self.eigenvalues)

    @property
    def radius(self) -> float:
        """The largest modulus."""
        return max(map(abs, self.eigenvalues))

    @property
    def norm(self) -> float:
        """The largest ||J||_2 over the samples; NaN if none was found."""
        return _largest(self.singular)

    @property
    def bounds(self) -> tuple[float, float]:
        """What all real parts lie between, over the samples; NaN where it was not found."""
        return -_largest([-value for value in self.lowest]), _largest(self.log_norm)


def _largest(values: Sequence[float]) -> float:
    return max((value for value in values if np.isfinite(value)), default=np.nan)


@dataclass(frozen=True)
class _Sample:
    """The same of one sample."""

    eigenvalues: Array
    complete: bool
    residual: float
    missing: int
    ends: tuple[float, float, float]


def spectrum(jacobians: Sequence[Jacobian], options: Options) -> Spectrum:
    """The spectra of the samples' Jacobians together."""
    found = [_dense(j) if j.size <= max(options.dense_limit, SMALLEST) else _extremal(j, options) for j in jacobians]
    lowest, log_norm, singular = zip(*(sample.ends for sample in found), strict=True)
    return Spectrum(
        eigenvalues=tuple(complex(value) for sample in found for value in sample.eigenvalues),
        samples=len(found),
        complete=all(sample.complete for sample in found),
        residual=max(sample.residual for sample in found),
        missing=sum(sample.missing for sample in found),
        log_norm=log_norm,
        lowest=lowest,
        singular=singular,
        products=sum(j.products for j in jacobians),
    )


def _dense(jacobian: Jacobian) -> _Sample:
    matrix = jacobian.dense()
    symmetric = eigvalsh((matrix + matrix.T) / 2)
    ends = (float(symmetric[0]), float(symmetric[-1]), float(svdvals(matrix)[0]))
    return _Sample(np.sort_complex(eigvals(matrix)), True, 0.0, 0, ends)


def _extremal(jacobian: Jacobian, options: Options) -> _Sample:
    """The ends of the spectrum; the start vector is the same whatever else draws random numbers."""
    start = np.random.default_rng(options.seed).standard_normal(jacobian.size).astype(jacobian.dtype)
    if not (jacobian.apply(start).any() or jacobian.transpose(start).any()):
        return _Sample(np.zeros(1, complex), True, 0.0, 0, (0.0, 0.0, 0.0))  # J = 0, on which ARPACK fails
    ends, missing = _bounds(jacobian, start, options.tolerance)
    values: Array = np.empty(0, complex)
    vectors: Array = np.empty((jacobian.size, 0), complex)
    # scipy asks for k < N - 1; pairs need a vector more.
    k = min(options.values, jacobian.size - 3)
    for which in ENDS:
        found, lost = _arpack(eigs, jacobian.operator(), k, which, start=start, tolerance=options.tolerance)
        missing += lost
        values, vectors = np.append(values, found[0]), np.concatenate([vectors, found[1]], axis=1)
    vectors = np.where(values.imag < 0, vectors.conj(), vectors)
    values = np.where(values.imag < 0, values.conj(), values)
    scale = ends[2] if np.isfinite(ends[2]) else float(np.abs(values).max(initial=0.0))
    # Ends that overlap agree to about the tolerance; in float32 a thousand times that would merge neighbours.
    keep = _distinct(values, min(1e3 * options.tolerance, 1e-4) * scale)
    residual = _residual(jacobian, values[keep], vectors[:, keep], scale)
    return _Sample(_with_conjugates(values[keep]), False, residual, missing, ends)


def _bounds(jacobian: Jacobian, start: Array, tolerance: float) -> tuple[tuple[float, float, float], int]:
    """Both ends of the spectrum of (J + J^T)/2 and, from J^T J, ||J||_2; NaN for what was not found."""
    (ends, _), lost = _arpack(eigsh, jacobian.symmetric_part(), 2, "BE", start=start, tolerance=tolerance)
    operator = jacobian.operator()
    (squares, _), more = _arpack(eigsh, operator.H @ operator, 1, "LM", start=start, tolerance=tolerance)
    low, high = (np.nan, np.nan) if lost else (float(min(ends)), float(max(ends)))
    return (low, high, np.nan if more else float(np.sqrt(max(squares[0], 0.0)))), lost + more


def _arpack(
    solve: Callable[..., Any], operator: Any, k: int, which: str, *, start: Array, tolerance: float
) -> tuple[tuple[Array, Array], int]:
    """(values, vectors) that converged, and how many of the k asked for did not."""
    space = min(len(start), max(8 * k, SPACE))
    options: dict[str, Any] = {"ncv": space, "v0": start, "tol": tolerance, "maxiter": RESTARTS}
    if "rng" in signature(solve).parameters:
        # Newer versions of scipy draw from it where a Krylov space closes early.
        options["rng"] = np.random.default_rng(0)
    try:
        values, vectors = solve(operator, k=k, which=which, **options)
    except ArpackNoConvergence as error:
        values, vectors = error.eigenvalues, error.eigenvectors
    except ArpackError:
        values, vectors = np.empty(0), np.empty((operator.shape[0], 0))
    return (values, vectors), max(k - len(values), 0)


def _distinct(values: Array, near: float) -> list[int]:
    """Places of the values that are no earlier one's: the ends overlap, and share their values."""
    kept: list[int] = []
    for place, value in enumerate(values):
        if all(abs(value - values[other]) > near for other in kept):
            kept.append(place)
    return kept


def _with_conjugates(values: Array) -> Array:
    pairs = values[values.imag > 0]
    return np.sort_complex(np.concatenate([values, pairs.conj()]))


def _residual(jacobian: Jacobian, values: Array, vectors: Array, scale: float) -> float:
    """The largest ||J v - lambda v|| over the unit vectors, in units of ||J||_2, by products of its own."""
    worst = 0.0
    for value, vector in zip(values, vectors.T, strict=True):
        image = jacobian.apply(vector.real) + 1j * jacobian.apply(vector.imag)
        worst = max(worst, float(np.linalg.norm(image - value * vector) / np.linalg.norm(vector)))
    return worst / scale if scale > 0 else worst
