"""Boundary locus and order star: curves and facts typed by hand."""

import numpy as np
import pytest
import sympy

from odenets import SchemeError, schemes
from odenets.analysis.linear.boundary_locus import boundary_locus
from odenets.analysis.linear.order_star import order_star
from odenets.analysis.linear.principal_root import principal_series

R = sympy.Rational
V = {"k": "1/2", "k1": "1/4", "k2": "1/4", "g": "1/3", "lam": "1/10"}


def with_values(scheme):
    return {str(symbol): V[str(symbol)] for symbol in scheme.symbols}


# z = rho/sigma on zeta = e^(i theta) (Hairer & Wanner 1996, V.1).
LOCI = {
    "euler": lambda w: w - 1,
    "backward_euler": lambda w: 1 - 1 / w,
    "ab2": lambda w: (w**2 - w) / (1.5 * w - 0.5),
    "ab3": lambda w: 12 * (w**3 - w**2) / (23 * w**2 - 16 * w + 5),
    "bdf3": lambda w: (1 - 1 / w) + (1 - 1 / w) ** 2 / 2 + (1 - 1 / w) ** 3 / 3,
    "am3": lambda w: 12 * (w**2 - w) / (5 * w**2 + 8 * w - 1),
    "leapfrog": lambda w: (w - 1 / w) / 2,
    "lm": lambda w: (w - 1) * (w + 0.5) / w,
}


@pytest.mark.parametrize("name", LOCI)
def test_locus_of_multistep_schemes(name):
    locus = boundary_locus(name, 361, **with_values(schemes[name]))
    assert locus.theta.shape == (361,)
    assert locus.z.shape == (1, 361)
    np.testing.assert_allclose(locus.z[0], LOCI[name](np.exp(1j * locus.theta)), atol=1e-12)


@pytest.mark.parametrize("name", ["rk4", "ssprk104", "dopri5", "pece3", "gauss3", "verlet", "yoshida4", "sdirk2"])
def test_locus_of_every_branch_is_on_the_circle_and_continuous(name):
    scheme = schemes[name]
    locus = boundary_locus(name, 1441)
    A, U, B, W = (np.array(block.tolist(), dtype=float) for block in (scheme.A, scheme.U, scheme.B, scheme.V))
    for branch in locus.z:
        for theta, point in list(zip(locus.theta, branch, strict=True))[5::90]:
            if np.isfinite(point):
                matrix = W + point * B @ np.linalg.solve(np.eye(len(A)) - point * A, U)
                assert np.abs(np.linalg.eigvals(matrix) - np.exp(1j * theta)).min() < 1e-6 * (1 + abs(point))
        # A jump would be as large as the distance between branches; steps shrink with the angle.
        sphere = np.sqrt(1 + np.abs(branch) ** 2)
        steps = np.abs(np.diff(branch)) / (sphere[1:] * sphere[:-1])
        assert np.nanmax(steps) < 0.1


def test_locus_of_rk4_is_its_textbook_curve():
    # |1 + z + z^2/2 + z^3/6 + z^4/24| = 1 through 0 and -2.7852935634.
    z = boundary_locus("rk4").z
    np.testing.assert_allclose(np.abs(1 + z * (1 + z / 2 * (1 + z / 3 * (1 + z / 4)))), 1, atol=1e-12)
    assert z[np.abs(z.imag) < 1e-9].real.min() == pytest.approx(-2.785293563405282, abs=1e-9)


def test_locus_breaks_at_infinity():
    # Implicit midpoint: z = 2 i tan(theta/2).
    locus = boundary_locus("implicit_midpoint", 9)
    assert np.isnan(locus.z[0, 4])
    np.testing.assert_allclose(locus.z[0, :4], 2j * np.tan(locus.theta[:4] / 2), atol=1e-12)
    np.testing.assert_allclose(locus.z[0, 5:], 2j * np.tan(locus.theta[5:] / 2), atol=1e-12)


@pytest.mark.parametrize("points", [2, 3.5, True])
def test_bad_number_of_points(points):
    with pytest.raises(SchemeError, match="boundary locus: points: got"):
        boundary_locus("euler", points)


RATIOS = {
    "rk4": lambda z: 1 + z + z**2 / 2 + z**3 / 6 + z**4 / 24,
    "backward_euler": lambda z: 1 / (1 - z),
    "gauss2": lambda z: (1 + z / 2 + z**2 / 12) / (1 - z / 2 + z**2 / 12),
    "leapfrog": lambda z: z + np.sqrt(1 + z**2),
}


@pytest.mark.parametrize("name", ["rk4", "backward_euler", "gauss2"])
def test_order_star_of_one_step_schemes(name):
    star = order_star(name, re=(-3, 3.01), im=(-2, 4), resolution=40)
    z = star.re[None, :] + 1j * star.im[:, None]
    np.testing.assert_allclose(star.ratio, np.abs(RATIOS[name](z) * np.exp(-z)), rtol=1e-10)
    assert (star.star == (star.ratio > 1)).all()


def test_order_star_of_leapfrog_is_the_principal_sheet():
    # zeta = z + sqrt(1 + z^2): branch points +-i, the principal square root has its cuts on the axis beyond them.
    star = order_star("leapfrog", re=(-2.01, 2), im=(-2, 2.02), resolution=80)
    z = star.re[None, :] + 1j * star.im[:, None]
    clear = (np.abs(z.real) > 0.04) | (np.abs(z.imag) < 0.95)  # the cuts are drawn to a degree
    np.testing.assert_allclose(star.ratio[clear], np.abs(RATIOS["leapfrog"](z) * np.exp(-z))[clear], rtol=1e-7)


