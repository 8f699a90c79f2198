"""Every scheme of the zoo: stability limits typed by hand, and brute force from its bare matrices with numpy."""

import math

import numpy as np
import pytest
import sympy

from odenets import runge_kutta, schemes
from odenets.analysis import a_alpha, imaginary_interval, l_stable, real_interval, stability_function, z

R, oo, sqrt = sympy.Rational, sympy.oo, sympy.sqrt
NUMERIC = [scheme for scheme in schemes.values() if not scheme.symbols]

# Real and imaginary interval; None where no hand value is at hand.
LIMITS = {
    # Lambert 1973, table 3; Hairer & Wanner 1996, V.1.
    "ab4": (R(3, 10), None),
    "ab5": (R(90, 551), 0),
    "ab6": (R(5, 57), 0),
    "am3": (6, 0),
    "am4": (3, 0),
    "am5": (R(90, 49), None),
    "am6": (R(45, 38), None),
    "bdf1": (oo, oo),
    "bdf2": (oo, oo),
    "bdf3": (oo, 0),
    "bdf4": (oo, 0),
    "nystrom3": (0, 0),
    "milne_simpson": (0, sqrt(3)),
    # Hairer & Wanner 1996, IV.2 (dopri5); SSPRK(10,4): Ketcheson 2008, 13.917.
    "dopri5": (3.306567892634947, None),
    "ssprk104": (13.917047464637, None),
    **dict.fromkeys(["heun3", "ralston3", "bosh3", "ssprk33"], (2.5127453266183286, sqrt(3))),
    **dict.fromkeys(["ralston2", "ssprk22", "fractal2"], (2, 0)),
    "rk38": (2.7852935634052818, 2 * sqrt(2)),
    # 1 + z + z^2: |R(iy)|^2 = 1 - y^2 + y^4, R(-x) = 1 - x + x^2.
    **dict.fromkeys(["poly2", "mpoly2", "picard2"], (1, 1)),
    "way2": (2, 0),
    **dict.fromkeys(["leapfrog", "alf", "reversible_heun"], (0, 1)),
    # zeta^2 - (2 - y^2) zeta + 1 for both; yoshida4: Hairer, Lubich & Wanner 2006, below pi/2.
    **dict.fromkeys(["symplectic_euler", "verlet"], (0, 2)),
    "yoshida4": (0, 1.573401947435),
}
# Kvaerno (2004); Kennedy & Carpenter (2003)
ESDIRK = {f"{name}{order}" for name in ("kvaerno", "kencarp") for order in (3, 4, 5)}
# Verwer et al. (1999): L-stable for 1 + 1/sqrt 2; Lang & Verwer (2001): A-stable, R(oo) = 0.73;
# Sandu et al. (1997), Hairer & Wanner (1996), VI.4, and Steinebach (2023): L-stable
RODAS = {"ros2", "rodas3", "rodas4", "rodas5p"}
A_STABLE = (
    ESDIRK
    | RODAS
    | {"ros3p"}
    | {"ars111"}  # with half of u' = lambda u explicit and half implicit, (1 + z/2) / (1 - z/2)
    | {
        *("bdf1", "bdf2", "am2", "backward_euler", "trapezoid", "implicit_midpoint", "gauss1", "gauss2", "gauss3"),
        *("radau_ia2", "radau_iia2", "radau_iia3", "lobatto_iiia3", "lobatto_iiic3", "sdirk2", "sdirk3", "trbdf2"),
    }
)
L_STABLE = (
    ESDIRK
    | RODAS
    | {
        *(
            "bdf1",
            "bdf2",
            "backward_euler",
            "radau_ia2",
            "radau_iia2",
            "radau_iia3",
            "lobatto_iiic3",
            "sdirk2",
            "trbdf2",
        ),
    }
)


@pytest.mark.parametrize("name", LIMITS)
def test_limits_of_the_textbooks(name):
    for of, expected in zip((real_interval, imaginary_interval), LIMITS[name], strict=True):
        found = of(name)
        if isinstance(expected, float):
            assert float(found) == pytest.approx(expected, rel=1e-12)
        elif expected is not None:
            assert found == expected or sympy.simplify(found - expected) == 0


