"""A cubic vector field in the plane, with its derivatives typed by hand, and its elementary differentials.

The oracle of the tests of modified equations: no automatic differentiation, no B-series of ours.
"""

import numpy as np

from odenets.scheme.trees import vertices


class Cubic:
    """f(u) = a + B u + C(u, u) + D(u, u, u) with symmetric C and D, for states of shape (2, cases)."""

    def __init__(self, seed, linear=False):
        rng = np.random.default_rng(seed)
        self.a, self.B = rng.uniform(-1, 1, 2), rng.uniform(-1, 1, (2, 2))
        C, D = rng.uniform(-0.5, 0.5, (2, 2, 2)), rng.uniform(-0.3, 0.3, (2, 2, 2, 2))
        self.C = (C + C.transpose(0, 2, 1)) / 2
        self.D = sum(D.transpose(0, *p) for p in [(1, 2, 3), (1, 3, 2), (2, 1, 3), (2, 3, 1), (3, 1, 2), (3, 2, 1)]) / 6
        if linear:
            self.a, self.C, self.D = 0 * self.a, 0 * self.C, 0 * self.D

    def two(self, v, w):
        return self.C.reshape(2, 4) @ (v[:, None] * w).reshape(4, -1)

    def three(self, u, v, w):
        return self.D.reshape(2, 8) @ (u[:, None, None] * v[:, None] * w).reshape(8, -1)

    def __call__(self, u, *v):
        """The derivative of order len(v) in the directions v."""
        if len(v) == 0:
            return self.a[:, None] + self.B @ u + self.two(u, u) + self.three(u, u, u)
        if len(v) == 1:
            return self.B @ v[0] + 2 * self.two(u, v[0]) + 3 * self.three(u, u, v[0])
        if len(v) == 2:
            return 2 * self.two(*v) + 6 * self.three(u, *v)
        return 6 * self.three(*v) if len(v) == 3 else np.zeros_like(u)


def differentials(functions, maps, components, trees):
    """F(t) at the state for each tree; ``components``: one array of shape (2, cases) a component."""
    known = {}
    for tree in sorted(trees, key=vertices):
        colour, children = tree
        known[tree] = functions[colour](components[maps[colour][0]], *(known[child] for child in children))
    return known


def flow(field, components, time, steps=6):
    """By six steps of the 8th order scheme of scipy: far more exact than a step of any scheme of order 4."""
    from scipy.integrate._ivp import dop853_coefficients as c

    stages, state, h = c.N_STAGES, [u.copy() for u in components], time / steps
    for _ in range(steps):
        slopes = []
        for i in range(stages):
            at = [
                u + h * sum((a * k[j] for a, k in zip(c.A[i, :i], slopes, strict=True) if a), 0 * u)
                for j, u in enumerate(state)
            ]
            slopes.append(field(at))
        state = [u + h * sum(b * k[j] for b, k in zip(c.B, slopes, strict=True)) for j, u in enumerate(state)]
    return state