def test_order_star_of_ab2_swaps_sheets_beyond_its_branch_points():
    # zeta^2 - (1 + 3z/2) zeta + z/2: discriminant 1 + z + 9 z^2/4, zero at -2/9 +- i sqrt(32)/9. The principal
    # square root has its cut straight up, the continuation outwards along arg z = arg of the branch point.
    star = order_star("ab2", re=(-2, 2.01), im=(-2.01, 2), resolution=90)
    z = star.re[None, :] + 1j * star.im[:, None]
    b, root = 1 + 1.5 * z, np.sqrt(1 + z + 2.25 * z**2)
    point = -2 / 9 + 1j * np.sqrt(32) / 9
    turned = np.abs(np.angle(z)) - np.angle(point)
    wedge = (z.real < -2 / 9) & (turned < 0) & (np.abs(z) > abs(point))
    clear = (np.abs(turned) > 0.02) & (np.abs(z.real + 2 / 9) > 0.02)
    expected = np.where(wedge, (b - root) / 2, (b + root) / 2)
    assert (wedge & clear).sum() > 50
    np.testing.assert_allclose(star.ratio[clear], np.abs(expected * np.exp(-z))[clear], rtol=1e-7)


# Order on u' = lambda u, and C of zeta = e^z - C z^(p+1): 1/(p+1)! less the coefficient of R; C_{p+1}/sigma(1).
FACTS = {
    **{"euler": (1, R(1, 2)), "rk4": (4, R(1, 120)), "backward_euler": (1, -R(1, 2)), "gauss2": (4, R(1, 720))},
    **{"gauss3": (6, -R(1, 100800)), "ab2": (2, R(5, 12)), "ab4": (4, R(251, 720)), "bdf3": (3, -R(1, 4))},
    **{"leapfrog": (2, R(1, 6)), "milne_simpson": (4, -R(1, 180)), "poly2": (1, -R(1, 2)), "picard2": (1, -R(1, 2))},
    # e^z and e^-z meet in 1; cos is cut off by verlet at y^4/24, which 2 sin(z/2) makes z^3/24.
    **{"verlet": (2, R(1, 24)), "lm": (0, R(1, 3))},
}


@pytest.mark.parametrize("name", FACTS)
def test_sectors_at_the_origin(name):
    star = order_star(name, re=(-0.1, 0.1), im=(-0.1, 0.1), resolution=161, **with_values(schemes[name]))
    p, constant = FACTS[name]
    assert (star.order, star.constant, star.sectors) == (p, constant, p + 1)
    # On a circle |z e^-z| - 1 is -C r^(p+1) cos((p+1) theta): 2 (p+1) changes of sign, the middle of each known.
    theta = np.pi * np.arange(2 * (p + 1)) / (p + 1)
    i, j = (np.rint((0.09 * f(theta) + 0.1) / 0.2 * 160).astype(int) for f in (np.sin, np.cos))
    expected = np.where(np.arange(2 * (p + 1)) % 2 == 0, constant < 0, constant > 0)
    assert (star.star[i, j] == expected).all()


def test_decimal_schemes_have_a_float_constant():
    star = order_star("tsit5", resolution=2)
    assert isinstance(star.constant, sympy.Float)
    assert star.order == 5


def test_principal_series():
    assert principal_series("rk4", 6) == [1, 1, R(1, 2), R(1, 6), R(1, 24), 0]
    # zeta = (1 - k + z + sqrt((1 + k)^2 + 2 (1 - k) z + z^2))/2 at k = 1/2, by the binomial series.
    x = sympy.Symbol("x")
    lm = (R(1, 2) + x + sympy.sqrt(R(9, 4) + x + x**2)) / 2
    assert principal_series("lm", 5, k="1/2") == [sympy.series(lm, x, 0, 6).removeO().coeff(x, j) for j in range(5)]
    verlet = 1 + x**2 / 2 + x * sympy.sqrt(1 + x**2 / 4)
    assert principal_series("verlet", 8) == [sympy.series(verlet, x, 0, 9).removeO().coeff(x, j) for j in range(8)]


@pytest.mark.parametrize(
    ("scheme", "terms", "values", "message"),
    [
        ("in_resnet", 3, {"lam": "1/10"}, "no single root"),
        ("lm", 3, {"k": -1}, "no single root"),
        ("lm", 3, {}, "no value for k"),
        ("rk4", 0, {}, "terms: got 0"),
    ],
)
def test_no_principal_root(scheme, terms, values, message):
    with pytest.raises(SchemeError, match=message):
        principal_series(scheme, terms, **values)


def test_bad_grid_of_the_order_star():
    with pytest.raises(SchemeError, match="order star: got re"):
        order_star("rk4", re=(1, -1))


def test_every_scheme_has_curves():
    for scheme in schemes.values():
        locus = boundary_locus(scheme, 13, **with_values(scheme))
        assert np.isfinite(locus.z[:, 1]).all(), scheme.name
        if scheme.carried <= 3 and scheme.name != "in_resnet":
            star = order_star(scheme, resolution=8, **with_values(scheme))
            assert not np.isnan(star.ratio).any(), scheme.name
            assert star.order >= scheme.order, scheme.name
