"""Order, error constant, generating polynomials and effective step, against textbook values."""

import pytest
import sympy

from odenets import Scheme, SchemeError, multistep, runge_kutta, schemes
from odenets.analysis import effective_step, error_constant, multistep_polynomials, order, zeta
from odenets.analysis.linear.generating_polynomials import steps

k = sympy.Symbol("k", real=True)
Rational = sympy.Rational
BACKWARD_EULER = multistep("be", a=[1], b=[0], b_next=1)


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


def test_number_of_steps():
    # k of the k-step schemes (Hairer, Norsett & Wanner 1993, III.1); Adams-Moulton of order p has p - 1.
    expected = {"euler": 1, "rk4": 1, "trapezoid": 1, "verlet": 1, "ab1": 1, "ab3": 3, "am2": 1, "am4": 3, "bdf1": 1}
    expected |= {"bdf4": 4, "nystrom2": 2, "nystrom3": 3, "milne_simpson": 2, "leapfrog": 2, "lm": 2, "lm3": 3}
    expected |= {"zerosnet": 3, "momentum": 2, "pece3": 3}
    assert {name: steps(name) for name in expected} == expected


@pytest.mark.parametrize("gamma", ["1/2", "9/10", "-1/3"])
def test_the_error_constant_does_not_depend_on_what_a_multistep_scheme_carries(gamma):
    # u_{n+2} - (1 + g) u_{n+1} + g u_n = h (1 - g) f_{n+1}, with a velocity and with u_n; alpha_2 = 1
    g = sympy.Rational(gamma)
    velocity = Scheme("velocity", [[0]], [[1, 0]], [[1 - g], [1 - g]], [[1, g], [0, g]])
    past = multistep("past", a=[1 + g, -g], b=[1 - g])
    difference = Scheme("difference", [[0]], [[1, 0]], [[1 - g], [2 * (1 - g)]], [[1, g / 2], [0, g]])
    known = (4 - (1 + g)) / 2 - (1 - g)
    assert error_constant(velocity) == error_constant(past) == error_constant(difference) == known
