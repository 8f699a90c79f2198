"""Explicit Runge-Kutta schemes without an error estimate, but for the one of Heun, whose first stage is Euler's."""

from __future__ import annotations

from ..scheme import runge_kutta
from ..scheme.rk_families import shu_osher, unit_rows

#: the last row of ssprk104: 1/25 u + 9/25 Y_4 + 3/5 Y_9 and h (3/50 F(Y_4) + 1/10 F(Y_9))
ninth = [0, 0, 0, "9/25", 0, 0, 0, 0, "3/5"]
tenth = [0, 0, 0, 0, "1/10"]

SCHEMES = [
    runge_kutta("euler", A=[[0]], b=[1], reference="euler1768"),
    runge_kutta("midpoint", A=[[0, 0], ["1/2", 0]], b=[0, 1], reference="runge1895"),
    runge_kutta("heun", A=[[0, 0], [1, 0]], b=["1/2", "1/2"], embedded=[1, 0], reference="heun1900"),
    runge_kutta("ralston2", A=[[0, 0], ["2/3", 0]], b=["1/4", "3/4"], reference="ralston1962"),
    runge_kutta("kutta3", A=[[0, 0, 0], ["1/2", 0, 0], [-1, 2, 0]], b=["1/6", "2/3", "1/6"], reference="kutta1901"),
    runge_kutta("heun3", A=[[0, 0, 0], ["1/3", 0, 0], [0, "2/3", 0]], b=["1/4", 0, "3/4"], reference="heun1900"),
    runge_kutta(
        "ralston3", A=[[0, 0, 0], ["1/2", 0, 0], [0, "3/4", 0]], b=["2/9", "1/3", "4/9"], reference="ralston1962"
    ),
    runge_kutta(
        "rk4",
        A=[[0, 0, 0, 0], ["1/2", 0, 0, 0], [0, "1/2", 0, 0], [0, 0, 1, 0]],
        b=["1/6", "1/3", "1/3", "1/6"],
        reference="kutta1901",
    ),
    runge_kutta(
        "rk38",
        A=[[0, 0, 0, 0], ["1/3", 0, 0, 0], ["-1/3", 1, 0, 0], [1, -1, 1, 0]],
        b=["1/8", "3/8", "3/8", "1/8"],
        reference="kutta1901",
    ),
    # Strong-stability-preserving, written as convex combinations of Euler steps.
    shu_osher("ssprk22", alpha=[[1], ["1/2", "1/2"]], beta=[[1], [0, "1/2"]], reference="shu1988"),
    shu_osher(
        "ssprk33",
        alpha=[[1], ["3/4", "1/4"], ["1/3", 0, "2/3"]],
        beta=[[1], [0, "1/4"], [0, 0, "2/3"]],
        reference="shu1988",
    ),
    shu_osher(
        "ssprk43",
        alpha=[[1], [0, 1], ["2/3", 0, "1/3"], [0, 0, 0, 1]],
        beta=[["1/2"], [0, "1/2"], [0, 0, "1/6"], [0, 0, 0, "1/2"]],
        reference="kraaijevanger1991",
    ),
    shu_osher(
        "ssprk54",
        alpha=[
            [1],
            ["0.444370493651235", "0.555629506348765"],
            ["0.620101851488403", 0, "0.379898148511597"],
            ["0.178079954393132", 0, 0, "0.821920045606868"],
            [0, 0, "0.517231671970585", "0.096059710526147", "0.386708617503269"],
        ],
        beta=[
            ["0.391752226571890"],
            [0, "0.368410593050371"],
            [0, 0, "0.251891774271694"],
            [0, 0, 0, "0.544974750228521"],
            [0, 0, 0, "0.063692468666290", "0.226007483236906"],
        ],
        reference="spiteri2002",
        digits=14,
    ),
    shu_osher(
        "ssprk104",
        alpha=[*unit_rows(4, 1), ["3/5", 0, 0, 0, "2/5"], *unit_rows(4, 1, 5), ["1/25", *ninth]],
        beta=[*unit_rows(4, "1/6"), [0, 0, 0, 0, "1/15"], *unit_rows(4, "1/6", 5), [0, 0, 0, 0, "3/50", *tenth]],
        reference="ketcheson2008",
    ),
]
