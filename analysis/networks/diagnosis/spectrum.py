"""Eigenvalues, logarithmic norm and largest singular value of a Jacobian, over some samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any

import numpy as np
from scipy.linalg import eigvalsh, svdvals
from scipy.sparse.linalg import ArpackError, ArpackNoConvergence, LinearOperator, eigs, eigsh

from .conditioning import backward_error, eigenvalues, error_bound
from .jacobian import Array, Jacobian
from .spectrum_record import FAR, Options, Spectrum
from .step_operator import StagesUnsolved

#: ARPACK's names of the ends: largest modulus, largest and smallest real part, largest imaginary part
ENDS = ("LM", "LR", "SR", "LI")
#: The end that tells whether the equation grows. Whether the network does, the search for the largest |zeta| tells.
DECIDING = ("LR",)
SMALLEST = 8  # a Krylov space is no smaller than the whole one below this dimension
RESTARTS = 100
#: Of a search for the largest |zeta|: where all roots are on the circle (leapfrog) it ends without any.
STEP_RESTARTS = 30
#: ||(J J^T - J^T J) v|| beyond so much of ||J||^2 ||v|| is no rounding: J is not normal. Random v, of a transport
#: equation of 10,000 points 1e-2, whose computed eigenvalues may be wrong though ||J|| is hardly larger than they are.
NOT_NORMAL = 1e-3
#: Ends whose condition numbers are below this are well known, and so is what lies between them.
SENSITIVE = 1e3
SPACE = 48  # dimension of the Krylov space, at least: with scipy's 2 k + 1 the left end did not converge


Step = Callable[[Jacobian], LinearOperator]


@dataclass(frozen=True)
class _Sample:
    """The same of one sample; ``ends``: lowest, log norm, ||J||, turning."""

    eigenvalues: Array
    complete: bool
    residual: float
    missing: int
    ends: tuple[float, float, float, float]
    conditions: Array
    error: float
    factor: float | None = None


def spectrum(jacobians: Sequence[Jacobian], options: Options, step: Step | None = None) -> Spectrum:
    """The spectra of the samples' Jacobians together; ``step`` makes the step of the layer of one."""
    small = max(options.dense_limit, SMALLEST)
    found = [_dense(j) if j.size <= small else _extremal(j, options, step) for j in jacobians]
    lowest, log_norm, singular, turning = zip(*(sample.ends for sample in found), strict=True)
    factors = [sample.factor for sample in found if sample.factor is not None]
    conditions = [float(value) for sample in found for value in sample.conditions]
    limits = [
        (sample.error, error_bound(jacobian.size, sample.ends[2], sample.error))
        for jacobian, sample in zip(jacobians, found, strict=True)
        for _ in sample.conditions
    ]
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
        turning=turning,
        conditions=tuple(conditions),
        errors=tuple(min(c * error, most) for c, (error, most) in zip(conditions, limits, strict=True)),
        factor=max(factors) if len(factors) == len(found) else None,
    )


def _dense(jacobian: Jacobian) -> _Sample:
    matrix = jacobian.dense()
    symmetric, skew = eigvalsh((matrix + matrix.T) / 2), (matrix - matrix.T) / 2
    norm, turning = float(svdvals(matrix)[0]), float(svdvals(skew)[0])
    values, conditions = eigenvalues(matrix)
    error = backward_error(len(matrix), norm, matrix.dtype)
    ends = (float(symmetric[0]), float(symmetric[-1]), norm, turning)
    return _Sample(values, True, 0.0, 0, ends, conditions, error)


