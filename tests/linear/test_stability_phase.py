"""Dispersion and dissipation: leading terms by hand, curves against formulas."""

import mpmath
import numpy as np
import pytest
import sympy

from odenets import SchemeError, schemes
from odenets.analysis.linear.dispersion import dispersion_dissipation

R, oo = sympy.Rational, sympy.oo

# (q, c) of y - arg zeta(iy) = c y^(q+1) + ..., then of 1 - |zeta(iy)|; all by hand.
LEADING = {
    # arctan y, sqrt(1 + y^2)
    "euler": (2, R(1, 3), 1, -R(1, 2)),
    # 1 - y^2/2 + i y: |R|^2 = 1 + y^4/4
    "heun": (2, -R(1, 6), 3, -R(1, 8)),
    # |R|^2 = 1 - y^4/12 + y^6/36; arctan((y - y^3/6)/(1 - y^2/2))
    "kutta3": (4, -R(1, 30), 3, R(1, 24)),
    # |R|^2 = 1 - y^6/72 + y^8/576; van der Houwen & Sommeijer (1987)
    "rk4": (4, R(1, 120), 5, R(1, 144)),
    "backward_euler": (2, R(1, 3), 1, R(1, 2)),
    # 2 arctan(y/2)
    "implicit_midpoint": (2, R(1, 12), oo, 0),
    "trapezoid": (2, R(1, 12), oo, 0),
    # zeta = i y + sqrt(1 - y^2): arcsin y
    "leapfrog": (2, -R(1, 6), oo, 0),
    # zeta + 1/zeta = 2 - y^2: 2 arcsin(y/2)
    "verlet": (2, -R(1, 24), oo, 0),
    "symplectic_euler": (2, -R(1, 24), oo, 0),
    # y - 2 arctan((y/2)/(1 - y^2/12))
    "gauss2": (4, R(1, 720), oo, 0),
    # 1 - y^2 + i y: |R|^2 = 1 - y^2 + y^4; arctan(y/(1 - y^2)) = y + 2/3 y^3 ...
    "poly2": (2, -R(2, 3), 1, R(1, 2)),
}


@pytest.mark.parametrize("name", LEADING)
def test_leading_terms(name):
    found = dispersion_dissipation(name, y=[0.0])
    got = (found.dispersion_order, found.dispersion_constant, found.dissipation_order, found.dissipation_constant)
    assert got == LEADING[name]
    assert abs(found.dispersion[0]) + abs(found.dissipation[0]) < 1e-15


def test_lm_moves_at_its_effective_step():
    # arg zeta = y/(1 + k) + ...: k/(1 + k) y is missing. zeta = 1 + w + a_2 z^2, w = z/(1 + k), a_2 = k/(1 + k)^3:
    # |zeta|^2 = 1 + y^2 (1/(1 + k)^2 - 2 k/(1 + k)^3) = 1 + y^2 (1 - k)/(1 + k)^3.
    found = dispersion_dissipation("lm", y=[0.1], k="1/2")
    assert (found.dispersion_order, found.dispersion_constant) == (0, R(1, 3))
    assert (found.dissipation_order, found.dissipation_constant) == (1, -R(1, 2) / R(27, 8) / 2)


CURVES = {
    "rk4": lambda y: 1 - y**2 / 2 + y**4 / 24 + 1j * (y - y**3 / 6),
    "gauss2": lambda y: (1 + 1j * y / 2 - y**2 / 12) / (1 - 1j * y / 2 - y**2 / 12),
    "bdf2": lambda y: (2 + np.sqrt(1 + 2j * y)) / (3 - 2j * y),
    "ab2": lambda y: (1 + 1.5j * y + np.sqrt(1 + 1j * y - 2.25 * y**2)) / 2,
    "momentum": lambda y: (1.9 + 0.1j * y + np.sqrt((1.9 + 0.1j * y) ** 2 - 3.6)) / 2,
}


