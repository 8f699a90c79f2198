"""How far the stability region reaches: textbook values and brute force, never our own code."""

import math

import numpy as np
import pytest
import sympy

from odenets import Scheme, SchemeError, multistep, runge_kutta, schemes
from odenets.analysis import imaginary_interval, real_interval

oo, sqrt = sympy.oo, sympy.sqrt
k = sympy.Symbol("k", real=True)

# Real and imaginary interval. Hairer & Wanner 1996, IV.2 and V.1; Lambert 1973, table 3. kutta3 and
# rk4: -1 = R(-x), 2.5127453266 and 2.7852935634. ab3: |zeta| = 1 on the axis at y^2 = 144/275.
ZOO = {
    "euler": (2, 0),
    "midpoint": (2, 0),
    "heun": (2, 0),
    "kutta3": (2.5127453266183286, sqrt(3)),
    "rk4": (2.7852935634052818, 2 * sqrt(2)),
    "ab2": (1, 0),
    "ab3": (sympy.Rational(6, 11), 12 / sqrt(275)),
    "leapfrog": (0, 1),
}
IMPLICIT = {
    "backward euler": (multistep("be", a=[1], b=[0], b_next=1), oo, oo),
    "trapezoid": (multistep("trapezoid", a=[1], b=["1/2"], b_next="1/2"), oo, oo),
    "bdf2": (multistep("bdf2", a=["4/3", "-1/3"], b=[0], b_next="2/3"), oo, oo),
    # A(86.03 degrees) only: the imaginary axis leaves the region at the origin itself.
    "bdf3": (multistep("bdf3", a=["18/11", "-9/11", "2/11"], b=[0], b_next="6/11"), oo, 0),
    "adams-moulton 3": (multistep("am3", a=[1], b=["2/3", "-1/12"], b_next="5/12"), 6, 0),
    "implicit midpoint": (runge_kutta("implicit_midpoint", A=[["1/2"]], b=[1]), oo, oo),
    "gauss 4": (
        runge_kutta(
            "gauss4",
            A=[["1/4", sympy.Rational(1, 4) - sqrt(3) / 6], [sympy.Rational(1, 4) + sqrt(3) / 6, "1/4"]],
            b=["1/2", "1/2"],
        ),
        oo,
        oo,
    ),
}


def check(got, expected):
    """Exactly, where the expected value is exact, else to 14 digits; never a float for an answer."""
    assert isinstance(got, sympy.Expr)
    assert not got.has(sympy.Float)
    if isinstance(expected, float):
        assert float(got) == pytest.approx(expected, rel=1e-14)
    else:
        assert sympy.simplify(got - expected) == 0 if expected != oo else got == oo


@pytest.mark.parametrize("name", ZOO)
def test_zoo(name):
    check(real_interval(name), ZOO[name][0])
    check(imaginary_interval(name), ZOO[name][1])


@pytest.mark.parametrize("name", IMPLICIT)
def test_implicit_schemes(name):
    scheme, real, imaginary = IMPLICIT[name]
    check(real_interval(scheme), real)
    check(imaginary_interval(scheme), imaginary)


def test_chebyshev_polynomials_touch_the_limit_inside_the_interval():
    # R(z) = T_s(1 + z/s^2) is -1 or 1 at points within [-2 s^2, 0] (Hairer & Wanner 1996, IV.2).
    two = runge_kutta("rkc2", A=[[0, 0], ["1/8", 0]], b=[0, 1])  # 1 + z + z^2/8
    three = runge_kutta("rkc3", A=[[0, 0, 0], ["1/27", 0, 0], [0, "4/27", 0]], b=[0, 0, 1])
    assert sympy.expand(sympy.chebyshevt(3, 1 + sympy.Symbol("z") / 9)).coeff(sympy.Symbol("z"), 3) == sympy.Rational(
        4, 729
    )
    check(real_interval(two), 8)
    check(real_interval(three), 18)


