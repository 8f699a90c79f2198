"""Numbers of NumPy, torch and sympy where Python's are meant, and floats in tableaus.

findiff 32: an array's spacing and accuracy given as numpy.int64 are refused. mujoco 3300: numpy.int64 for a whole
number is a TypeError.
"""

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import sympy
import torch
from torch import nn

import odenets
from odenets import FieldError, SchemeError, analysis, families, multistep, runge_kutta, schemes

k = sympy.Symbol("k", real=True)
THREE = [np.int64(3), np.int8(3), np.uint32(3), np.array(3), sympy.Integer(3), torch.tensor(3)]
HALF = [np.float64(0.5), np.float32(0.5), np.float16(0.5), np.array(0.5), sympy.Rational(1, 2), Fraction(1, 2)]
HALF += [Decimal("0.5"), torch.tensor(0.5)]


def layers(count=2):
    return [nn.Sequential(nn.Linear(3, 3), nn.Tanh()) for _ in range(count)]


@pytest.mark.parametrize("three", THREE, ids=lambda x: type(x).__name__)
def test_whole_numbers(three):
    assert odenets.TimeField(lambda t, x: -x, 0.0, 1.0, three).steps == 3
    assert type(odenets.Checkpoint(states=three).states) is int
    assert type(odenets.NewtonKrylov(krylov=three).krylov) is int
    assert odenets.Anderson(memory=three) == odenets.Anderson(memory=3)
    net = odenets.ODENet(layers(), "lm", coefficient_shape=(three,))
    assert net(torch.ones(2, 3)).shape == (2, 3)
    assert families.bdf(three).order == families.adams_bashforth(three).order == 3
    assert families.adams_moulton(three).order == families.pece(three).order - 1 == 3
    assert odenets.rk_families.fractal(three).stages == 7
    assert odenets.survival_schedule(three, 0.5) == odenets.survival_schedule(3, 0.5)
    assert analysis.modified_equation("rk4", three).order == 3
    assert len(analysis.order_conditions(three)) == 4
    assert analysis.stability_region("rk4", resolution=three).stable.shape == (3, 3)
    assert analysis.boundary_locus("euler", points=three).theta.shape == (3,)
    assert len(analysis.principal_series("euler", three)) == 3
    assert analysis.numerical_orbit("euler", lambda u: -u, [1.0], 0.5, three)[-1] == 0.125


@pytest.mark.parametrize("depth", [np.arange(8, 21, 6)[0], np.uint8(8)])
def test_depths_and_widths_of_models(depth):
    models = odenets.models
    net = models.cifar_resnet(depth, in_channels=np.int64(1), num_classes=np.int64(7))
    assert (net.stage1.steps, type(net.classifier.out_features)) == ((int(depth) - 2) // 6, int)
    assert models.cifar_resnext(np.int64(11), cardinality=np.int8(2), width=np.int16(4)).stage1.steps == 1
    assert models.shake_shake(depth, base=np.uint8(4))(torch.ones(1, 3, 8, 8)).shape == (1, 10)
    assert models.hamiltonian_net(depth).stage1.steps == (int(depth) - 2) // 6


@pytest.mark.parametrize("half", HALF, ids=lambda x: type(x).__name__)
def test_real_numbers(half):
    assert odenets.ODENet(layers(), "euler", h=half).h == 0.5
    assert odenets.TimeField(lambda t, x: -x, half, 1, 2).t0 == 0.5
    assert odenets.Reversible(tolerance=half) == odenets.Reversible(tolerance=0.5)
    assert odenets.NewtonKrylov(rtol=half).rtol == 0.5
    assert odenets.AdditiveNoise(layers(), sigma=half).sigma == 0.5
    assert odenets.StochasticDepth(layers(), [half, 1]).survival == (0.5, 1.0)
    assert odenets.models.cifar_resnet(8, survival=half).stage1.field.survival == (5 / 6,)
    assert schemes["lm"].substitute(k=half).V[0, 1] == sympy.Rational(1, 2)


def test_symbols_by_themselves():
    lm = multistep("mine", [1 - k, k], [1], init={k: (np.float64(-0.5), np.int64(0))})
    assert lm.init == (("k", -0.5, 0.0),)
    assert lm.substitute({k: 0}).order == 1
    swapped = odenets.swap_scheme(Residual(), "lm", example=torch.ones(1, 3), coefficients={k: np.float32(0.25)})
    assert [p.item() for name, p in swapped.named_parameters() if "odenets_k" in name] == [0.25]


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(Block(), Block())

    def forward(self, x):
        return self.blocks(x)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(3, 3)

    def forward(self, x):
        return x + torch.tanh(self.f(x))


@pytest.mark.parametrize("wrong", [True, np.True_, torch.tensor(True), 2.0, np.float64(3), "3", None, np.array([3]), 0])
def test_what_is_no_whole_number(wrong):
    if wrong is not None:  # left to a tolerance, and to the square root of the number of steps
        with pytest.raises(FieldError, match="expected an integer of at least 1"):
            odenets.TimeField(lambda t, x: -x, 0.0, 1.0, wrong)
        with pytest.raises(FieldError, match="expected an integer of at least 1"):
            odenets.Checkpoint(states=wrong)
    with pytest.raises(SchemeError, match="expected an integer of at least 1"):
        families.adams_bashforth(wrong)
    with pytest.raises(SchemeError, match="expected an integer of at least 1"):
        analysis.modified_equation("rk4", wrong)


@pytest.mark.parametrize("wrong", [True, np.True_, "0.5", 1j, np.complex64(1), math.nan, math.inf, np.array([0.5])])
def test_what_is_no_number(wrong):
    with pytest.raises(FieldError, match="expected a finite number"):
        odenets.ODENet(layers(), "euler", h=wrong)


# ----------------------------------------------------------------- tableaus


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, object])
def test_numpy_tableaus(dtype):
    # Heun's scheme of order 2, weights 1/2; and a multistep scheme, Adams-Bashforth 2
    heun = runge_kutta("mine", np.array([[0, 0], [1, 0]], dtype=dtype), np.array([0.5, 0.5]), np.array([0, 1]))
    assert (heun.order, heun.digits) == (2, None)
    ab2 = multistep("ab", np.array([1], dtype=dtype), np.array([1.5, -0.5]))
    assert (ab2.order, ab2.digits) == (2, None)