def _extremal(jacobian: Jacobian, options: Options, step: Step | None) -> _Sample:
    """The ends of the spectrum; the start vector is the same whatever else draws random numbers."""
    start = _start(jacobian.size, jacobian, options)
    if not (jacobian.apply(start).any() or jacobian.transpose(start).any()):
        zero = np.zeros(1, complex)
        return _Sample(zero, True, 0.0, 0, (0.0, 0.0, 0.0, 0.0), np.ones(1), 0.0)  # J = 0, on which ARPACK fails
    ends, missing = _bounds(jacobian, start, options.tolerance)
    # scipy asks for k < N - 1; pairs need a vector more.
    k = min(options.values, jacobian.size - 3)
    wanted = DECIDING if options.quick else ENDS
    values, vectors, lost = _ends(jacobian.operator(), k, start, options.tolerance, wanted)
    scale = ends[2] if np.isfinite(ends[2]) else float(np.abs(values).max(initial=0.0))
    # Ends that overlap agree to about the tolerance; in float32 a thousand times that would merge neighbours.
    near = min(1e3 * options.tolerance, 1e-4) * scale
    factor = None
    if step is not None:
        factor, (more, own) = _multiplied_most(jacobian, step(jacobian), options, k=k, near=near)
        values, vectors = np.concatenate([values, more]), np.concatenate([vectors, own], axis=1)
    values, vectors = _upper_distinct(values, vectors, near)
    residual = max(_residuals(jacobian, values, vectors), default=0.0) / (scale or 1.0)
    conditions: Array = np.full(len(values), np.nan)
    far = scale > FAR * np.abs(values).max(initial=0.0)
    if far or not _is_normal(jacobian, start, scale):
        transposed = LinearOperator(jacobian.operator().shape, matvec=jacobian.transpose, dtype=jacobian.dtype)
        conditions = _conditions(
            values, vectors, *_ends(transposed, k, start, options.tolerance, wanted)[:2], near=near
        )
        firm = conditions < SENSITIVE
        if not far and firm.any() and firm[np.isfinite(conditions)].all():
            conditions[~firm] = np.nan
    pairs, conditions = _with_conjugates(values, conditions)
    error = max(options.tolerance, residual) * scale
    return _Sample(pairs, False, residual, missing + lost, ends, conditions, error, factor)


def _start(size: int, jacobian: Jacobian, options: Options) -> Array:
    drawn: Array = np.random.default_rng(options.seed).standard_normal(size).astype(jacobian.dtype)
    return drawn


def _ends(
    operator: LinearOperator, k: int, start: Array, tolerance: float, wanted: Sequence[str] = ENDS
) -> tuple[Array, Array, int]:
    """Values and vectors of the ends, and how many did not converge."""
    found = [_arpack(eigs, operator, k, which, start=start, tolerance=tolerance) for which in wanted]
    values = np.concatenate([pair[0] for pair, _ in found]).astype(complex)
    return values, np.concatenate([pair[1] for pair, _ in found], axis=1), sum(lost for _, lost in found)


def _multiplied_most(
    jacobian: Jacobian, step: LinearOperator, options: Options, *, k: int, near: float
) -> tuple[float | None, tuple[Array, Array]]:
    """The largest |zeta|, and the eigenvalues of J that a step multiplies most, with their vectors.

    An eigenvalue in the middle of the spectrum is at no end of it and may all the same be the most unstable
    one. A vector of the step begins with one of J, unless several eigenvalues share a root.
    """
    start = _start(step.shape[0], jacobian, options)
    none = np.empty(0, complex), np.empty((jacobian.size, 0), complex)
    try:
        (roots, found), lost = _arpack(
            eigs, step, k, "LM", start=start, tolerance=options.tolerance, restarts=min(STEP_RESTARTS, RESTARTS)
        )
    except StagesUnsolved:
        return None, none
    vectors = found[: jacobian.size]
    sizes = np.linalg.norm(vectors, axis=0)
    vectors = vectors[:, sizes > np.sqrt(options.tolerance)]
    images = [jacobian.apply(v.real) + 1j * jacobian.apply(v.imag) for v in vectors.T]
    pairs = zip(vectors.T, images, strict=True)
    values = np.array([np.vdot(v, image) / np.vdot(v, v) for v, image in pairs], dtype=complex)
    own = [bool(r <= near) for r in _residuals(jacobian, values, vectors)]
    return None if lost else float(np.abs(roots).max()), (values[own], vectors[:, own])


