"""Means and deviations over seeds, and differences paired by seed with what can be told of them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy import special

#: Part of all such intervals that hold the true value.
CONFIDENCE = 0.95
#: A difference of test errors, in %, that a study should be able to see: about what papers report as a gain.
WORTH_SEEING = 0.3
POWER = 0.8
#: Decimal places kept of a difference of two errors: beyond them is the rounding of the subtraction alone.
EXACT = 9


@dataclass(frozen=True)
class Difference:
    """One error minus another, both in %, paired by seed: negative where the first errs less.

    Attributes:
        n: pairs.
        mean: of the differences.
        deviation: their sample standard deviation; None for one pair.
        interval: ends of the 95 % interval of the mean; None for one pair, and where all differences are equal, of
            which Student's t says nothing.
        needed: seeds_needed for that deviation; None likewise.
    """

    n: int
    mean: float
    deviation: float | None
    interval: tuple[float, float] | None
    needed: int | None

    @property
    def seen(self) -> bool:
        """Whether the interval lies on one side of 0."""
        return self.interval is not None and not self.interval[0] <= 0 <= self.interval[1]


def mean_std(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation (n - 1 in the denominator); None for the latter of one value."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def paired(first: Mapping[Any, float], second: Mapping[Any, float]) -> Difference | None:
    """First minus second over the seeds that both have, or whatever else the errors are known by; None without any.

    The interval is mean ± t s/√n with t the quantile of Student's distribution of n - 1 degrees of freedom (Student
    1908). Paired, because runs of one seed share their order of images and augmentation.
    """
    seeds = sorted(first.keys() & second.keys())
    if not seeds:
        return None
    differences = [round(first[seed] - second[seed], EXACT) for seed in seeds]
    mean, deviation = mean_std(differences)
    if not deviation:
        return Difference(len(seeds), mean, deviation, None, None)
    half = float(special.stdtrit(len(seeds) - 1, (1 + CONFIDENCE) / 2)) * deviation / math.sqrt(len(seeds))
    return Difference(len(seeds), mean, deviation, (mean - half, mean + half), seeds_needed(deviation))


def seeds_needed(deviation: float, difference: float = WORTH_SEEING, power: float = POWER) -> int:
    """The least number of seeds with which a two-sided paired t-test at 5 % sees a true difference with that power.

    With n pairs t has n - 1 degrees of freedom and, if the difference d is there, the noncentral distribution with the
    parameter d √n / s (Cohen, Statistical Power Analysis, 1988). n is raised until the probability beyond the quantiles
    is the power. The deviation s is taken for the true one: estimated from few seeds it is rough (deviation_range),
    and n goes with its square.

    Args:
        deviation: s, sample standard deviation of the paired differences; above 0.
        difference: d, in the units of s.
        power: probability that a difference which is there is seen.
    """
    size = difference / deviation
    # The normal distribution's answer, which is too small: quantiles of t are larger.
    n = max(2, math.ceil((special.ndtri((1 + CONFIDENCE) / 2) + special.ndtri(power)) ** 2 / size**2))
    while _power(n, size) < power:
        n += 1
    return n


def _power(n: int, size: float) -> float:
    """Probability that |t| of n pairs is beyond its quantile, where the true difference is size deviations."""
    quantile, shift = special.stdtrit(n - 1, (1 + CONFIDENCE) / 2), size * math.sqrt(n)
    return float(1 - special.nctdtr(n - 1, shift, quantile) + special.nctdtr(n - 1, shift, -quantile))


def deviation_range(n: int) -> tuple[float, float]:
    """Ends of the 95 % interval of a standard deviation estimated from n values, as factors of the estimate.

    √((n - 1)/χ²) at the two quantiles of χ² with n - 1 degrees of freedom.
    """
    low, high = (float(special.chdtri(n - 1, p)) for p in ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    return math.sqrt((n - 1) / low), math.sqrt((n - 1) / high)
