"""nodepy 14 and 27: the figure of a stability region ends before the region does.

Reported for SSP methods of many stages, whose regions go far to the left. Right: by default the limits hold the
whole region along the axes, each method's own end of it.
"""

from fractions import Fraction

import numpy as np
import pytest

from odenets import rk_families, schemes
from odenets.analysis import plot


def ssp3(n):
    """The optimal third-order SSP schemes of n^2 stages (Ketcheson 2008)."""
    s, k, m = n * n, n * (n + 1) // 2, (n - 1) * (n - 2) // 2
    alpha = [[0] * i + [1] for i in range(s)]
    beta = [[0] * i + [Fraction(1, s - n)] for i in range(s)]
    left = Fraction(n, 2 * n - 1)
    alpha[k - 1] = [left if j == m else 1 - left if j == k - 1 else 0 for j in range(k)]
    beta[k - 1] = [0] * (k - 1) + [(1 - left) * Fraction(1, s - n)]
    return rk_families.shu_osher(f"ssp3_{s}", alpha, beta)


def stable_end(scheme):
    """Where |R| first exceeds 1 on the negative axis, R evaluated by the steps of the method itself."""
    A, b = (np.array(part.tolist(), dtype=float) for part in (scheme.A, scheme.B))
    x = np.arange(1, 12000) * 0.01
    stages = np.zeros((len(b[0]), len(x)))
    for i in range(len(stages)):
        stages[i] = 1 - x * (A[i] @ stages)
    return x[np.argmax(np.abs(1 - x * (b[0] @ stages)) > 1 + 1e-9)]


@pytest.mark.parametrize("scheme", [schemes["ssprk104"], ssp3(4), ssp3(5)], ids=lambda s: s.name)
def test_limits_hold_the_whole_region(scheme):
    end = stable_end(scheme)
    assert end > 12
    assert plot.stability_region(scheme, resolution=20).axes[0].get_xlim()[0] < -end
    assert plot.stability_region(scheme, resolution=20, scale=True).axes[0].get_xlim()[0] < -end / scheme.stages


def test_limits_of_momentum():
    assert plot.stability_region("momentum", resolution=20).axes[0].get_xlim()[0] < -38
