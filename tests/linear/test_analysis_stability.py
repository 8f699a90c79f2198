"""Stability matrix, function, polynomial and region against formulas typed by hand and iteration."""

import numpy as np
import pytest
import sympy

from odenets import SchemeError, multistep, runge_kutta, schemes
from odenets.analysis import (
    is_stable,
    stability_function,
    stability_matrix,
    stability_polynomial,
    stability_region,
    z,
    zeta,
)
from odenets.analysis.linear.region import amplification_factors

k = sympy.Symbol("k", real=True)
Rational = sympy.Rational
BACKWARD_EULER = multistep("be", a=[1], b=[0], b_next=1)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("euler", 1 + z),
        ("midpoint", 1 + z + z**2 / 2),
        ("kutta3", 1 + z + z**2 / 2 + z**3 / 6),
        ("rk4", 1 + z + z**2 / 2 + z**3 / 6 + z**4 / 24),
    ],
)
def test_stability_function(name, function):
    assert sympy.expand(stability_function(name) - function) == 0


def test_stability_function_of_the_implicit_midpoint_is_the_cayley_transform():
    scheme = runge_kutta("im", A=[["1/2"]], b=[1])
    assert sympy.cancel(stability_function(scheme) - (1 + z / 2) / (1 - z / 2)) == 0


def test_stability_functions_of_networks():
    # PolyNet is the series of (1 - z)^-1 cut off; the two functions of 2-way share u' = z u.
    for name, function in {"poly2": 1 + z + z**2, "poly3": 1 + z + z**2 + z**3, "way2": 1 + z}.items():
        assert sympy.expand(stability_function(name) - function) == 0


@pytest.mark.parametrize(
    ("name", "above", "below"),
    [
        ("gauss2", 1 + z / 2 + z**2 / 12, 1 - z / 2 + z**2 / 12),
        ("radau_iia3", 1 + 2 * z / 5 + z**2 / 20, 1 - 3 * z / 5 + 3 * z**2 / 20 - z**3 / 60),
        ("lobatto_iiic3", 1 + z / 4, 1 - 3 * z / 4 + z**2 / 4 - z**3 / 24),
    ],
)
def test_collocation_gives_pade_approximants(name, above, below):
    # Hairer & Wanner 1996, IV.3 table 3.1: the surds of the nodes cancel.
    assert sympy.cancel(stability_function(name) - above / below) == 0


def test_partitioned_stability_matrix_of_the_oscillator():
    # x' = z y, y' = z x; kick-drift-kick: [[1 + z^2/2, z], [z + z^3/4, 1 + z^2/2]].
    expected = sympy.Matrix([[1 + z**2 / 2, z], [z + z**3 / 4, 1 + z**2 / 2]])
    assert (stability_matrix("verlet") - expected).applyfunc(sympy.expand).is_zero_matrix


def test_stability_function_needs_a_one_step_scheme():
    with pytest.raises(SchemeError, match=r"ab2 carries 2 values.*stability_polynomial"):
        stability_function("ab2")


def test_stability_matrix_of_lm():
    assert stability_matrix("lm") == sympy.Matrix([[1 - k + z, k], [1, 0]])
    assert stability_matrix("lm", k="1/2") == sympy.Matrix([[Rational(1, 2) + z, Rational(1, 2)], [1, 0]])


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [
        ("ab2", zeta**2 - (1 + 3 * z / 2) * zeta + z / 2),
        ("lm", zeta**2 - (1 - k + z) * zeta - k),
        ("leapfrog", zeta**2 - 2 * z * zeta - 1),
        ("momentum", zeta**2 - (Rational(19, 10) + z / 10) * zeta + Rational(9, 10)),
        (BACKWARD_EULER, (1 - z) * zeta - 1),
        # Carried slopes of BDF3 bring in factors zeta, which the textbook's polynomial does not have.
        (
            multistep("bdf3", a=["18/11", "-9/11", "2/11"], b=[0], b_next="6/11"),
            zeta**3 * (1 - 6 * z / 11) - 18 * zeta**2 / 11 + 9 * zeta / 11 - Rational(2, 11),
        ),
    ],
)
def test_stability_polynomial(scheme, expected):
    assert sympy.expand(stability_polynomial(scheme).as_expr() - expected) == 0


