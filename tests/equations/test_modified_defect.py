"""Independent confirmation of the modified equation, for schemes of order p <= 4.

One step of the scheme is compared with the exact flow of the equation truncated after h^m, which is
integrated numerically. Their difference must have order m + 2, for m = p, p + 1, p + 2.
"""

import numpy as np
import pytest
from polynomial_field import Cubic, differentials, flow

from odenets import schemes
from odenets.analysis import modified_equation
from odenets.analysis.equations.modified_equation import all_trees
from odenets.analysis.equations.modified_field import modified_field
from odenets.scheme.trees import symmetry, tall, vertices

VALUES = {"k": "-3/10", "lam": 0, "k1": "1/5", "k2": "-1/10", "g": "1/3"}  # lam = 0: else u itself is damped
# Symmetric schemes have even powers of h alone (Hairer, Lubich & Wanner 2006, theorem IX.2.2): where m + 1 is
# odd the next term is missing. Typed from the literature, not read off the coefficients.
SYMMETRIC = {"leapfrog", "nystrom2", "milne_simpson", "alf", "reversible_heun", "am2", "trapezoid", "gauss1", "gauss2"}
SYMMETRIC |= {"verlet", "yoshida4", "implicit_midpoint", "lobatto_iiia3"}
STEPS = 0.4 / 2.0 ** (np.arange(17) / 2)  # too large for some scheme, too small for others
STATES = 5
ROUNDING = 1e-14  # a hundred times what rounding leaves


def numbered(name):
    scheme = schemes[name]
    return scheme.substitute({key: x for key, x in VALUES.items() if key in map(str, scheme.symbols)})


# Trees in two colours are many: of additive schemes of order 3 and 4, ars443 stands for all.
NAMES = [name for name in schemes if numbered(name).order <= 4 and name not in ("ars343", "ark324", "ark436")]


class Cases:
    """All step sizes, truncations and states of one scheme side by side."""

    def __init__(self, scheme):
        self.scheme, self.orders = scheme, scheme.order + np.arange(3)
        grid = np.meshgrid(self.orders, STEPS, np.arange(STATES), indexing="ij")
        self.shape, (self.m, self.h, which) = grid[0].shape, [axis.ravel() for axis in grid]
        highest = int(self.orders[-1]) + 2
        plain = [tall(n) for n in range(1, highest + 1)]
        self.trees = plain if scheme.linear_only else list(all_trees(scheme, highest))
        self.functions = [Cubic(seed, scheme.linear_only) for seed in range(1, 1 + len(scheme.functions))]
        starts = np.random.default_rng(0).uniform(-0.5, 0.5, (scheme.components, 2, STATES))
        self.u = [start[:, which] for start in starts]

    def field(self, u):
        """sum of h^(|t|-1) b(t)/sigma(t) F(t)(u), |t| <= m + 1."""
        F = differentials(self.functions, self.scheme.functions, u, self.small)
        total = [np.zeros_like(x) for x in u]
        for tree, weight in self.weights.items():
            total[self.scheme.functions[tree[0]][1]] += weight * F[tree]
        return total

    def exact(self):
        equation = modified_equation(self.scheme, int(self.orders[-1]) + 1)
        self.small = list(equation)
        self.weights = {
            t: float(b) / symmetry(t) * (vertices(t) <= self.m + 1) * self.h ** (vertices(t) - 1.0)
            for t, b in equation.items()
            if b != 0
        }
        return flow(self.field, self.u, self.h)

    def carried(self):
        """The carried values by their series s, as far as h^(m+2)."""
        series = modified_field(self.scheme, vertices(self.trees[-1]))
        F = differentials(self.functions, self.scheme.functions, self.u, self.trees)
        values = []
        for i in range(self.scheme.carried):
            total = sum(float(series.to_sympy(series.constants[c][i])) * u for c, u in enumerate(self.u))
            for t in self.trees if i >= self.scheme.components else ():
                weight = float(series.exact(series.carried(t)[i], t)) / symmetry(t)
                total = total + weight * (vertices(t) <= self.m + 2) * self.h ** vertices(t) * F[t]
            values.append(total)
        return values

    def numerical(self):
        """One step, its stages by fixed-point iteration (h is small)."""
        s, y = self.scheme, self.carried()
        A, U, B, V = (np.array(block.tolist(), dtype=float) for block in (s.A, s.U, s.B, s.V))
        given = [sum(a * x for a, x in zip(row, y, strict=True)) for row in U]
        slopes = [np.zeros_like(y[0]) for _ in given]
        for _ in range(s.stages if s.explicit else 60):
            stages = [g + self.h * np.tensordot(row, slopes, 1) for g, row in zip(given, A, strict=True)]
            below = [] if s.Gamma is None else np.tensordot(np.array(s.Gamma.tolist(), dtype=float), slopes, 1)
            slopes = [self.functions[c](Y) for c, Y in zip(s.colours, stages, strict=True)]
            if s.Gamma is not None:  # K = F(Y) + h f'(u) Gamma K
                slopes = [F + self.h * self.functions[0](y[0], v) for F, v in zip(slopes, below, strict=True)]
        pairs = list(zip(V, B, strict=True))[: s.components]
        return [np.tensordot(v, y, 1) + self.h * np.tensordot(b, slopes, 1) for v, b in pairs]

    def defects(self):
        """One row for each m, one column for each h: the largest component, root mean square over the states."""
        gaps = np.array([a - b for a, b in zip(self.numerical(), self.exact(), strict=True)])
        return np.sqrt((gaps**2).sum(axis=(0, 1)).reshape(self.shape).mean(axis=2))


def observed_order(defects):
    """From the smallest four step sizes of ratio 2 that are above rounding, extrapolated twice to h = 0."""
    end = next((i for i, defect in enumerate(defects) if defect < ROUNDING), len(defects))
    a, b, c, d = np.log2(defects[max(end, 7) - 7 : max(end, 7) : 2])
    return float(8 * (c - d) - 6 * (b - c) + (a - b)) / 3


@np.errstate(over="ignore", invalid="ignore")  # at the largest steps
@pytest.mark.parametrize("name", NAMES)
def test_local_defect_against_the_truncated_equation(name):
    scheme = numbered(name)
    cases = Cases(scheme)
    for m, row in zip(cases.orders, cases.defects(), strict=True):
        expected = m + 2 + (name in SYMMETRIC and m % 2 == 0)
        assert observed_order(row) == pytest.approx(expected, abs=0.15), (m, row)
