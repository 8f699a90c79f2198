"""Every explicit scheme against its formula typed by hand: forward and gradients, layers of their own weights."""

import math

import numpy as np
import pytest
import sympy
import torch
from helpers import blocks_for, explicit_schemes, flat
from loops_multistep import LOOPS as MULTISTEP
from loops_networks import LOOPS as NETWORKS, coupled
from loops_runge_kutta import ERROR_WEIGHTS, LOOPS as RUNGE_KUTTA, THIRD_WEIGHTS
from torch import nn

from odenets import ODENet, SchemeError, schemes
from odenets.scheme.splitting import mccallum_foster

LOOPS = RUNGE_KUTTA | MULTISTEP | NETWORKS
LAYERS = 8  # two more than the longest history, so that each scheme's own formula is reached
CASES = [(1.0, torch.float64), (0.3, torch.float64), (0.3, torch.float32)]


def value_and_gradients(function, x, parameters):
    x = x.clone().requires_grad_()
    y = function(x)
    return [y, *torch.autograd.grad((y * torch.arange(y.numel(), dtype=y.dtype).view_as(y)).sum(), [x, *parameters])]


def coefficients(net):
    """Random values, so that no symbol is compared at a special one; then a dict per layer."""
    for parameter in net.coefficients.parameters():
        nn.init.uniform_(parameter, -0.5, 0.5)
    return [net.coefficients_at(n) for n in range(net.steps)]


def roundings(scheme, usual):
    """Units of rounding allowed for: ``usual``, or more where weights cancel, as those of 170 in vern6 and 30 in vern8.

    Roundings of slopes are multiplied by an entry of A, and then by a weight.
    """
    if scheme.symbols:
        return usual
    largest = math.prod(max(abs(float(x)) for x in block) for block in (scheme.A, scheme.B))
    return 4 * largest if largest > 1000 else usual


def compare(net, blocks, loop, *, equal=False):
    dtype, h = next(net.field.parameters()).dtype, net.h
    ks = coefficients(net)
    x = torch.randn(4, 6, dtype=dtype)
    parameters = [p for block in flat(blocks) for p in block.parameters()] + list(net.coefficients.parameters())
    found = value_and_gradients(net, x, parameters)
    expected = value_and_gradients(lambda u: loop(blocks, u, h, ks), x, parameters)
    tolerance = roundings(net.scheme, 200) * torch.finfo(dtype).eps
    for a, b in zip(found, expected, strict=True):
        if equal:
            assert torch.equal(a, b)
        assert torch.allclose(a, b, rtol=tolerance, atol=tolerance * b.abs().max().item())


def test_every_explicit_scheme_has_a_loop_and_only_one():
    assert set(LOOPS) == set(explicit_schemes())
    assert len(LOOPS) == len(RUNGE_KUTTA) + len(MULTISTEP) + len(NETWORKS)


@pytest.mark.parametrize(("h", "dtype"), CASES, ids=["1-float64", "0.3-float64", "0.3-float32"])
@pytest.mark.parametrize("name", LOOPS)
def test_equals_the_formula_forward_and_gradients(name, h, dtype):
    blocks = blocks_for(name, LAYERS, dtype=dtype)
    compare(ODENet(blocks, name, h=h), blocks, LOOPS[name], equal=name == "euler")


@pytest.mark.parametrize("name", LOOPS)
def test_one_regular_step(name):
    # The layers before it only fill the history; with none there is none to fill.
    steps = schemes[name].starting_values + 1
    blocks = blocks_for(name, steps, seed=3)
    net = ODENet(blocks, name, h=0.7)
    ks = coefficients(net)
    x = torch.randn(2, 6, dtype=torch.float64)
    allowed = roundings(schemes[name], 450) * torch.finfo(x.dtype).eps
    torch.testing.assert_close(net(x), LOOPS[name](blocks, x, 0.7, ks), rtol=allowed, atol=allowed)


def rk4_increment(f, z, h):
    k1 = f(z)
    k2 = f(z + h / 2 * k1)
    k3 = f(z + h / 2 * k2)
    return h / 6 * (k1 + 2 * k2 + 2 * k3 + f(z + h * k3))


def euler_increment(f, z, h):
    return h * f(z)


@pytest.mark.parametrize(("base", "increment"), [("euler", euler_increment), ("rk4", rk4_increment)])
@pytest.mark.parametrize("coupling", ["999/1000", "1/2"])
def test_the_reversible_coupling(base, increment, coupling):
    scheme = mccallum_foster(schemes[base], coupling)
    number = {"999/1000": 0.999, "1/2": 0.5}[coupling]
    blocks = blocks_for(scheme, LAYERS)
    compare(ODENet(blocks, scheme, h=0.3), blocks, coupled(increment, number))


def test_the_coupling_keeps_the_order_and_can_be_undone():
    # McCallum & Foster (2024): order as the base scheme's, rounding errors grow by 1 / lambda a step on the way back
    for base in ("euler", "midpoint", "kutta3", "rk4"):
        scheme = mccallum_foster(schemes[base])
        assert scheme.order == schemes[base].order
        assert scheme.reversible
        assert scheme.amplification == sympy.Rational(1000, 999)


@pytest.mark.parametrize(
    ("base", "coupling", "message"),
    [("rk4", 1, "coupling: got 1"), ("rk4", 0, "coupling: got 0"), ("ab2", "1/2", "carries the solution alone")],
)
def test_couplings_that_are_refused(base, coupling, message):
    with pytest.raises(SchemeError, match=message):
        mccallum_foster(schemes[base], coupling)


CASES_OF_SCIPY = [
    *((n, "embedded", w) for n, w in ERROR_WEIGHTS.items()),
    *((n, "third", w) for n, w in THIRD_WEIGHTS.items()),
]


@pytest.mark.parametrize(("name", "which", "expected"), CASES_OF_SCIPY)
def test_embedded_weights_are_scipys(name, which, expected):
    difference = np.abs(np.array(schemes[name].B.row(0) - getattr(schemes[name], which), dtype=float))[0]
    padded = np.zeros(len(expected))
    padded[: len(difference)] = difference  # scipy counts f(u_{n+1}), of weight 0, among the stages
    np.testing.assert_allclose(padded, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("name", "embedded"),
    [
        # Hairer, Norsett & Wanner (1993), table II.5.1; Press et al. (1992), section 16.2; Hosea & Shampine (1996)
        ("fehlberg45", [16 / 135, 0, 6656 / 12825, 28561 / 56430, -9 / 50, 2 / 55]),
        ("cash_karp", [2825 / 27648, 0, 18575 / 48384, 13525 / 55296, 277 / 14336, 1 / 4]),
        # Tsitouras (2011); his table prints the differences b - bhat but for the last, which is bhat itself
        (
            "tsit5",
            [
                0.09468075576583946,
                0.009183565540343254,
                0.4877705284247616,
                1.234297566930479,
                -2.7077123499835256,
                1.866628418170587,
                1 / 66,
            ],
        ),
        ("trbdf2", [(4 - 2**0.5) / 12, (4 + 3 * 2**0.5) / 12, (2 - 2**0.5) / 6]),
    ],
)
def test_embedded_weights_as_printed(name, embedded):
    found = np.array(schemes[name].embedded, dtype=float)[0]
    np.testing.assert_allclose(found, embedded, rtol=1e-14, atol=1e-16)
