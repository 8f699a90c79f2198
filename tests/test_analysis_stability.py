"""Stability matrix, function, polynomial and region against formulas typed by hand and iteration."""

import numpy as np
import pytest
import sympy

import analysis
from analysis import (
    effective_step,
    error_constant,
    is_stable,
    multistep_polynomials,
    order,
    stability_function,
    stability_matrix,
    stability_polynomial,
    stability_region,
    z,
    zero_stable,
    zero_stable_range,
    zeta,
)
from odenets import Scheme, SchemeError, multistep, runge_kutta, schemes

k, c = sympy.symbols("k c", real=True)
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
    radius = np.abs(analysis.region.amplification_factors(schemes[name], points)).max(axis=-1)
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


def test_zero_stability_of_lm():
    # rho = (zeta - 1)(zeta + k): zero-stable iff -1 < k <= 1 (Lu et al. 2018).
    verdicts = {-2: False, -1: False, "-999999999/1000000000": True, 0: True, 1: True, 1.001: False}
    for value, expected in verdicts.items():
        assert zero_stable("lm", k=value) is expected, value
    assert zero_stable_range("lm") == sympy.Interval.Lopen(-1, 1)


def test_zero_stability_of_classics():
    # Dahlquist: the explicit two-step scheme of order 3 has the root -5; BDF7 is unstable, BDF6 is not.
    assert not zero_stable(multistep("most accurate", a=[-4, 5], b=[4, 2]))
    assert all(zero_stable(scheme) for scheme in schemes.values() if not scheme.symbols)
    assert zero_stable(_bdf(6))
    assert not zero_stable(_bdf(7))


def _bdf(q):
    """sum_{j=1}^q (1/j) nabla^j u_{n+1} = h f_{n+1} (Hairer, Norsett & Wanner 1993, III.1)."""
    weights = [
        sum(Rational((-1) ** i) * sympy.binomial(j, i) / j for j in range(max(i, 1), q + 1)) for i in range(q + 1)
    ]
    return multistep(f"bdf{q}", a=[-w / weights[0] for w in weights[1:]], b=[0], b_next=1 / weights[0])


def test_zero_stability_range_with_inner_points_and_poles():
    # rho = (zeta - 1)(zeta^2 + c): the roots leave the circle at c = 1, simple there except at c = -1.
    assert zero_stable_range(multistep("t", a=[1, -c, c], b=[1 + c])) == sympy.Interval.Lopen(-1, 1)
    # u_{n+1} = u_n - u_{n-1}/c + u_{n-2}/c ...: the same with 1/c, which has a pole.
    found = zero_stable_range(multistep("t", a=[1, -1 / c, 1 / c], b=[1 + 1 / c]))
    assert found == sympy.Union(sympy.Interval.open(-sympy.oo, -1), sympy.Interval(1, sympy.oo))


def test_zero_stability_of_semisimple_eigenvalues():
    def build(coupling):
        return Scheme("f", [[0]], [[1, 0, 0]], [[1], [1], [1]], [[1, 0, 0], [0, -1, coupling], [0, 0, -1]])

    assert zero_stable(build(0))
    assert not zero_stable(build(1))


def test_zero_stability_asks_for_numbers():
    with pytest.raises(SchemeError, match=r"lm: zero-stability got no value for k.*zero_stable_range"):
        zero_stable("lm")
    with pytest.raises(SchemeError, match="rk4: the range of zero-stability got free symbols none, expected exactly"):
        zero_stable_range("rk4")


def test_order_and_error_constant():
    assert [order(name) for name in ("euler", "heun", "kutta3", "rk4", "ab3", "lm")] == [1, 2, 3, 4, 3, 0]
    assert order("lm", k=0) == 1
    constants = [error_constant(name) for name in ("euler", "ab2", "ab3")]
    assert constants == [Rational(1, 2), Rational(5, 12), Rational(3, 8)]
    # Two functions a step, or u' = 0 not kept: there is no single number.
    assert error_constant("verlet") is error_constant("way2") is error_constant("in_resnet") is None


@pytest.mark.parametrize(
    ("scheme", "rho", "sigma"),
    [
        ("lm", (zeta - 1) * (zeta + k), zeta),
        ("ab2", zeta**2 - zeta, 3 * zeta / 2 - Rational(1, 2)),
        ("leapfrog", zeta**2 - 1, 2 * zeta),
        ("momentum", (zeta - 1) * (zeta - Rational(9, 10)), zeta / 10),
        (multistep("trapezoid", a=[1], b=["1/2"], b_next="1/2"), zeta - 1, (zeta + 1) / 2),
        (BACKWARD_EULER, zeta - 1, zeta),
    ],
)
def test_generating_polynomials(scheme, rho, sigma):
    found = multistep_polynomials(scheme)
    assert sympy.expand(found[0].as_expr() - rho) == 0
    assert sympy.expand(found[1].as_expr() - sigma) == 0


def test_generating_polynomials_of_other_schemes():
    with pytest.raises(SchemeError, match="rk4 got 4 stages, expected one"):
        multistep_polynomials("rk4")
    with pytest.raises(SchemeError, match="neither u_n nor"):
        multistep_polynomials(runge_kutta("im", A=[["1/2"]], b=[1]))


def test_effective_step():
    assert sympy.simplify(effective_step("lm") - 1 / (1 + k)) == 0
    assert effective_step("lm", k="1/2") == Rational(2, 3)
    assert effective_step("lm", k=-1) == sympy.oo
    k1, k2 = sympy.symbols("k1 k2", real=True)
    # lm3: (zeta - 1)(zeta^2 + (k1 + k2) zeta + k2), its second factor at 1.
    assert sympy.cancel(effective_step("lm3") - 1 / (1 + k1 + 2 * k2)) == 0
    # Whatever is consistent advances by h: several components, functions, stages that start from 0, decimals.
    for scheme in schemes.values():
        assert effective_step(scheme) == 1 or scheme.order == 0, scheme.name


def test_effective_step_of_components_that_part():
    # x advances by h, y by h/2.
    parts = {"U": [[0, 1], [1, 0]], "B": [[1, 0], [0, "1/2"]], "V": sympy.eye(2)}
    odd = Scheme("odd", [[0, 0], [1, 0]], **parts, modules=(0, 1), functions=((1, 0), (0, 1)), strict=False)
    with pytest.raises(SchemeError, match="odd: got components that advance by"):
        effective_step(odd)


def test_one_more_constant_among_the_carried_values_is_harmless():
    # A carried value that only repeats itself puts a second eigenvalue 1 into V.
    scheme = Scheme("idle", [[0]], [[1, 0]], [[1], [0]], [[1, 0], [0, 1]], functions=((0, 0),), strict=False)
    with pytest.raises(SchemeError, match="not determined by the solution"):
        effective_step(scheme)


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
    with pytest.raises(SchemeError, match="stability region: got"):
        stability_region("euler", **arguments)