@pytest.mark.parametrize("value", ["-9/10", "-1/2", "-1/100", "0", "1/3", "999/1000"])
def test_lm_is_the_ellipse_of_lu_et_al(value):
    exact = sympy.Rational(value)
    check(real_interval("lm", k=value), 2 * (1 - exact))
    assert imaginary_interval("lm", k=value) is sympy.S.Zero


def test_lm_at_the_ends_of_its_range():
    # k = 1 is u_{n+1} = u_{n-1} + h f: leapfrog with half the step. k = -1 is u_{n+1} - 2 u_n +
    # u_{n-1} = h f with zeta^2 - (2 - x) zeta + 1 at z = -x: on the circle up to x = 4.
    check(real_interval("lm", k=1), 0)
    check(imaginary_interval("lm", k=1), 2)
    check(real_interval("lm", k=-1), 4)
    for value in (-2, 2):
        assert real_interval("lm", k=value) is sympy.S.Zero
        assert imaginary_interval("lm", k=value) is sympy.S.Zero


@pytest.mark.parametrize("name", ["euler", "midpoint", "heun", "ab2"])
def test_zero_is_zero_and_not_a_small_float(name):
    assert imaginary_interval(name) is sympy.S.Zero


def test_harmless_double_eigenvalue_is_not_taken_for_an_unstable_one():
    # Two further carried values flip their sign each step: -1 twice, diagonalisable, hence bounded.
    scheme = Scheme("flips", [[0]], [[1, 0, 0]], [[1], [1], [1]], [[1, 0, 0], [0, -1, 0], [0, 0, -1]])
    check(real_interval(scheme), 2)


def scan(coefficients, direction):
    """First unstable point of a fine grid, from numpy's roots of a polynomial typed by hand."""
    grid = np.arange(1, 4001) / 1000
    radius = np.array([np.abs(np.roots(coefficients(direction * t))).max() for t in grid])
    return grid[np.argmax(radius > 1 + 1e-9)] if (radius > 1 + 1e-9).any() else math.inf


@pytest.mark.parametrize("seed", range(8))
def test_random_two_step_schemes_against_a_scan(seed):
    c, b1 = (sympy.Rational(int(n), 20) for n in np.random.default_rng(seed).integers(-16, 17, size=2))
    b0 = 1 + c - b1
    scheme = multistep("random", a=[1 - c, c], b=[b0, b1])
    rough = scan(lambda z: [1, -(1 - float(c)) - z * float(b0), -float(c) - z * float(b1)], -1)
    exact = float(real_interval(scheme))
    if exact == 0:
        assert rough == 0.001
    elif exact < 4:
        assert 0 <= rough - exact <= 0.001 + 1e-9
    else:
        assert rough == math.inf


def test_momentum_and_zerosnet_against_jury():
    # zeta = -1 is the first to leave: (1 + 1.9 + 0.9) = z/10 and -1 - 1/3 + 5/9 - 1/9 = 16/9 z.
    check(real_interval("momentum"), 38)
    check(real_interval("zerosnet"), sympy.Rational(1, 2))
    assert imaginary_interval("momentum") is sympy.S.Zero


def test_numbers_are_needed():
    with pytest.raises(SchemeError, match=r"lm: the real interval got no value for k.*k=\"-1/2\""):
        real_interval("lm")
    with pytest.raises(SchemeError, match="free symbols"):
        imaginary_interval("rk4", k=1)
    with pytest.raises(SchemeError, match="called zeta, expected another name"):
        real_interval(multistep("bad", a=[1 - sympy.Symbol("zeta"), sympy.Symbol("zeta")], b=[1]))


def test_every_zoo_scheme_without_symbols_has_intervals():
    for scheme in schemes.values():
        if not scheme.symbols:
            for found in (real_interval(scheme), imaginary_interval(scheme)):
                assert found >= 0
                assert not found.has(sympy.Float)
