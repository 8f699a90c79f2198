"""Schemes of torchdiffeq that the zoo does not have, and its names for those that it has."""

from __future__ import annotations

from ..scheme import Scheme, runge_kutta
from ..scheme.constructors import lower_triangular

# Fehlberg's 2(1). Its estimate is a small part of the error of the solution of order 1: errors exceed the tolerance.
fehlberg12 = runge_kutta(
    "fehlberg12",
    A=lower_triangular([], ["1/2"], ["1/256", "255/256"]),
    b=["1/512", "255/256", "1/512"],
    embedded=["1/256", "255/256", 0],
    reference="fehlberg1969",
)

#: name in torchdiffeq -> name in the zoo, or scheme
ADAPTIVE: dict[str, Scheme | str] = {
    "dopri8": "dopri8",
    "dopri5": "dopri5",
    "tsit5": "tsit5",
    "bosh3": "bosh3",
    "fehlberg2": fehlberg12,
    "adaptive_heun": "heun",
}
FIXED = {
    "euler": "euler",
    "midpoint": "midpoint",
    "heun2": "heun",
    "heun3": "heun3",
    "rk4": "rk38",
    "implicit_euler": "backward_euler",
    "implicit_midpoint": "implicit_midpoint",
    "trapezoid": "trapezoid",
    "radauIIA3": "radau_iia2",
    "gl4": "gauss2",
    "radauIIA5": "radau_iia3",
    "gl6": "gauss3",
    "sdirk2": "sdirk2",
    "trbdf2": "trbdf2",
}
#: whether it is implicit
ADAMS = {"explicit_adams": False, "implicit_adams": True, "fixed_adams": True}
METHODS = (*ADAPTIVE, *FIXED, *ADAMS, "scipy_solver")
