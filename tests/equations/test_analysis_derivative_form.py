"""The modified equation in derivative form: hand expansions, and the defect of a smooth function."""

import math

import numpy as np
import pytest
import sympy

from odenets import SchemeError, multistep
from odenets.analysis import derivative_form

k = sympy.Symbol("k", real=True)
R = sympy.Rational
LM4 = "(1 + k) u' + (1 - k) (h/2) u'' + (1 + k) (h^2/6) u''' + (1 - k) (h^3/24) u'''' + ... = f"


def test_lm_is_the_equation_of_lu_et_al():
    found = derivative_form("lm", 4)
    expected = [1 + k, (1 - k) / 2, (1 + k) / 6, (1 - k) / 24]
    assert all(sympy.expand(a - b) == 0 for a, b in zip(found.left, expected, strict=True))
    assert found.right == (1, 0, 0, 0)
    assert str(found) == found.text() == LM4
    assert found.order == 4


@pytest.mark.parametrize(
    ("scheme", "order", "text"),
    [
        ("euler", 2, "u' + (h/2) u'' + ... = f"),
        ("leapfrog", 5, "u' + (h^2/6) u''' + (h^4/120) u^(5) + ... = f"),
        ("ab2", 3, "u' + (h/2) u'' + (h^2/6) u''' + ... = f + (h/2) f' - (h^2/4) f'' + ..."),
        (multistep("be", a=[1], b=[0], b_next=1), 2, "u' - (h/2) u'' + ... = f"),
        # momentum: (zeta - 1)(zeta - 9/10) over zeta/10, 10 times 19/20 = 19/2.
        ("momentum", 2, "u' + (19 h/2) u'' + ... = f"),
        # (zeta - 1)(zeta^2 + (k1 + k2) zeta + k2): sums by degree, then by name.
        ("lm3", 2, "(1 + k1 + 2*k2) u' + (1 - k1 - 4*k2) (h/2) u'' + ... = f"),
        # Scaled by 1 + k, LM is consistent (Sander et al. 2021 with gamma = -k).
        (multistep("scaled", a=[1 - k, k], b=[1 + k]), 2, "u' + ((1 - k)/(1 + k)) (h/2) u'' + ... = f"),
    ],
)
def test_text(scheme, order, text):
    assert str(derivative_form(scheme, order)) == text


def test_values_and_the_second_order_equation_at_minus_one():
    assert str(derivative_form("lm", 2, k="1/2")) == "(3/2) u' + (h/4) u'' + ... = f"
    assert str(derivative_form("lm", 4, k=-1)) == "h u'' + (h^3/12) u'''' + ... = f"
    assert str(derivative_form("lm", 2, k=3)) == "4 u' - h u'' + ... = f"


def test_latex():
    assert derivative_form("euler", 2).latex() == r"u' + \frac{h}{2} u'' + \cdots = f"
    lm = derivative_form("lm", 2).latex()
    assert lm == r"\left(1 + k\right) u' + \left(1 - k\right) \frac{h}{2} u'' + \cdots = f"


STEPS = (0.04, 0.02, 0.01)


# u(t) = exp(t/2) + cos t has derivatives of every order by hand.
def derivative(m, t):
    return 0.5**m * math.exp(t / 2) + math.cos(t + m * math.pi / 2)


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("value", [R(-1, 2), R(0), R(3, 4)])
def test_defect_of_a_smooth_function_is_of_the_order_of_the_remainder(order, value):
    found = derivative_form("lm", order, k=value)
    kn, t = float(value), 0.3

    def defect(h):
        u = [derivative(0, t + j * h) for j in (1, 0, -1)]
        f = (u[0] - (1 - kn) * u[1] - kn * u[2]) / h
        return abs(f - sum(float(c) * h**m * derivative(m + 1, t) for m, c in enumerate(found.left)))

    slope = np.polyfit(np.log(STEPS), np.log([defect(h) for h in STEPS]), 1)[0]
    assert slope > order - 0.1


def test_defect_with_past_function_values():
    # f := g(t) any smooth function; both sides of AB2's equation are read off its own recurrence.
    found = derivative_form("ab2", 4)

    def defect(h):
        left = (derivative(0, 0.3 + h) - derivative(0, 0.3)) / h
        right = 1.5 * derivative(1, 0.3) - 0.5 * derivative(1, 0.3 - h)
        series_left = sum(float(c) * h**m * derivative(m + 1, 0.3) for m, c in enumerate(found.left))
        series_right = sum(float(c) * h**m * derivative(m + 1, 0.3) for m, c in enumerate(found.right))
        return abs(left - series_left), abs(right - series_right)

    coarse, fine = defect(0.1), defect(0.05)
    assert all(math.log2(a / b) > 3.9 for a, b in zip(coarse, fine, strict=True))


def test_bad_input():
    with pytest.raises(SchemeError, match=r"rk4: got 4 stages, expected 1.*modified_equation has the form"):
        derivative_form("rk4", 3)
    with pytest.raises(SchemeError, match=r"in_resnet: got rho\(1\) = lam, expected 0"):
        derivative_form("in_resnet")
    for order in (0, -1, 2.0, True):
        with pytest.raises(SchemeError, match="expected an integer of at least 1"):
            derivative_form("lm", order)
