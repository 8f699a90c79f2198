"""Rosenbrock schemes for stiff problems: one matrix I - h gamma J a step, and a linear equation for each stage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sympy

from ..scheme import Scheme, lower_triangular, rosenbrock
from ..scheme.rosenbrock import in_transformed_variables

half = sympy.Rational(1, 2)
g2 = 1 + sympy.sqrt(2) / 2  # of the two that make it L-stable the one with R(z) > 0 for all z < 0
g3 = half + sympy.sqrt(3) / 6  # A-stable, and of order 3


def rodas(name: str, gamma: Any, a: Sequence[Sequence[Any]], C: Sequence[Sequence[Any]], **options: Any) -> Scheme:
    """A stiffly accurate scheme: the last stage is the embedded solution, to which the solution adds one W more."""
    rows = lower_triangular(*a)
    last = rows[-1][:-1]
    return in_transformed_variables(name, gamma, rows, lower_triangular(*C), [*last, 1], embedded=[*last, 0], **options)


#: the last rows of a are those before them and one more 1
RODAS4 = ["1.221224509226641", "6.019134481288629", "12.53708332932087", "-0.687886036105895"]
RODAS5P = [
    *("-7.502846399306121", "2.561846144803919", "-11.627539656261098", "-0.18268767659942256"),
    "0.030198172008377946",
]

SCHEMES = [
    rosenbrock(
        "ros2",
        A=[[0, 0], [1, 0]],
        Gamma=[[g2, 0], [-2 * g2, g2]],
        b=[half, half],
        embedded=[1, 0],
        reference="verwer1999",
    ),
    # Without its embedded weights, 1/3 each: K_2 = K_1 for linear f, so that every estimate of order 2 is 0 there.
    rosenbrock(
        "ros3p",
        A=[[0, 0, 0], [1, 0, 0], [1, 0, 0]],
        Gamma=[[g3, 0, 0], [-1, g3, 0], [-g3, half - 2 * g3, g3]],
        b=["2/3", 0, "1/3"],
        reference="lang2001",
    ),
    rodas(
        "rodas3",
        half,
        [[], [0], [2, 0], [2, 0, 1]],
        [[], [4], [1, -1], [1, -1, "-8/3"]],
        reference="sandu1997",
    ),
    rodas(
        "rodas4",
        "0.25",
        [
            [],
            ["1.544"],
            ["0.9466785280815826", "0.2557011698983284"],
            ["3.314825187068521", "2.896124015972201", "0.9986419139977817"],
            RODAS4,
            [*RODAS4, 1],
        ],
        [
            [],
            ["-5.6688"],
            ["-2.430093356833875", "-0.2063599157091915"],
            ["-0.1073529058151375", "-9.594562251023355", "-20.47028614809616"],
            ["7.496443313967647", "-10.24680431464352", "-33.99990352819905", "11.7089089320616"],
            [
                "8.083246795921522",
                "-7.981132988064893",
                "-31.52159432874371",
                "16.31930543123136",
                "-6.058818238834054",
            ],
        ],
        digits=15,
        reference="hairer1996",
    ),
    rodas(
        "rodas5p",
        "0.21193756319429014",
        [
            [],
            ["3.0"],
            ["2.849394379747939", "0.45842242204463923"],
            ["-6.954028509809101", "2.489845061869568", "-10.358996098473584"],
            ["2.8029986275628964", "0.5072464736228206", "-0.3988312541770524", "-0.04721187230404641"],
            RODAS5P,
            [*RODAS5P, 1],
            [*RODAS5P, 1, 1],
        ],
        [
            [],
            ["-14.155112264123755"],
            ["-17.97296035885952", "-2.859693295451294"],
            ["147.12150275711716", "-1.41221402718213", "71.68940251302358"],
            ["165.43517024871676", "-0.4592823456491126", "42.90938336958603", "-5.961986721573306"],
            [
                *("24.854864614690072", "-3.0009227002832186", "47.4931110020768", "5.5814197821558125"),
                "-0.6610691825249471",
            ],
            [
                *("30.91273214028599", "-3.1208243349937974", "77.79954646070892", "34.28646028294783"),
                *("-19.097331116725623", "-28.087943162872662"),
            ],
            [
                *("37.80277123390563", "-3.2571969029072276", "112.26918849496327", "66.9347231244047"),
                *("-40.06618937091002", "-54.66780262877968", "-9.48861652309627"),
            ],
        ],
        digits=15,
        reference="steinebach2023",
    ),
]
