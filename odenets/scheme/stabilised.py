"""Stabilised explicit Runge-Kutta schemes: many stages, for a stability region that is long along the negative axis."""

from __future__ import annotations

from fractions import Fraction

from .constructors import runge_kutta
from .errors import SchemeError
from .given_numbers import integer
from .rock4_numbers import ROCK4
from .scheme import Scheme

FEWEST = 2
#: of rkc2: for many stages |R(z)| is at most 1 - epsilon / 3 in the interior of its real interval, away from 0
EPSILON = Fraction(2, 13)


def rkc2(stages: int) -> Scheme:
    """The Runge-Kutta-Chebyshev scheme of order 2 with s stages, stable on about [-0.65 s^2, 0],

        R(z) = a_s + b_s T_s(w_0 + w_1 z),    w_0 = 1 + epsilon / s^2,    w_1 = T_s'(w_0) / T_s''(w_0),

    and on a strip around it, by the recurrence of the Chebyshev polynomials T_j; all is exact. The error estimate, for
    one evaluation at u_{n+1}, is (4 (u_n - u_{n+1}) + 2 h (f_n + f_{n+1})) / 5.

    Args:
        stages: s, at least 2; evaluations of a step.

    Raises:
        SchemeError: another number of stages.

    Source: van der Houwen & Sommeijer (1980); Sommeijer, Shampine & Verwer (1998).
    """
    s = integer(stages, "rkc2: stages", FEWEST)
    w0 = 1 + EPSILON / s**2
    T, first, second = _chebyshev(s, w0)
    w1 = first[s] / second[s]
    b = [second[j] / first[j] ** 2 if j > 1 else second[2] / first[2] ** 2 for j in range(s + 1)]
    a = [1 - x * y for x, y in zip(b, T, strict=True)]
    rows = [[Fraction(0)] * s, [b[1] * w1] + [Fraction(0)] * (s - 1)]
    for j in range(2, s + 1):
        mu, nu, slope = 2 * w0 * b[j] / b[j - 1], -b[j] / b[j - 2], 2 * w1 * b[j] / b[j - 1]
        row = [mu * x + nu * y for x, y in zip(rows[j - 1], rows[j - 2], strict=True)]
        row[j - 1] += slope
        row[0] -= a[j - 1] * slope
        rows.append(row)
    weights = rows[s]
    estimate = [Fraction(9, 5) * x - Fraction(2, 5) * (j == 0) for j, x in enumerate(weights)] + [-Fraction(2, 5)]
    return runge_kutta(f"rkc2_{s}", rows[:s], weights, embedded=estimate, fsal=True, reference="sommeijer1998")


def rock4(stages: int) -> Scheme:
    """The orthogonal Runge-Kutta-Chebyshev scheme of order 4 with s stages, stable on about [-0.35 s^2, 0].

    s - 4 stages of a three-term recurrence, those of polynomials orthogonal to a weight that makes the whole of order
    4, and then four that are composed with them. The numbers are decimals. The error estimate, of order 3, takes one
    evaluation at u_{n+1}.

    Args:
        stages: s, one of those that are tabulated here: 8, 12, 20, 36; evaluations of a step.

    Raises:
        SchemeError: another number of stages.

    Source: Abdulle (2002).
    """
    s = integer(stages, "rock4: stages")
    if s not in ROCK4:
        raise SchemeError(f"rock4: stages: got {s}, expected one of {', '.join(map(str, ROCK4))}")
    recurrence, last, weights, embedded = ([Fraction(x) for x in row.split()] for row in ROCK4[s])
    rows = [[Fraction(0)] * s, [recurrence[0]] + [Fraction(0)] * (s - 1)]
    for j in range(2, s - 3):
        mu, kappa = recurrence[2 * j - 3 : 2 * j - 1]
        rows.append([(1 + kappa) * x - kappa * y for x, y in zip(rows[j - 1], rows[j - 2], strict=True)])
        rows[j][j - 1] += mu

    def after(added: list[Fraction]) -> list[Fraction]:
        """The last row of the recurrence, and the slopes of the stages from there on."""
        padded = [*[Fraction(0)] * (s - 4), *added, *[Fraction(0)] * (4 - len(added))]
        return [x + y for x, y in zip(rows[s - 4], padded, strict=True)]

    A = [*rows, after(last[:1]), after(last[1:3]), after(last[3:])]
    return runge_kutta(
        f"rock4_{s}",
        A,
        after(weights),
        embedded=[*after(embedded[:4]), embedded[4]],
        fsal=True,
        digits=15,
        reference="abdulle2002",
    )


def _chebyshev(s: int, x: Fraction) -> tuple[list[Fraction], list[Fraction], list[Fraction]]:
    """T_0 ... T_s at x, and their first and second derivatives."""
    zero = Fraction(0)
    T, first, second = [Fraction(1), x], [zero, Fraction(1)], [zero, zero]
    for _ in range(2, s + 1):
        T.append(2 * x * T[-1] - T[-2])
        first.append(2 * T[-2] + 2 * x * first[-1] - first[-2])
        second.append(4 * first[-2] + 2 * x * second[-1] - second[-2])
    return T, first, second
