"""What is known of the spectrum of a layer, and how it is to be computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

#: ||J|| beyond so many times the largest |lambda| is called far from normal; ||step|| the same.
FAR = 1.5


@dataclass(frozen=True)
class Options:
    """How spectra are computed: dense up to ``dense_limit`` dimensions, else ``values`` at each end.

    ``quick``: at the right end alone, besides those that a step multiplies most.
    """

    dense_limit: int
    values: int
    tolerance: float
    seed: int
    quick: bool = False


@dataclass(frozen=True)
class Spectrum:
    """What is known of the eigenvalues of J = df/du over the samples.

    Attributes:
        eigenvalues: of all samples together; conjugate pairs in full. Empty if none converged.
        samples: how many samples.
        complete: whether they are all eigenvalues, from the dense matrix; else those at the ends of
            the spectrum (largest modulus, largest and smallest real part, largest imaginary part), and
            those that a step of the layer multiplies most.
        residual: the largest ||J v - lambda v|| / ||J||_2 with ||v|| = 1 that was measured; 0.0 for
            the dense matrix, whose eigenvalues come from a backward stable method.
        missing: values asked for that ARPACK did not find to its tolerance.
        log_norm: of each sample the logarithmic 2-norm, the largest eigenvalue of (J + J^T)/2.
        lowest: of each sample the smallest eigenvalue of (J + J^T)/2; every Re lambda lies between.
        singular: of each sample ||J||_2, the largest singular value; no |lambda| is larger.
        turning: of each sample ||(J - J^T)/2||_2; no |Im lambda| is larger. With the two before it is the
            rectangle around the numerical range.
        conditions: of each eigenvalue the condition number; where J was not made NaN if J is normal or
            nothing is sensitive, and inf where no left eigenvector was found.
        errors: of each eigenvalue how far rounding, or ARPACK's tolerance, may move it: the condition number
            times the backward error e, to first order the radius of the e-pseudospectrum around it, and at most
            Elsner's bound (2 ||J||)^(1 - 1/N) e^(1/N).
        factor: the largest |zeta| of a step, by ARPACK on the step itself; None where it did not converge, or
            all eigenvalues are known.
        products: products with J or J^T.

    Source: Söderlind (2006), The logarithmic norm, for the bounds; Lehoucq, Sorensen & Yang (1998)
    for the implicitly restarted Arnoldi process of ARPACK; Trefethen & Embree (2005), Spectra and
    Pseudospectra, for what eigenvalues do not say.
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
    turning: tuple[float, ...] = ()
    conditions: tuple[float, ...] = field(default=(), repr=False)
    errors: tuple[float, ...] = field(default=(), repr=False)
    factor: float | None = None

    @property
    def condition(self) -> float:
        """The largest condition number of an eigenvalue; NaN where none is known."""
        return max((value for value in self.conditions if not np.isnan(value)), default=np.nan)

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
