"""Zero-stability: the root condition against theory, with numbers and with a free symbol."""

import pytest
import sympy

from odenets import Scheme, SchemeError, multistep, schemes
from odenets.analysis import zero_stable, zero_stable_range

c = sympy.Symbol("c", real=True)
Rational = sympy.Rational


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