@pytest.mark.parametrize("tensor", [np.array, torch.tensor], ids=["numpy", "torch"])
def test_floats_are_the_short_numbers_that_people_mean(tensor):
    # Kutta's third-order scheme (weights 1/6, 2/3, 1/6), rk4 and a tenth
    kutta3 = runge_kutta("k3", tensor([[0, 0, 0], [0.5, 0, 0], [-1.0, 2, 0]]), tensor([1.0, 4, 1]) / 6, [0, 0.5, 1])
    assert (kutta3.order, kutta3.digits) == (3, None)
    assert list(kutta3.B) == [sympy.Rational(1, 6), sympy.Rational(2, 3), sympy.Rational(1, 6)]
    theta = runge_kutta("theta", [[0, 0], [0.9, 0.1]], tensor([0.9, 0.1]))
    assert theta.A[1, 1] == sympy.Rational(1, 10)
    assert runge_kutta("x", [[0, 0], [2 / 3, 0]], [1 - 3 / 4, 0.75]).order == 2  # Ralston (1962)


def test_irrational_floats_are_judged_to_their_digits():
    # Gauss of two and three stages as in Butcher (1964), computed in float64: orders 4 and 6
    r = math.sqrt(3) / 6
    gauss2 = runge_kutta("g2", np.array([[0.25, 0.25 - r], [0.25 + r, 0.25]]), [0.5, 0.5], np.array([0.5 - r, 0.5 + r]))
    assert (gauss2.order, gauss2.digits) == (4, 15)
    w = math.sqrt(15)
    A = [
        [5 / 36, 2 / 9 - w / 15, 5 / 36 - w / 30],
        [5 / 36 + w / 24, 2 / 9, 5 / 36 - w / 24],
        [5 / 36 + w / 30, 2 / 9 + w / 15, 5 / 36],
    ]
    assert runge_kutta("g3", np.array(A), np.array([5, 8, 5]) / 18).order == 6
    assert odenets.Scheme("mid", [[r]], [[1]], [[1]], [[1]]).digits == 15


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([0.333, 0.667], 'write "1/3"'),
        ([0.1667, 0.8333], 'write "1/6"'),
        ([np.float32(0.2886751), np.float32(0.7113249)], "float64"),
        ([math.nan, 1], "finite"),
        ([True, 0], "exact entry"),
    ],
)
def test_entries_that_are_not_what_is_meant(weights, message):
    with pytest.raises(SchemeError, match=message):
        runge_kutta("mine", [[0, 0], [1, 0]], weights)


def test_a_cut_decimal_that_is_meant():
    assert runge_kutta("mine", [[0, 0], [1, 0]], ["0.333", "0.667"]).B[0] == sympy.Rational(333, 1000)


def test_floats_in_expressions():
    """findiff 32: 0.5 in 1 - 0.5 k is 1/2, as it is alone; so are floats that symbols have been multiplied by."""
    mine = multistep("mine", [1 - 0.5 * k, 0.5 * k], [np.float64(1.0) + 0.1 * k])
    assert list(mine.V.row(0))[:2] == [1 - k / 2, k / 2]
    assert sympy.simplify(mine.B[0, 0] - 1 - k / 10) == 0
    assert runge_kutta("euler", [[0]], [sympy.Float(1)]).order == 1
