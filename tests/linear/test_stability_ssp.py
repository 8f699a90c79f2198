"""SSP coefficients: published values, the definition evaluated with numpy, total variation in the field."""

import numpy as np
import pytest
import sympy

from odenets import Scheme, SchemeError, multistep, runge_kutta, schemes
from odenets.analysis import zeta
from odenets.analysis.linear.generating_polynomials import multistep_polynomials
from odenets.analysis.linear.ssp import ssp_coefficient
from odenets.scheme.splitting import mccallum_foster

R, oo, sqrt = sympy.Rational, sympy.oo, sympy.sqrt

# Gottlieb, Ketcheson & Shu (2011), Strong Stability Preserving Runge-Kutta and Multistep Time
# Discretizations: chapters 2, 4, 6 and 7. Implicit midpoint and trapezoid: Ferracina & Spijker (2008).
PUBLISHED = {
    **{"euler": 1, "ssprk22": 1, "heun": 1, "ssprk33": 1, "ssprk43": 2, "ssprk104": 6},
    **{"backward_euler": oo, "bdf1": oo, "implicit_midpoint": 2, "trapezoid": 2, "am2": 2},
    **dict.fromkeys(["rk4", "rk38", "kutta3", "midpoint", "dopri5", "tsit5", "dop853", "gauss2", "gauss3"], 0),
    # A negative coefficient, or one of sigma where rho has none.
    **dict.fromkeys(["ab2", "ab3", "am3", "bdf2", "leapfrog", "milne_simpson", "nystrom3", "momentum", "pece2"], 0),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_coefficients(name):
    found = ssp_coefficient(name)
    assert isinstance(found, sympy.Expr)
    assert found == PUBLISHED[name]


def test_decimals_give_a_float_of_their_digits():
    # Kraaijevanger (1991), SSP(5,4).
    assert isinstance(ssp_coefficient("ssprk54"), sympy.Float)
    assert float(ssp_coefficient("ssprk54")) == pytest.approx(1.50818004918983, abs=2e-14)


def test_two_stages_by_hand():
    # A = [[0, 0], [2/3, 0]], b = [1/4, 3/4]: b_1 - r a_21 b_2 = 1/4 - r/2. With the diagonal g = 1 - sqrt(2)/2,
    # 1/(1 + r g) - r (1 - g)/(1 + r g)^2 >= 0 iff r (1 - 2 g) <= 1.
    assert ssp_coefficient("ralston2") == R(1, 2)
    assert ssp_coefficient("sdirk2") == 1 + sqrt(2)
    # SDIRK with both stages of gamma = 1/4: Ferracina & Spijker (2008), r = 2 s = 4.
    assert ssp_coefficient(runge_kutta("best", [["1/4", 0], ["1/2", "1/4"]], ["1/2", "1/2"])) == 4


def test_algebraic_coefficient():
    steps = runge_kutta("three", [[0, 0, 0], ["1/2", 0, 0], ["1/2", "1/2", 0]], ["1/3", "1/3", "1/3"])
    found = ssp_coefficient(steps)
    assert not found.has(sympy.Float)
    assert definition(steps, float(found) - 1e-9) >= -1e-12
    assert definition(steps, float(found) + 1e-6) < -1e-9


def definition(scheme, r):
    """The least entry of K (I + r K)^-1 and of the rest, for the matrix K = [[A, 0], [b, 0]] (Kraaijevanger 1991)."""
    A, b = (np.array(block.tolist(), dtype=float) for block in (scheme.A, scheme.B))
    s = len(A)
    K = np.zeros((s + 1, s + 1))
    K[:s, :s], K[s, :s] = A, b[0]
    inverse = np.linalg.inv(np.eye(s + 1) + r * K)
    return min((K @ inverse).min(), (inverse @ np.ones(s + 1)).min())


ONE_STEP = [s.name for s in schemes.values() if s.carried == 1 and not s.symbols and len(s.functions) == 1]
PLAIN = [name for name in ONE_STEP if not schemes[name].linear_only and schemes[name].Gamma is None]


@pytest.mark.parametrize("name", PLAIN)
def test_every_runge_kutta_scheme_against_the_definition(name):
    found, scheme = ssp_coefficient(name), schemes[name]
    inside = float(found) * (1 - 1e-9) if found != oo else 1e3
    if found:
        assert definition(scheme, inside) >= -1e-12
        assert definition(scheme, inside / 2) >= -1e-12
    if found != oo:
        assert definition(scheme, max(float(found) * 1.001, 1e-4)) < -1e-13


@pytest.mark.parametrize(
    ("a", "b", "new", "expected"),
    [
        # Gottlieb, Ketcheson & Shu (2011), chapter 8: (3,2) 1/2, (4,2) 2/3, (4,3) 1/3.
        (["3/4", 0, "1/4"], ["3/2"], 0, R(1, 2)),
        (["8/9", 0, 0, "1/9"], ["4/3"], 0, R(2, 3)),
        (["16/27", 0, 0, "11/27"], ["16/9", 0, 0, "4/9"], 0, R(1, 3)),
        (["1/2", "1/2"], [0], "3/2", oo),
        (["1/2", "1/2"], [1], "1/2", R(1, 2)),
    ],
)
def test_multistep_is_the_least_ratio(a, b, new, expected):
    assert ssp_coefficient(multistep("m", a=a, b=b, b_next=new)) == expected


def test_lm_and_zerosnet():
    # u+ = (1 - k) u_n + k u_{n-1} + h f_n: (1 - k)/1 for 0 <= k <= 1; a negative k is no convex combination.
    assert [ssp_coefficient("lm", k=k) for k in ("1/4", 0, 1, "-1/10", 2)] == [R(3, 4), 1, 0, 0, 0]
    assert ssp_coefficient("zerosnet") == R(1, 3) / R(16, 9)
    assert ssp_coefficient("lm3", k1="1/4", k2="1/4") == R(1, 2)


def test_multistep_schemes_of_the_zoo_against_their_generating_polynomials():
    for scheme in schemes.values():
        if scheme.stages == 1 and not scheme.symbols and scheme.name not in {"alf", "implicit_midpoint", "gauss1"}:
            rho, sigma = multistep_polynomials(scheme)
            k = rho.degree()
            pairs = [(-rho.coeff_monomial(zeta**j), sigma.coeff_monomial(zeta**j)) for j in range(k)]
            allowed = all(a >= 0 and b >= 0 for a, b in pairs) and sigma.coeff_monomial(zeta**k) >= 0
            expected = min((a / b for a, b in pairs if b > 0), default=oo) if allowed else 0
            assert ssp_coefficient(scheme) == expected, scheme.name


def test_carried_slopes_are_read_as_the_values_they_were_taken_at():
    # A slope that is carried, but not used: u+ = (u_n + u_{n-1})/2 + 3/2 h f_n, ratio (1/2)/(3/2).
    scheme = Scheme(
        "pair",
        A=[[0]],
        U=[[1, 0, 0]],
        B=[["3/2"], [0], [1]],
        V=[["1/2", "1/2", 0], [1, 0, 0], [0, 0, 0]],
        strict=False,
    )
    assert ssp_coefficient(scheme) == R(1, 3)
    # Two stages, u_{n-1} and its slope carried: u+ = (Y + h f(Y)/2)/2 + (u_{n-1} + h f_{n-1}/4)/2 with
    # Y = u_n + h f_n/2: ratios 2 and 2 in Y and its row, 4 for u_{n-1}.
    general = Scheme(
        "general",
        A=[[0, 0], ["1/2", 0]],
        U=[[1, 0, 0], [1, 0, 0]],
        B=[["1/4", "1/4"], [0, 0], [1, 0]],
        V=[["1/2", "1/2", "1/8"], [1, 0, 0], [0, 0, 0]],
        strict=False,
    )
    assert ssp_coefficient(general) == 2


def test_several_functions_share_the_step():
    # u + h f_0 + h f_1 = (u + 2 h f_0)/2 + (u + 2 h f_1)/2.
    assert ssp_coefficient("way2") == R(1, 2)


@pytest.mark.parametrize(
    ("scheme", "values", "message"),
    [
        ("poly2", {}, "a stage that does not start from u"),
        ("verlet", {}, "2 components"),
        ("alf", {}, "a velocity as carried value 2"),
        ("in_resnet", {"lam": "1/10"}, "does not keep u' = 0"),
        ("lm", {}, "no value for k"),
    ],
)
def test_where_it_is_not_defined(scheme, values, message):
    with pytest.raises(SchemeError, match=message):
        ssp_coefficient(scheme, **values)


def test_reversible_coupling_is_not_contractive():
    # z+ = z - Psi(y+) takes slopes away.
    assert ssp_coefficient(mccallum_foster(schemes["euler"])) == 0


@pytest.mark.parametrize("name", ["ssprk22", "ssprk33", "ssprk43", "ssprk104", "ralston2"])
def test_total_variation_of_burgers_does_not_grow_up_to_the_coefficient(name):
    # u_t + (u^2/2)_x = 0, upwind, u in [0, 1]: Euler is TVD for h <= dx.
    scheme = schemes[name]
    A, b = np.array(scheme.A.tolist(), dtype=float), np.array(list(scheme.B), dtype=float)
    u = (np.arange(100) < 40).astype(float)
    h = float(ssp_coefficient(name))
    for _ in range(20):
        slopes = []
        for row in A:
            y = u + h * sum((a * f for a, f in zip(row, slopes, strict=False)), start=np.zeros_like(u))
            slopes.append(-(y**2 - np.roll(y, 1) ** 2) / 2)
        new = u + h * (b @ np.array(slopes))
        assert np.abs(np.diff(new, append=new[0])).sum() <= np.abs(np.diff(u, append=u[0])).sum() + 1e-12
        u = new


def test_superfluous_stages_do_not_count():
    # Twice the midpoint, and a stage nothing uses: the implicit midpoint rule, whose coefficient is 2.
    twice = runge_kutta("twice", A=[["1/2", 0], ["1/2", 0]], b=["1/4", "3/4"])
    idle = runge_kutta("idle", A=[["1/2", 0], [-5, 0]], b=[1, 0])
    assert ssp_coefficient(twice) == ssp_coefficient(idle) == 2
