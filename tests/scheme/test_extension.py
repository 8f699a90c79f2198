"""The solution inside a step: its order, and the extensions that others have printed."""

import numpy as np
import pytest
import sympy
from scipy.integrate import RK23, RK45

from odenets import runge_kutta, schemes
from odenets.scheme.extension import solutions

THETA = np.linspace(0.0, 1.0, 9)


def weights(scheme, theta):
    """b_i(theta) of the stages and, last, of f(u_{n+1}): Hermite interpolation, and what order 4 and more add to it."""
    found = scheme.extension
    b = np.array(scheme.B.row(0), dtype=float)[0]
    if found.appended:
        b = np.append(b, 0.0)
    first, last = np.eye(len(b))[[0, -1]]
    cubic = theta**2 * (3 - 2 * theta) * b + theta * (1 - theta) ** 2 * first - theta**2 * (1 - theta) * last
    terms = [theta**k * np.array(d, dtype=float) for k, d in enumerate(found.terms)]
    return cubic + theta**2 * (1 - theta) ** 2 * sum(terms)


@pytest.mark.parametrize(("name", "peer"), [("bosh3", RK23), ("dopri5", RK45)])
def test_the_extensions_of_scipy(name, peer):
    # Bogacki & Shampine (1989) is cubic Hermite interpolation, Shampine (1986) has the least error of order 5.
    for theta in THETA:
        np.testing.assert_allclose(
            weights(schemes[name], theta), peer.P @ theta ** np.arange(1, 5)[: peer.P.shape[1]], atol=1e-14
        )


def test_tsit5_is_near_the_printed_one():
    # Tsitouras (2011), the factors of theta^4, which he rounded to 5/2 at the last stage and nearly minimised
    printed = [-1.0530884977290216, 0.1017, 2.490627285651252793, -16.54810288924490272, 47.37952196281928122]
    printed += [-34.87065786149660974, 2.5]
    (found,) = schemes["tsit5"].extension.terms
    np.testing.assert_allclose(np.array(found, dtype=float), printed, rtol=0.01)


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("euler", 1),
        ("midpoint", 2),
        ("heun", 2),
        ("rk4", 3),  # Hairer, Norsett & Wanner (1993), II.6: no order 4 with four stages
        ("bosh3", 3),
        ("fehlberg45", 4),
        ("cash_karp", 4),
        ("dopri5", 4),
        ("tsit5", 4),
        ("dop853", 6),
        ("ab4", 3),
        ("gauss3", 3),
        ("gated_rk2", 1),
        ("lm", 0),
    ],
)
def test_orders(name, order):
    assert schemes[name].dense_order == order


@pytest.mark.parametrize("name", ["ssprk104", "fehlberg45", "cash_karp", "dopri5", "tsit5", "dop853"])
def test_conditions_typed_by_hand(name):
    """Quadrature, and the trees [[tau]], [[tau, tau]], [[[tau]]] and [tau, [tau]] of Hairer, Norsett & Wanner, II.6."""
    scheme = schemes[name]
    A = np.array(scheme.A, dtype=float)
    if scheme.extension.appended:
        A = np.pad(np.vstack([A, np.array(scheme.B.row(0), dtype=float)]), ((0, 0), (0, 1)))
    c = A.sum(1)
    for theta in THETA:
        b = weights(scheme, theta)
        for q in range(1, scheme.dense_order + 1):
            assert b @ c ** (q - 1) == pytest.approx(theta**q / q, abs=1e-12)
        assert b @ A @ c == pytest.approx(theta**3 / 6, abs=1e-12)
        assert b @ A @ c**2 == pytest.approx(theta**4 / 12, abs=1e-12)
        assert b @ A @ A @ c == pytest.approx(theta**4 / 24, abs=1e-12)
        assert b @ (c * (A @ c)) == pytest.approx(theta**4 / 8, abs=1e-12)


def test_decimals_are_judged_to_their_digits():
    known = schemes["tsit5"]
    A = [[float(x) for x in known.A.row(i)][:6] for i in range(6)]
    rounded = runge_kutta("rounded", A=A, b=[float(x) for x in known.B.row(0)][:6], fsal=True)
    assert (known.digits, rounded.digits) == (30, 15)
    assert rounded.dense_order == 4
    np.testing.assert_allclose(weights(rounded, 0.3), weights(known, 0.3), rtol=1e-6)


def test_linear_equations():
    rows = [[sympy.QQ(x) for x in row] for row in ([1, 1, 0, 3], [1, 1, 0, 3], [0, 0, 2, 4])]
    (found,), (free,) = solutions(rows, 3, lambda x: x == 0, sympy.QQ)
    assert [found[0] + found[1], found[2]] == [3, 2]
    assert free[0] + free[1] == 0 == free[2] != free[0]
    assert solutions([*rows, [sympy.QQ(x) for x in (1, 1, 0, 4)]], 3, lambda x: x == 0, sympy.QQ) is None