def largest_factor(jacobian: Jacobian, step: LinearOperator, options: Options) -> float | None:
    """The largest |zeta| of a step as an operator; None where ARPACK did not converge."""
    return _multiplied_most(jacobian, step, options, k=min(options.values, jacobian.size - 3), near=0.0)[0]


def _is_normal(jacobian: Jacobian, v: Array, norm: float) -> bool:
    """Whether J J^T v = J^T J v, of which a random v leaves nothing out."""
    gap = jacobian.apply(jacobian.transpose(v)) - jacobian.transpose(jacobian.apply(v))
    return bool(np.linalg.norm(gap) <= NOT_NORMAL * norm**2 * np.linalg.norm(v))


def _conditions(values: Array, vectors: Array, others: Array, left: Array, *, near: float) -> Array:
    """|x| |y| / |y^T x| with J^T y = lambda y; inf where no eigenvalue of J^T is the same."""
    found = np.full(len(values), np.inf)
    for place, value in enumerate(values):
        distance = np.abs(others - value)
        if len(others) and distance.min() <= near:
            x, y = vectors[:, place], left[:, int(distance.argmin())]
            with np.errstate(divide="ignore"):
                found[place] = max(np.linalg.norm(x) * np.linalg.norm(y) / np.abs(y @ x), 1.0)
    return found


def _bounds(jacobian: Jacobian, start: Array, tolerance: float) -> tuple[tuple[float, float, float, float], int]:
    """Both ends of the spectrum of (J + J^T)/2, ||J||_2 by J^T J, that of (J - J^T)/2; NaN for what was not found."""
    (ends, _), lost = _arpack(eigsh, jacobian.symmetric_part(), 2, "BE", start=start, tolerance=tolerance)
    operator = jacobian.operator()
    (squares, _), more = _arpack(eigsh, operator.H @ operator, 1, "LM", start=start, tolerance=tolerance)
    skew = jacobian.skew_part()
    (turns, _), rest = _arpack(eigsh, skew.H @ skew, 1, "LM", start=start, tolerance=tolerance)
    low, high = (np.nan, np.nan) if lost else (float(min(ends)), float(max(ends)))
    norm, turning = (np.nan if gone else float(np.sqrt(max(s[0], 0.0))) for gone, s in ((more, squares), (rest, turns)))
    return (low, high, norm, turning), lost + more


def _arpack(
    solve: Callable[..., Any],
    operator: Any,
    k: int,
    which: str,
    *,
    start: Array,
    tolerance: float,
    restarts: int | None = None,
) -> tuple[tuple[Array, Array], int]:
    """(values, vectors) that converged, and how many of the k asked for did not."""
    space = min(len(start), max(8 * k, SPACE))
    options: dict[str, Any] = {"ncv": space, "v0": start, "tol": tolerance, "maxiter": restarts or RESTARTS}
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


def _upper_distinct(values: Array, vectors: Array, near: float) -> tuple[Array, Array]:
    """Those of Im >= 0 for all, that are no earlier one's: the ends overlap, and share their values."""
    vectors = np.where(values.imag < 0, vectors.conj(), vectors)
    values = np.where(values.imag < 0, values.conj(), values)
    kept: list[int] = []
    for place, value in enumerate(values):
        if all(abs(value - values[other]) > near for other in kept):
            kept.append(place)
    return values[kept], vectors[:, kept]


def _with_conjugates(values: Array, conditions: Array) -> tuple[Array, Array]:
    upper = values.imag > 0
    found, twice = np.append(values, values[upper].conj()), np.append(conditions, conditions[upper])
    order = np.lexsort((found.imag, found.real))
    return found[order], twice[order]


def _residuals(jacobian: Jacobian, values: Array, vectors: Array) -> list[float]:
    """||J v - lambda v|| / ||v|| of each, by products that no search has used."""
    found = []
    for value, vector in zip(values, vectors.T, strict=True):
        image = jacobian.recorded(vector.real) + 1j * jacobian.recorded(vector.imag)
        found.append(float(np.linalg.norm(image - value * vector) / np.linalg.norm(vector)))
    return found
