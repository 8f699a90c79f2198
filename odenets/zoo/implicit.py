"""Implicit Runge-Kutta schemes: collocation where a family is, tableaux where it is not."""

from __future__ import annotations

import sympy

from ..scheme import runge_kutta
from ..scheme.rk_families import adjoint_collocation, collocation, gauss_nodes, lobatto_iiic, lobatto_nodes, radau_nodes

half = sympy.Rational(1, 2)
r2 = sympy.sqrt(2)
g2 = 1 - r2 / 2  # sdirk2 is L-stable with this diagonal
g3 = half + sympy.sqrt(3) / 6  # the A-stable one of the two that give order 3
w = r2 / 4  # trbdf2: the trapezoidal rule to t + (2 - sqrt 2) h, then BDF2
d = g2  # half of 2 - sqrt 2

SCHEMES = [
    runge_kutta("backward_euler", A=[[1]], b=[1], reference="curtiss1952"),
    runge_kutta("trapezoid", A=[[0, 0], [half, half]], b=[half, half], reference="crank1947"),
    collocation("implicit_midpoint", gauss_nodes(1), reference="kuntzmann1961"),
    *(collocation(f"gauss{s}", gauss_nodes(s), reference="kuntzmann1961") for s in (1, 2, 3)),
    adjoint_collocation("radau_ia2", radau_nodes(2, end=0), reference="ehle1969"),
    *(collocation(f"radau_iia{s}", radau_nodes(s, end=1), reference="ehle1969") for s in (2, 3)),
    collocation("lobatto_iiia3", lobatto_nodes(3), reference="ehle1969"),
    lobatto_iiic("lobatto_iiic3", lobatto_nodes(3), reference="chipman1971"),
    runge_kutta("sdirk2", A=[[g2, 0], [1 - g2, g2]], b=[1 - g2, g2], reference="alexander1977"),
    runge_kutta("sdirk3", A=[[g3, 0], [1 - 2 * g3, g3]], b=[half, half], reference="norsett1974"),
    runge_kutta(
        "trbdf2",
        A=[[0, 0, 0], [d, d, 0], [w, w, d]],
        b=[w, w, d],
        embedded=[(1 - w) / 3, (3 * w + 1) / 3, d / 3],
        reference="bank1985",
    ),
]
