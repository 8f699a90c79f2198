"""Nodes of Gauss, Radau and Lobatto beyond those with formulas, and the schemes at them.

OrdinaryDiffEq.jl 2531: adaptive Radau of 11 and 13 stages is wrong, its nodes not being accurate. Irksome 7: Gauss and
Radau of many stages take sympy minutes.
"""

import math

import numpy as np
import pytest
import sympy
import torch
from numpy.polynomial.legendre import Legendre

from odenets import ODENet, SchemeError, TimeField, analysis, rk_families, runge_kutta, schemes


def zeros(*coefficients):
    """Zeros on [0, 1] of a sum of Legendre polynomials, by NumPy's companion matrix."""
    return np.sort((Legendre(coefficients).roots().real + 1) / 2)


def series(degree, sign=0, other=1):
    c = [0.0] * (degree + 1)
    c[degree] = 1.0
    if sign:
        c[degree - other] = sign
    return c


@pytest.mark.parametrize("s", [1, 2, 3, 4, 5, 7, 9, 12])
def test_nodes_are_all_there(s):
    found = {"gauss": rk_families.gauss_nodes(s), "left": rk_families.radau_nodes(s, 0)}
    found |= {"right": rk_families.radau_nodes(s, np.int64(1))}
    right = {"gauss": series(s), "left": series(s, 1), "right": series(s, -1)}
    if s > 1:
        found["lobatto"], right["lobatto"] = rk_families.lobatto_nodes(s), series(s, -1, 2)
    for name, nodes in found.items():
        assert len(nodes) == s
        np.testing.assert_allclose([float(c) for c in nodes], zeros(*right[name]), atol=2e-13)
    assert found["left"][0] == 0
    assert found["right"][-1] == 1


def test_right_radau_nodes_of_four_stages():
    # OrdinaryDiffEq.jl and Hairer & Wanner (1999), table of Radau IIA
    right = [0.08858795951270394739, 0.40946686444073471087, 0.78765946176084705602, 1]
    assert [sympy.N(c, 20) for c in rk_families.radau_nodes(4, 1)] == pytest.approx(right, abs=1e-16)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: rk_families.gauss_nodes(0), "integer of at least 1"),
        (lambda: rk_families.lobatto_nodes(1), "integer of at least 2"),
        (lambda: rk_families.radau_nodes(3, 2), "Radau I"),
        (lambda: rk_families.collocation("x", ["1/2", "1/2"]), "different"),
        (lambda: rk_families.collocation("x", []), "at least one"),
    ],
)
def test_no_such_nodes(wrong, message):
    with pytest.raises(SchemeError, match=message):
        wrong()


# Orders 2s, 2s - 1 and 2s - 2: Hairer & Wanner (1996), IV.5, table 5.13
FAMILIES = {
    "gauss": (lambda s: rk_families.collocation("x", rk_families.gauss_nodes(s)), lambda s: 2 * s),
    "radau_iia": (lambda s: rk_families.collocation("x", rk_families.radau_nodes(s, 1)), lambda s: 2 * s - 1),
    "radau_ia": (lambda s: rk_families.adjoint_collocation("x", rk_families.radau_nodes(s, 0)), lambda s: 2 * s - 1),
    "lobatto_iiia": (lambda s: rk_families.collocation("x", rk_families.lobatto_nodes(s)), lambda s: 2 * s - 2),
    "lobatto_iiic": (lambda s: rk_families.lobatto_iiic("x", rk_families.lobatto_nodes(s)), lambda s: 2 * s - 2),
}


@pytest.mark.parametrize(("family", "s"), [*((name, s) for name in FAMILIES for s in (4, 5)), ("gauss", 12)])
def test_orders(family, s):
    make, order = FAMILIES[family]
    scheme = make(s)
    assert scheme.order == order(s)
    assert scheme.digits == (None if family.startswith("lobatto") and s < 6 else 50)  # 1/2 +- sqrt(21)/14: surds
    # exact but for these digits: sum b c^(q-1) = 1/q, in 40 decimals
    for q in range(1, order(s) + 1):
        total = sum(b * c ** (q - 1) for b, c in zip(scheme.B, scheme.nodes, strict=True))
        assert abs(total - sympy.Rational(1, q)) < sympy.Rational(1, 10**40)


def pade(k, j):
    """The Pade approximant of exp, degrees k above and j below (Hairer & Wanner 1996, IV.3, theorem 3.11)."""
    z = analysis.z
    above = sum(
        math.comb(k, i) * sympy.Rational(math.factorial(j + k - i), math.factorial(j + k)) * z**i for i in range(k + 1)
    )
    below = sum(
        math.comb(j, i) * sympy.Rational(math.factorial(j + k - i), math.factorial(j + k)) * (-z) ** i
        for i in range(j + 1)
    )
    return above / below


@pytest.mark.parametrize(
    ("family", "s", "above", "below"),
    [("gauss", 4, 4, 4), ("gauss", 12, 12, 12), ("radau_iia", 5, 4, 5), ("lobatto_iiic", 4, 2, 4)],
)
def test_stability_functions_are_pade_approximants(family, s, above, below):
    scheme = FAMILIES[family][0](s)
    assert sympy.cancel(analysis.stability_function(scheme) - pade(above, below)) == 0
    if s < 12:
        assert analysis.a_alpha(scheme) == 90
        assert analysis.l_stable(scheme) == (above < below)


def test_error_constant():
    # Gauss: (-1)^s (s!)^2/(2s)! (s!)^2... of the Pade approximant: (s!)^2 / ((2s)! (2s+1)!)
    found = FAMILIES["gauss"][0](4).error_constant
    assert abs(found - sympy.Rational(math.factorial(4) ** 2, math.factorial(8) * math.factorial(9))) < 1e-45


def test_twelve_stages_are_a_network():
    # u' = cos(t) u, u = exp(sin t)
    gauss = FAMILIES["gauss"][0](12)
    net = ODENet(TimeField(lambda t, u: torch.cos(t) * u, 0.0, 1.0, 2), gauss)
    end = net(torch.ones(1, 1, dtype=torch.float64))
    assert abs(end.item() - math.exp(math.sin(1.0))) < 1e-13


def test_collocation_at_given_floats():
    nodes = zeros(*series(4))
    assert rk_families.collocation("x", nodes).order == 8
    assert rk_families.collocation("x", nodes).digits == 15


def test_an_order_that_15_digits_cannot_tell():
    nodes = zeros(*series(9))
    with pytest.raises(SchemeError, match="right to 15 digits"):
        print(rk_families.collocation("x", nodes).order)


def test_an_order_that_only_trees_could_tell(monkeypatch):
    # Two explicit stages of weight 0 in front of Gauss: neither C(2) nor D(1) hold, and trees must be looked at.
    gauss = schemes["gauss3"]
    A = sympy.diag(sympy.Matrix([[0, 0], [sympy.Rational(1, 2), 0]]), sympy.Matrix(gauss.A))
    b = [0, 0, *gauss.B]
    assert runge_kutta("x", A, b).order == 6
    monkeypatch.setattr("odenets.scheme.order.MOST_VERTICES", 5)
    with pytest.raises(SchemeError, match=r"order 5 or more.*rooted trees"):
        print(runge_kutta("y", A, b).order)
