"""A(alpha) and L-stability: published angles, an independent computation, a scan of rays."""

import mpmath
import numpy as np
import pytest
import sympy

from odenets import Scheme, SchemeError, multistep, runge_kutta, schemes
from odenets.analysis import a_alpha, imaginary_interval, l_stable

# tan alpha is 329 sqrt(35)/135, 699 sqrt(6)/512 and 45503 sqrt(195)/1974375 for BDF3, 4 and 6: the maximum
# angles of A(alpha)-stability of BDF, BIT 60 (2020), doi 10.1007/s10543-019-00796-x; table V.2.1 of Hairer &
# Wanner 1996 has two digits.
BDF = {3: 86.032366860211647, 4: 73.351670474578482, 5: 51.839755836049910, 6: 17.839777792245700}


def locus(steps, theta):
    """z = sum_j (1 - e^(-i theta))^j / j, the boundary locus of BDF."""
    return sum((1 - mpmath.expj(-theta)) ** j / j for j in range(1, steps + 1))


def angle(steps, theta):
    point = locus(steps, theta)
    return mpmath.degrees(mpmath.atan(abs(point.imag / point.real)))


@pytest.mark.parametrize("steps", BDF)
def test_backward_differentiation(steps):
    left = [t for t in np.linspace(0.01, 3.13, 400) if locus(steps, t).real < 0]
    near = min(left, key=lambda t: angle(steps, t))
    with mpmath.workdps(30):
        turning = mpmath.findroot(lambda t: mpmath.diff(lambda s: angle(steps, s), t), near)
        independent = angle(steps, turning)
    found = a_alpha(f"bdf{steps}")
    assert float(found) == pytest.approx(float(independent), abs=1e-10)
    assert float(found) == pytest.approx(BDF[steps], abs=1e-12)


def adjoint(name):
    """The scheme that undoes a step of the other with -h: R(z) = 1/R_name(-z)."""
    found = schemes[name]
    ones = sympy.ones(found.stages, 1)
    return runge_kutta(f"{name} backwards", (ones * found.B - found.A).tolist(), list(found.B))


@pytest.mark.parametrize("name", ["kutta3", "rk4", "ssprk43"])
def test_one_step_schemes_against_a_scan(name):
    # kutta3 and rk4 backwards are the Pade approximants (0, 3) and (0, 4).
    found = float(a_alpha(adjoint(name)))
    A, b = np.array(schemes[name].A.tolist(), dtype=float), np.array(list(schemes[name].B), dtype=float)
    powers = [1, *(b @ np.linalg.matrix_power(A, j) @ np.ones(len(b)) for j in range(len(b)))]

    def stable(degrees):
        w = np.geomspace(0.01, 30, 4000) * np.exp(1j * np.radians(degrees))
        return (np.abs(np.polyval(powers[::-1], w)) >= 1 - 1e-13).all()

    assert stable(found - 1e-6)
    assert not stable(found + 0.1)
    assert not l_stable(adjoint(name))


def test_the_backward_midpoint_rule_is_l_stable():
    # R = 1/(1 - z + z^2/2), Pade (0, 2).
    assert a_alpha(adjoint("heun")) == 90
    assert l_stable(adjoint("heun"))


def test_stable_on_the_imaginary_axis_is_not_enough():
    # Implicit midpoint steps of 3/2 h and -1/2 h: |R(iy)| = 1, but a pole at z = -4.
    scheme = runge_kutta("back and forth", A=[["3/4", 0], ["3/2", "-1/4"]], b=["3/2", "-1/2"])
    assert imaginary_interval(scheme) == sympy.oo
    assert a_alpha(scheme) == 0
    assert not l_stable(scheme)


def test_l_stability_of_multistep_schemes():
    # sigma = 2/3 zeta^2 forgets, sigma = (zeta + 1)/2 does not; bdf3 forgets, but is not A-stable.
    assert [l_stable(name) for name in ("bdf2", "am2", "bdf3")] == [True, False, False]


def test_explicit_schemes_have_no_sector_whatever_their_symbols():
    for scheme in schemes.values():
        if scheme.explicit:
            assert a_alpha(scheme) == 0
            assert not l_stable(scheme)


def test_numbers_are_needed_where_they_decide():
    k = sympy.Symbol("k", real=True)
    implicit_lm = multistep("implicit", a=[1 - k, k], b=[0], b_next=1)
    with pytest.raises(SchemeError, match=r"implicit: A\(alpha\)-stability got no value for k"):
        a_alpha(implicit_lm)
    with pytest.raises(SchemeError, match="L-stability got no value for k"):
        l_stable(implicit_lm)
    assert a_alpha(implicit_lm, k=0) == 90
    assert l_stable(implicit_lm, k=0)
    # k = -1/3 is BDF2 with h scaled by 3/2.
    assert a_alpha(implicit_lm, k="-1/3") == 90


def test_carried_values_that_are_only_passed_on_do_not_matter():
    one = adjoint("kutta3")
    passed_on = {"U": [[1, 0]] * 3, "B": [list(one.B), [0, 0, 0]], "V": [[1, 0], [1, 0]]}
    assert a_alpha(Scheme("two", one.A, **passed_on)) == a_alpha(one)


def test_several_roots_of_high_degree_are_refused_and_not_guessed():
    # BDF3 with a hundredth of the slope of backward Euler in it.
    past = ["18/11", "-9/11", "2/11"]
    scheme = Scheme(
        "mixed",
        A=[[1, 0], ["1/100", "6/11"]],
        U=[[1, 0, 0], past],
        B=[["1/100", "6/11"], [0, 0], [0, 0]],
        V=[past, [1, 0, 0], [0, 1, 0]],
        strict=False,
    )
    with pytest.raises(SchemeError, match="mixed: got a stability polynomial of degree 3 in zeta and 2 in z"):
        a_alpha(scheme)


def test_a_pole_at_minus_one_is_seen():
    # R = 1 / ((1 + z)(1 - 2 z)): its pole in the left half-plane moves to infinity in the transformed polynomial.
    pole = runge_kutta("pole", [[-1, 0], [-1, 2]], [-1, 2])
    assert not l_stable(pole)
    assert a_alpha(pole) == 0
