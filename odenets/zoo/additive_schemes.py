"""Additive Runge-Kutta schemes for u' = f_0(u) + f_1(u): f_0 explicit, f_1 diagonally implicit (IMEX)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sympy

from ..scheme import Scheme, runge_kutta
from ..scheme.constructors import lower_triangular
from ..scheme.splitting import additive
from .singly_implicit import SCHEMES as IMPLICIT

Rows = Sequence[Sequence[Any]]
KENCARP = {scheme.name: scheme for scheme in IMPLICIT}

root = sympy.sqrt(2)
#: of the L-stable scheme with two stages and order 2
g = 1 - root / 2


def ars(name: str, explicit: Rows, b: Sequence[Any], implicit: Rows, digits: int | None = None) -> Scheme:
    """Of Ascher, Ruuth & Spiteri (1997): an implicit scheme whose weights are its last row, its first stage not used.

    Args:
        name: ars and the numbers of implicit stages, of explicit ones, and the order.
        explicit: rows below the diagonal.
        b: weights of the explicit scheme.
        implicit: rows up to the diagonal, the first stage left out.
        digits: of decimals.
    """
    s = len(explicit)
    A = [[0] * s, *([0, *row, *[0] * (s - 1 - len(row))] for row in implicit)]
    parts = runge_kutta(name, lower_triangular(*explicit), b, digits=digits), runge_kutta(name, A, A[-1], digits=digits)
    return additive(name, *parts, reference="ascher1997")


def ars343() -> Scheme:
    """The implicit scheme of order 3 is that of Alexander (1977); of the explicit ones for it, a_42 = a_43 chosen."""
    x = sympy.Rational("0.43586652150845899941601945119355684")  # 6 x^3 - 18 x^2 + 9 x = 1
    p, q = -3 * x**2 / 2 + 4 * x - sympy.Rational(1, 4), 3 * x**2 / 2 - 5 * x + sympy.Rational(5, 4)
    a = sympy.Rational("0.5529291479")
    third = a * (15 - 60 * x + 21 * x**2) / 4 - sympy.Rational(7, 2) + 13 * x - 9 * x**2 / 2
    explicit = [[], [x], [third, (1 + x) / 2 - third], [1 - 2 * a, a, a]]
    return ars("ars343", explicit, [0, p, q, x], [[x], [(1 - x) / 2, x], [p, q, x]], digits=32)


def ark(name: str, implicit: str, *explicit: Sequence[Any]) -> Scheme:
    """Of Kennedy & Carpenter (2003): the scheme kencarp for f_1, and for f_0 one of the same weights."""
    other = KENCARP[implicit]
    assert other.embedded is not None
    part = runge_kutta(name, lower_triangular(*explicit), list(other.B), embedded=list(other.embedded), digits=23)
    return additive(name, part, other, reference="kennedy2003")


SCHEMES = [
    ars("ars111", [[], [1]], [1, 0], [[1]]),
    ars("ars222", [[], [g], [-root / 2, 1 + root / 2]], [-root / 2, 1 + root / 2, 0], [[g], [1 - g, g]]),
    ars(
        "ars232",
        [[], [g], [-2 * root / 3, 1 + 2 * root / 3]],
        [0, 1 - g, g],
        [[g], [1 - g, g]],
    ),
    ars343(),
    ars(
        "ars443",
        [[], ["1/2"], ["11/18", "1/18"], ["5/6", "-5/6", "1/2"], ["1/4", "7/4", "3/4", "-7/4"]],
        ["1/4", "7/4", "3/4", "-7/4", 0],
        [["1/2"], ["1/6", "1/2"], ["-1/2", "1/2", "1/2"], ["3/2", "-3/2", "1/2", "1/2"]],
    ),
    # ARK3(2)4L[2]SA
    ark(
        "ark324",
        "kencarp3",
        [],
        ["1767732205903/2027836641118"],
        ["5535828885825/10492691773637", "788022342437/10882634858940"],
        ["6485989280629/16251701735622", "-4246266847089/9704473918619", "10755448449292/10357097424841"],
    ),
    # ARK4(3)6L[2]SA
    ark(
        "ark436",
        "kencarp4",
        [],
        ["1/2"],
        ["13861/62500", "6889/62500"],
        ["-116923316275/2393684061468", "-2731218467317/15368042101831", "9408046702089/11113171139209"],
        [
            "-451086348788/2902428689909",
            "-2682348792572/7519795681897",
            "12662868775082/11960479115383",
            "3355817975965/11060851509271",
        ],
        [
            "647845179188/3216320057751",
            "73281519250/8382639484533",
            "552539513391/3454668386233",
            "3354512671639/8306763924573",
            "4040/17871",
        ],
    ),
    # ARK5(4)8L[2]SA
    ark(
        "ark548",
        "kencarp5",
        [],
        ["41/100"],
        ["367902744464/2072280473677", "677623207551/8224143866563"],
        ["1268023523408/10340822734521", 0, "1029933939417/13636558850479"],
        ["14463281900351/6315353703477", 0, "66114435211212/5879490589093", "-54053170152839/4284798021562"],
        [
            "14090043504691/34967701212078",
            0,
            "15191511035443/11219624916014",
            "-18461159152457/12425892160975",
            "-281667163811/9011619295870",
        ],
        [
            "19230459214898/13134317526959",
            0,
            "21275331358303/2942455364971",
            "-38145345988419/4862620318723",
            "-1/8",
            "-1/8",
        ],
        [
            "-19977161125411/11928030595625",
            0,
            "-40795976796054/6384907823539",
            "177454434618887/12078138498510",
            "782672205425/8267701900261",
            "-69563011059811/9646580694205",
            "7356628210526/4942186776405",
        ],
    ),
]