def test_a_and_l_stable_schemes_of_the_textbooks():
    # Hairer & Wanner 1996, IV.3, IV.5, V.1.
    assert {scheme.name for scheme in NUMERIC if a_alpha(scheme) == 90} == A_STABLE
    assert {scheme.name for scheme in NUMERIC if l_stable(scheme)} == L_STABLE
    assert all(real_interval(name) == imaginary_interval(name) == oo for name in A_STABLE)
    assert {scheme.name for scheme in NUMERIC if 0 < a_alpha(scheme) < 90} == {"bdf3", "bdf4", "bdf5", "bdf6"}


def coupling(scheme):
    """Gamma of a Rosenbrock scheme, whose K = F(Y) + z Gamma K, else 0."""
    return 0 if scheme.Gamma is None else np.array(scheme.Gamma.tolist(), dtype=float)


def radius(scheme, points):
    """Spectral radius of V + z B (I - z A)^-1 U in floating point, inverted numerically."""
    A, U, B, V = (np.array(block.tolist(), dtype=float) for block in (scheme.A, scheme.U, scheme.B, scheme.V))
    A = A + coupling(scheme)
    # x' = z y, y' = z x for a partitioned system; several functions of one state share u' = z u.
    share = 1 if scheme.components > 1 else 1 / len(scheme.functions)
    z = share * np.asarray(points)[:, None, None]
    matrices = V + z * B @ np.linalg.solve(np.eye(scheme.stages) - z * A, np.broadcast_to(U, (len(z), *U.shape)))
    return np.abs(np.linalg.eigvals(matrices)).max(axis=-1)


@pytest.mark.parametrize("direction", [-1, 1j])
@pytest.mark.parametrize("scheme", NUMERIC, ids=lambda scheme: scheme.name)
def test_intervals_against_a_scan(scheme, direction):
    limit = float((real_interval if direction == -1 else imaginary_interval)(scheme))
    inside = np.linspace(0, min(limit, 1e3), 600)[1:-1]
    # A double root on the circle is found to the square root of a rounding error.
    assert radius(scheme, direction * inside).max() <= 1 + 1e-7
    if limit < math.inf:
        beyond = np.linspace(limit, 1.05 * limit, 50)[1:] if limit else np.linspace(0, 1, 50)[1:]
        assert radius(scheme, direction * beyond).max() > 1 + 1e-10


@pytest.mark.parametrize("name", [scheme.name for scheme in NUMERIC if scheme.digits])
def test_decimals_are_read_as_what_they_stand_for(name):
    scheme, fraction = schemes[name], sympy.fraction(sympy.together(stability_function(name)))
    top, bottom = (sympy.Poly(part, z).all_coeffs()[::-1] for part in fraction)
    coefficients = []  # of the power series of R(z)
    for j in range(max(len(top), scheme.order + 2)):
        known = sum(q * coefficients[j - i] for i, q in enumerate(bottom[: j + 1]) if i)
        coefficients.append(((top[j] if j < len(top) else 0) - known) / bottom[0])
    # Of implicit schemes the denominator is known to its digits alone.
    allowed = 0 if scheme.explicit else sympy.Rational(1, 10 ** (scheme.digits - 4))
    assert max(abs(coefficients[j] - 1 / sympy.factorial(j)) for j in range(scheme.order + 1)) <= allowed
    A, b = (np.array(block.tolist(), dtype=float) / len(scheme.functions) for block in (scheme.A, scheme.B))
    A = A + coupling(scheme)
    published = [(b @ np.linalg.matrix_power(A, j - 1)).sum() for j in range(1, len(coefficients))]
    np.testing.assert_allclose(np.array(coefficients[1:], dtype=float), published, atol=1e-13)


def test_rounded_coefficients_leave_the_imaginary_interval_zero():
    # Ralston's scheme with 2/3 rounded up has z^2 (1/2 + 2.5e-13), so R alone would reach to 1e-6.
    tableau = {"A": [[0, 0], ["0.666666666667", 0]], "b": ["0.25", "0.75"]}
    assert imaginary_interval(runge_kutta("r", **tableau, digits=12)) is sympy.S.Zero
    assert float(imaginary_interval(runge_kutta("r", **tableau))) == pytest.approx(1.4e-6, rel=0.1)