@pytest.mark.parametrize("name", CURVES)
def test_curves(name):
    y = np.linspace(0.01, 3, 50)
    found = dispersion_dissipation(name, y=y)
    zeta = CURVES[name](y)
    np.testing.assert_allclose(found.dissipation, 1 - np.abs(zeta), atol=1e-9)
    np.testing.assert_allclose(np.exp(1j * (y - found.dispersion)), zeta / np.abs(zeta), atol=1e-9)
    assert np.abs(np.diff(found.dispersion)).max() < 0.4


def test_the_angle_is_continuous_beyond_pi():
    # 2 arctan(y/2) stays below pi; y - arg of rk4 grows past it without a jump of 2 pi.
    y = np.linspace(0, 20, 101)
    np.testing.assert_allclose(dispersion_dissipation("implicit_midpoint", y=y).dispersion, y - 2 * np.arctan(y / 2))
    assert np.abs(np.diff(dispersion_dissipation("rk4", y=y).dispersion)).max() < 1


def test_default_points():
    found = dispersion_dissipation("rk4")
    assert found.y.shape == found.dispersion.shape == found.dissipation.shape == (400,)
    assert (found.y[0], found.y[-1]) == (0, np.pi)


def principal(scheme, y):
    """The eigenvalue of V + z B (I - z A)^-1 U nearest to e^z, to 60 digits."""
    numbers = [
        mpmath.matrix([[mpmath.mpf(str(sympy.N(x, 60))) for x in row] for row in m.tolist()]) for m in blocks(scheme)
    ]
    A, U, B, V = numbers
    z = mpmath.mpc(0, y)
    matrix = V + z * B * mpmath.inverse(mpmath.eye(A.rows) - z * A) * U
    values = mpmath.eig(matrix, left=False, right=False) if matrix.rows > 1 else [matrix[0]]
    return min(values, key=lambda value: abs(value - mpmath.exp(z)))


def blocks(scheme):
    return scheme.A, scheme.U, scheme.B, scheme.V


@pytest.mark.parametrize("name", ["ab3", "am4", "bdf5", "nystrom4", "milne_simpson", "zerosnet", "momentum", "pece4"])
def test_leading_terms_of_several_values_against_high_precision(name):
    found = dispersion_dissipation(name, y=[0.0])
    with mpmath.workdps(60):
        y = mpmath.mpf("1e-4")
        zeta = principal(schemes[name], y)
        phase = (y - mpmath.arg(zeta)) / y ** (found.dispersion_order + 1)
        assert float(phase) == pytest.approx(float(found.dispersion_constant), rel=1e-3)
        if found.dissipation_order == oo:
            assert abs(1 - abs(zeta)) < 1e-40
        else:
            amplitude = (1 - abs(zeta)) / y ** (int(found.dissipation_order) + 1)
            assert float(amplitude) == pytest.approx(float(found.dissipation_constant), rel=1e-3)


def test_schemes_that_keep_the_amplitude():
    # Symmetric one-step schemes, the splittings, and two-step schemes whose roots are mirrored at the circle.
    kept = {"trapezoid", "implicit_midpoint", "gauss1", "gauss2", "gauss3", "lobatto_iiia3", "am2", "symplectic_euler"}
    kept |= {"verlet", "yoshida4", "leapfrog", "nystrom2", "milne_simpson", "alf", "reversible_heun"}
    kept |= {"ars111"}  # (1 + z/2) / (1 - z/2), where each of its functions has half of lambda
    numeric = [scheme for scheme in schemes.values() if not scheme.symbols]
    assert {s.name for s in numeric if dispersion_dissipation(s, y=[0.0]).dissipation_order == oo} == kept


@pytest.mark.parametrize("y", [[], [1.0, 0.5], [-1.0], [[0.1]], [float("nan")], [0.1, 0.1]])
def test_bad_points(y):
    with pytest.raises(SchemeError, match="phase error: got y"):
        dispersion_dissipation("rk4", y=y)


def test_numbers_are_needed():
    with pytest.raises(SchemeError, match="phase error got no value for k"):
        dispersion_dissipation("lm")
    with pytest.raises(SchemeError, match="no single root"):
        dispersion_dissipation("in_resnet", lam="1/10")
