"""Schemes that networks brought up: LM and its relatives, PolyNet, FractalNet, gates."""

from __future__ import annotations

import sympy

from ..scheme import Scheme, runge_kutta
from ..scheme.families import lm, zerosnet

g, lam = sympy.symbols("g lam", real=True)
two_stages = [[0, 0], [1, 0]]
ADDED = ((0, 0), (0, 0))  # u' = f_0(u) + f_1(u)

SCHEMES = [
    lm(2),
    lm(3),
    zerosnet("1/9"),
    # (I - h F)^-1 u cut off: the later stages take h F alone, so the scheme means something for linear F only.
    Scheme("poly2", two_stages, [[1], [0]], [[1, 1]], [[1]], reference="polynet2017"),
    Scheme("poly3", [[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[1], [0], [0]], [[1, 1, 1]], [[1]], reference="polynet2017"),
    Scheme("mpoly2", two_stages, [[1], [0]], [[1, 1]], [[1]], reference="polynet2017", modules=(0, 1)),
    Scheme(
        "way2", [[0, 0], [0, 0]], [[1], [1]], [[1, 1]], [[1]], reference="polynet2017", modules=(0, 1), functions=ADDED
    ),
    # Two Picard iterations for backward Euler; agrees with poly2 for linear F only.
    runge_kutta("picard2", two_stages, b=[0, 1], reference="polynet2017"),
    runge_kutta("fractal2", two_stages, b=["1/2", "1/2"], modules=(0, 1), reference="fractalnet2017"),
    runge_kutta("gated_rk2", two_stages, b=[g, 1 - g], init={"g": (0.5, 0.5)}, reference="odetransformer2022"),
    Scheme("in_resnet", [[0]], [[1]], [[1]], [[1 - lam]], reference="inresnet2020", init={"lam": (0.0, 0.1)}),
]
