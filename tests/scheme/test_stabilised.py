"""Stabilised explicit schemes: their stability functions, the lengths of their intervals, and the heat equation."""

import math

import numpy as np
import pytest
import sympy
import torch

from odenets import SchemeError, rk_families, solve
from odenets.analysis import is_stable, real_interval, stability_function, z


@pytest.mark.parametrize("stages", [2, 3, 7, 12])
def test_rkc2_is_the_shifted_chebyshev_polynomial(stages):
    # Sommeijer, Shampine & Verwer (1998), (2.4); the polynomials are sympy's
    scheme = rk_families.rkc2(stages)
    x, w0 = sympy.Symbol("x"), 1 + sympy.Rational(2, 13) / stages**2
    T = sympy.chebyshevt(stages, x)
    first, second = (sympy.diff(T, x, k).subs(x, w0) for k in (1, 2))
    b, w1 = second / first**2, first / second
    expected = 1 - b * T.subs(x, w0) + b * T.subs(x, w0 + w1 * z)
    assert sympy.expand(stability_function(scheme) - expected) == 0
    assert (scheme.order, scheme.embedded_order, scheme.explicit) == (2, 2, True)
    # ibid., (2.5): about 2/3 (s^2 - 1) (1 - 2/15 epsilon), for odd s a little more
    ratio = float(real_interval(scheme)) / (2 / 3 * (stages**2 - 1) * (1 - 2 / 15 * 2 / 13))
    assert 1 <= ratio < (1.2 if stages % 2 else 1.03)


@pytest.mark.parametrize("stages", [8, 12, 20, 36])
def test_rock4_has_its_order_and_its_interval(stages):
    scheme = rk_families.rock4(stages)
    assert (scheme.order, scheme.embedded_order, scheme.explicit) == (4, 3, True)
    if stages > 20:
        return  # the rest takes ten seconds
    # Abdulle (2002): about 0.35 s^2, damped inside; the inverse of (3 + |z|) / 0.353 = s^2 in rock4.f
    assert is_stable(scheme, -np.linspace(0, 0.353 * stages**2 - 3, 200)).all()
    assert not is_stable(scheme, -0.37 * stages**2)


@pytest.mark.parametrize(("scheme", "steps"), [(rk_families.rkc2(20), 210), (rk_families.rock4(20), 170)])
def test_the_heat_equation_in_few_steps(scheme, steps):
    # u_t = u_xx on [0, 1] with N points has the eigenvalues -4 (N + 1)^2 sin^2(k pi / (2 N + 2)); dopri5 would take
    # 4 (N + 1)^2 / 3.3 steps a unit of time, 2,000 here, of 6 evaluations
    count, stop = 127, 0.1
    grid = torch.arange(1, count + 1, dtype=torch.float64) / (count + 1)

    def heat(t, u):
        padded = torch.nn.functional.pad(u, (1, 1))
        return (padded[2:] - 2 * u + padded[:-2]) * (count + 1) ** 2

    start = torch.sin(math.pi * grid) + 0.5 * torch.sin(3 * math.pi * grid)
    rates = [4 * (count + 1) ** 2 * math.sin(k * math.pi / (2 * count + 2)) ** 2 for k in (1, 3)]
    exact = sum(
        a * math.exp(-rate * stop) * torch.sin(k * math.pi * grid)
        for a, k, rate in zip((1, 0.5), (1, 3), rates, strict=True)
    )
    found = solve(heat, start, (0, stop), scheme, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found.y[-1], exact, rtol=0, atol=3e-4)
    assert found.stats.accepted + found.stats.rejected < steps


@pytest.mark.parametrize(("family", "stages"), [("rkc2", 1), ("rkc2", 2.5), ("rock4", 9), ("rock4", 0)])
def test_numbers_of_stages_that_there_are_not(family, stages):
    with pytest.raises(SchemeError, match="stages: got"):
        getattr(rk_families, family)(stages)


@pytest.mark.parametrize("stages", [8, 20, 36])
def test_rock4_inside_of_its_steps(stages):
    """u' = cos(t) u, u = exp(sin t), seven times in each step."""
    scheme = rk_families.rock4(stages)
    assert scheme.dense_order == 4

    def error(steps):
        times = torch.linspace(0, 1, 7 * steps + 1, dtype=torch.float64)
        found = solve(lambda t, u: torch.cos(t) * u, torch.ones(1, dtype=torch.float64), times, scheme, steps=steps)
        return (found.y[:, 0] - torch.exp(torch.sin(times))).abs().max().item()

    assert math.log2(error(10) / error(20)) == pytest.approx(4, abs=0.1)
