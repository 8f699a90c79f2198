"""Reversible and partitioned schemes."""

from __future__ import annotations

import sympy

from ..scheme import Scheme
from ..scheme.families import alf, nystrom
from ..scheme.splitting import splitting, symmetric_composition

half = sympy.Rational(1, 2)
root = sympy.cbrt(2)
outer = (4 + 2 * root + root**2) / 6  # 1 / (2 - 2^(1/3)), without a surd in the denominator
kick_drift_kick = [(1, half), (0, 1), (1, half)]

SCHEMES = [
    nystrom(2, name="leapfrog", reference="chang2018"),
    # Momentum ResNet carries a velocity: v+ = 9/10 v + 1/10 h f(u), u+ = u + v+.
    Scheme(
        "momentum",
        A=[[0]],
        U=[[1, 0]],
        B=[["1/10"], ["1/10"]],
        V=[[1, "9/10"], [0, "9/10"]],
        reference="sander2021",
        at_rest=True,
    ),
    alf(1),
    # Carries y and yhat: yhat+ = 2 y - yhat + h f(yhat), y+ = y + h/2 (f(yhat) + f(yhat+)). With one f for
    # all steps f(yhat+) is the next step's f(yhat); layers of their own need both, and carrying the
    # slope instead would make V singular, the step not reversible.
    Scheme(
        "reversible_heun",
        A=[[0, 0], [1, 0]],
        U=[[0, 1], [2, -1]],
        B=[[half, half], [1, 0]],
        V=[[1, 0], [2, -1]],
        embedded=[1, 0],
        reference="kidger2021",
    ),
    splitting("symplectic_euler", [(0, 1), (1, 1)], reference="devogelaere1956"),
    splitting("verlet", kick_drift_kick, reference="verlet1967"),
    splitting(
        "yoshida4",
        symmetric_composition(kick_drift_kick, [outer, 1 - 2 * outer, outer]),
        reference="yoshida1990",
    ),
]