# Recurrences typed by hand, u_{n+1} from (u_n, u_{n-1}, u_{n-2}) on f = z u.
RECURRENCES = {
    "euler": lambda z, u: (1 + z) * u[0],
    "ab2": lambda z, u: u[0] + z * (1.5 * u[0] - 0.5 * u[1]),
    "ab3": lambda z, u: u[0] + z * (23 * u[0] - 16 * u[1] + 5 * u[2]) / 12,
    "zerosnet": lambda z, u: u[0] / 3 + 5 * u[1] / 9 + u[2] / 9 + 16 * z * u[0] / 9,
    "rk4": lambda z, u: (1 + z * (1 + z / 2 * (1 + z / 3 * (1 + z / 4)))) * u[0],
}


@pytest.mark.parametrize("name", RECURRENCES)
def test_stability_against_iterating_the_recurrence(name):
    rng = np.random.default_rng(0)
    points = rng.uniform(-3, 1, 400) + 1j * rng.uniform(-3, 3, 400)
    radius = np.abs(amplification_factors(schemes[name], points)).max(axis=-1)
    points = points[np.abs(radius - 1) > 0.01]  # too near to the rim to see in so many steps
    u = [rng.normal(size=points.shape) + 0j for _ in range(3)]
    for _ in range(3000):
        u = [np.clip(np.abs(new := RECURRENCES[name](points, u)), 0, 1e90) * np.exp(1j * np.angle(new)), *u[:2]]
    assert (is_stable(name, points) == (np.abs(u[0]) < 1)).all()
    assert is_stable(name, points).any()


def test_region_is_the_unit_disc_of_euler():
    region = stability_region("euler", re=(-3, 1), im=(-2, 2), resolution=101)
    x, y = np.meshgrid(region.re, region.im)
    np.testing.assert_allclose(region.radius, np.hypot(1 + x, y), atol=1e-14)
    assert region.radius.shape == region.stable.shape == (101, 101)
    assert region.stable[50, 50] == (np.hypot(1 + region.re[50], region.im[50]) <= 1)


def test_lm_ellipse_on_thousands_of_random_points():
    rng = np.random.default_rng(1)
    for value in rng.uniform(-1, 1, 60):
        kn = round(float(value), 3)
        x, y = rng.uniform(-4.2, 0.5, 100), rng.uniform(-2.1, 2.1, 100)
        ellipse = ((x + 1 - kn) / (1 - kn)) ** 2 + (y / (1 + kn)) ** 2
        clear = np.abs(ellipse - 1) > 1e-6
        found = is_stable("lm", x + 1j * y, k=kn)
        assert (found[clear] == (ellipse < 1)[clear]).all(), kn


def test_multiple_roots_on_the_circle_are_unstable():
    # Leapfrog: zeta = i y +- sqrt(1 - y^2), a double root at the ends of [-i, i].
    assert is_stable("leapfrog", [0.999j, -0.5j, 0]).tolist() == [True, True, True]
    assert is_stable("leapfrog", [1j, -1j, 1.001j, -0.001]).tolist() == [False, False, False, False]
    assert not is_stable("lm", 0, k=-1)
    assert is_stable("lm", 0, k=1)


def test_poles_are_unstable_and_do_not_disturb_their_neighbours():
    region = stability_region(BACKWARD_EULER, re=(-1, 1), im=(-1, 1), resolution=3)
    assert region.radius[1, 2] == np.inf
    np.testing.assert_allclose(region.radius[1, :2], [1 / 2, 1])
    assert is_stable(BACKWARD_EULER, [1, -1, 3]).tolist() == [False, True, True]


@pytest.mark.parametrize(
    "arguments",
    [
        {"re": (1, -1)},
        {"im": (0, float("nan"))},
        {"re": (1, 2, 3)},
        {"resolution": 1},
        {"resolution": 2.5},
    ],
)
def test_bad_grids(arguments):
    with pytest.raises(SchemeError, match=r"stability region: (resolution: )?got"):
        stability_region("euler", **arguments)
