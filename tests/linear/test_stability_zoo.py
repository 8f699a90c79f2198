"""Every scheme of the zoo with numbers for its symbols: all of the stability analysis answers, consistently."""

from functools import cache

import numpy as np
import pytest
import sympy

from odenets import SchemeError, schemes
from odenets.analysis import (
    a_alpha,
    imaginary_interval,
    is_stable,
    l_stable,
    real_interval,
    stability_polynomial,
    stability_region,
    zero_stable,
    zeta,
)
from odenets.analysis.linear.resolve import z
from odenets.analysis.linear.ssp import ssp_coefficient

# The ends of the range of zero-stability, points inside it and one outside, for the learnable coefficients.
VALUES = {
    "lm": [{"k": k} for k in ("-1", "-9/10", "-1/2", 0, "1/3", 1, 2)],
    "lm3": [{"k1": a, "k2": b} for a, b in ((0, 0), ("1/4", "1/4"), ("-1/10", "-1/20"), ("-1/2", 1))],
    "gated_rk2": [{"g": g} for g in (0, "1/2", 1)],
    "in_resnet": [{"lam": x} for x in (0, "1/10", 1)],
}
# Partitioned, stages that do not start from u, a velocity, u' = 0 not kept, slopes with J in them.
NOT_CONVEX = {"symplectic_euler", "verlet", "yoshida4", "poly2", "poly3", "mpoly2", "alf", "in_resnet"}
NOT_CONVEX |= {"ros2", "ros3p", "rodas3", "rodas4", "rodas5p"}
CASES = [(s.name, v) for s in schemes.values() for v in (VALUES[s.name] if s.symbols else [{}])]


def test_values_are_given_for_every_symbol():
    for name, values in CASES:
        assert {str(s) for s in schemes[name].symbols} == set(values)


@cache
def coefficients(name, values):
    """Of Phi(zeta, z), a row for each power of zeta, from the highest on."""
    phi = sympy.Poly(stability_polynomial(name, **dict(values)).as_expr(), zeta)
    return [[complex(c) for c in sympy.Poly(row, z).all_coeffs()] for row in phi.all_coeffs()]


def numeric_roots(name, values, point):
    """Zeros in zeta of Phi(zeta, z), from numpy."""
    return np.roots([np.polyval(row, point) for row in coefficients(name, tuple(values.items()))])


@pytest.mark.parametrize(("name", "values"), CASES, ids=lambda case: case if isinstance(case, str) else str(case))
def test_all_of_the_analysis_answers(name, values):
    real, imaginary = real_interval(name, **values), imaginary_interval(name, **values)
    angle = a_alpha(name, **values)
    assert real >= 0
    assert imaginary >= 0
    assert 0 <= angle <= 90
    region = stability_region(name, resolution=5, **values)
    assert region.radius.shape == (5, 5)
    assert not np.isnan(region.radius).any()
    # What one answer implies for the others.
    if angle == 90:
        assert real == imaginary == sympy.oo
    if angle > 0:
        assert real == sympy.oo
        w = -np.exp(1j * np.radians(float(angle)) * np.linspace(-0.9, 0.9, 5)) * np.array([[0.1], [1], [50]])
        assert is_stable(name, w, **values).all()
    if l_stable(name, **values):
        assert angle == 90
        assert np.abs(numeric_roots(name, values, -1e9)).max() < 0.01
    if not zero_stable(name, **values):
        assert not is_stable(name, 0, **values)
    if name in NOT_CONVEX and values != {"lam": 0}:  # In-ResNet without damping is Euler
        with pytest.raises(SchemeError, match="the SSP coefficient got"):
            ssp_coefficient(name, **values)
    else:
        # u' = -u/h r is an Euler step to 0: contractivity includes the disc |z + r| <= r.
        assert 0 <= 2 * ssp_coefficient(name, **values) <= real


@pytest.mark.parametrize(("name", "values"), CASES, ids=lambda case: case if isinstance(case, str) else str(case))
def test_intervals_end_where_a_root_leaves_the_disc(name, values):
    for limit, direction in ((real_interval(name, **values), -1), (imaginary_interval(name, **values), 1j)):
        end = float(limit) if limit != sympy.oo else 1e3
        for part in (0.03, 0.31, 0.77, 0.99):
            roots = numeric_roots(name, values, direction * end * part) if end else np.zeros(1)
            assert np.abs(roots).max(initial=0) <= 1 + 1e-6
        if limit != sympy.oo:
            outside = [
                np.abs(numeric_roots(name, values, direction * (end + t))).max(initial=0) for t in (0.01, 0.1, 1.0)
            ]
            assert max(outside) > 1 + 1e-12
