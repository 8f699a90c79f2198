"""A scheme's four matrices applied by hand: on tensors, and with mpmath where float64 is too coarse."""

import mpmath
import sympy

from odenets.scheme.stage_graph import stage_order

DIGITS = 34


def step(matrices, slope, y, order=None):
    """One general linear step: the stages and their slopes, in an order in which each is known, and the new values.

    ``slope(i, Y)`` is h F at stage i; y a list of numbers or tensors.
    """
    A, U, B, V = (matrix.tolist() for matrix in matrices)
    stages, slopes = [None] * len(A), [0] * len(A)
    for i in order or stage_order(matrices[0]):
        stages[i] = combine(A[i], slopes, U[i], y)
        slopes[i] = slope(i, stages[i])
    return stages, slopes, [combine(b, slopes, v, y) for b, v in zip(B, V, strict=True)]


def combine(weights, slopes, carried, y):
    terms = [(w, x) for w, x in zip([*weights, *carried], [*slopes, *y], strict=True) if w != 0]
    return sum((w if isinstance(w, mpmath.mpf) else float(w)) * x for w, x in terms)


def exact(value):
    """A sympy number to mpmath's precision of the moment."""
    if value.is_Rational:
        return mpmath.mpf(value.p) / value.q
    return mpmath.mpf(str(sympy.N(value, mpmath.mp.dps + 5)))


class Numbers(list):
    """A matrix as rows of mpmath numbers; zeros stay int, so that they are skipped."""

    def __init__(self, matrix):
        super().__init__([[exact(x) if x != 0 else 0 for x in row] for row in matrix.tolist()])

    def tolist(self):
        return self


def solve(scheme, start, f, u0, grid):
    """u' = f(t, u) from u0 at 0, on a grid (end, steps), the starting steps by ``start``. One function, explicit."""
    end, steps = grid
    with mpmath.workdps(DIGITS):
        regular, starting = compiled(scheme), compiled(start)
        h = mpmath.mpf(end) / steps
        slope = h * f(mpmath.mpf(0), u0)
        y = [exact(seed[0]) * u0 + exact(seed[1]) * slope for seed in scheme.seeds]
        for n in range(steps):
            matrices, nodes, order = starting if n < scheme.starting_values else regular
            times = [n * h + c * h for c in nodes]
            _, _, y = step(matrices, lambda i, Y, times=times: h * f(times[i], Y), y, order)
        return y[0]


def compiled(scheme):
    return [Numbers(getattr(scheme, m)) for m in "AUBV"], [exact(c) for c in scheme.nodes], scheme.evaluation_order
