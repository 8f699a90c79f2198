"""Growth over layers with coefficients of their own, and the largest stable step for a spectrum."""

import math

import numpy as np
import pytest
import sympy
import torch

from odenets import SchemeError, multistep, schemes
from odenets.analysis.linear.layer_sequence import sequence_growth
from odenets.analysis.linear.optimal_step import optimal_step

RNG = np.random.default_rng(0)


def differences(ks):
    """Largest |k_m ... k_n| by hand: d_{n+1} = -k_n d_n."""
    return max(abs(math.prod(ks[m : n + 1])) for m in range(len(ks)) for n in range(m, len(ks)))


@pytest.mark.parametrize("ks", [[0.5], [0.1, -0.5, -1.2, 0.3], [-1.5, -2.0, 0.1], list(RNG.uniform(-1.3, 1.3, 40))])
def test_parasitic_growth_of_lm_is_a_product_of_its_coefficients(ks):
    found = sequence_growth("lm", ks)
    assert found.parasitic == pytest.approx(differences(ks), rel=1e-13)
    assert found.parasitic == found.parasitic_from.max()
    np.testing.assert_allclose(found.radius, np.maximum(1, np.abs(ks)), rtol=1e-12)


@pytest.mark.parametrize("count", [1, 2, 7, 30])
def test_growth_of_lm_by_running_it(count):
    # The row sums of the product are reached by perturbations of +-1: run all four of u' = 0.
    ks = RNG.uniform(-1.2, 1.1, count)
    found = sequence_growth("lm", ks)
    largest = np.zeros(count)
    for m in range(count):
        for signs in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
            u, before = signs
            for k in ks[m:]:
                u, before = (1 - k) * u + k * before, u
                largest[m] = max(largest[m], abs(u), abs(before))
    np.testing.assert_allclose(found.growth_from, largest, rtol=1e-10)
    assert found.growth == pytest.approx(largest.max())
    m, n = found.worst
    product = np.eye(2)
    for k in ks[m : n + 1]:
        product = np.array([[1 - k, k], [1, 0]]) @ product
    assert np.abs(product).sum(axis=1).max() == pytest.approx(found.growth)


def test_unstable_layers_may_be_damped_and_stable_ones_may_grow():
    # k = -3 is not zero-stable by itself; every second layer takes the difference away.
    damped = sequence_growth("lm", [-3.0, 0.0] * 50)
    assert damped.parasitic == 3
    assert damped.growth == 7  # |1 - k| + |k|
    # lm3, both eigenvalues of P = [[-k1 - k2, -k2], [1, 0]] inside the circle in every layer, their product not.
    layers = {"k1": [0.9, -2.7] * 20, "k2": [0.9, 0.9] * 20}
    found = sequence_growth("lm3", layers)
    assert (found.radius <= 1 + 1e-9).all()
    assert found.growth > 1e3
    assert math.isinf(found.bound)


@pytest.mark.parametrize("limit", [0.3, 0.6, 0.9])
def test_the_bound_holds_for_every_sequence_within_it(limit):
    # P = -k: ||P|| <= q, W = k.
    extreme = sequence_growth("lm", [limit, -limit])
    assert 1 <= extreme.growth <= extreme.bound < math.inf
    for _ in range(20):
        ks = RNG.choice([limit, -limit], 60)
        assert sequence_growth("lm", ks).growth <= extreme.bound
    # Nonnegative: every new value is a mean of old ones.
    assert sequence_growth("lm", [0.2, 0.9, 1.0]).bound == 1
    assert math.isinf(sequence_growth("lm", [0.2, -1.0]).bound)


def test_several_symbols_and_fixed_ones():
    ks = RNG.uniform(-0.5, 0.5, (2, 12))
    both = sequence_growth("lm3", {"k1": ks[0], "k2": ks[1]})
    product, largest = np.eye(3), 0.0
    for k1, k2 in ks.T:
        product = np.array([[1 - k1 - k2, k1, k2], [1, 0, 0], [0, 1, 0]]) @ product
        largest = max(largest, np.abs(product).sum(axis=1).max())
    assert both.growth_from[0] == pytest.approx(largest, rel=1e-12)
    one = sequence_growth("lm3", {"k1": ks[0]}, k2="1/4")
    np.testing.assert_allclose(one.growth_from, sequence_growth("lm3", ks[0], k2="1/4").growth_from)


def test_schemes_that_carry_the_solution_alone():
    # V = 1 whatever the gate; In-ResNet: V = 1 - lambda, products of it.
    gated = sequence_growth("gated_rk2", [0.1, 5.0])
    assert (gated.growth, gated.parasitic, gated.bound) == (1, 0, 1)
    forgetful = sequence_growth("in_resnet", [0.5, 0.2])
    np.testing.assert_allclose(forgetful.growth_from, [0.5, 0.8])
    assert forgetful.bound == pytest.approx(0.8)
    assert sequence_growth("in_resnet", [-1.0, -1.0]).growth == 4


def test_parameters_of_a_network_are_taken_as_they_are():
    ks = torch.nn.Parameter(torch.tensor([0.25, -0.5, 2.0]))
    assert sequence_growth("lm", ks).parasitic == 2
    listed = ks.tolist()
    both = sequence_growth("lm3", {"k1": ks, "k2": ks})
    assert both.growth == sequence_growth("lm3", {"k1": listed, "k2": listed}).growth


def test_a_pole_of_a_layer_is_named():
    c = sympy.Symbol("c", real=True)
    with pytest.raises(SchemeError, match="a layer 1 whose V is not finite"):
        sequence_growth(multistep("pole", a=[1 - 1 / c, 1 / c], b=[1]), [1.0, 0.0])


def test_overflow_is_infinite():
    assert math.isinf(sequence_growth("lm", [-1e10] * 60).growth)


@pytest.mark.parametrize(
    ("scheme", "ks", "message"),
    [
        ("lm", [0.1, math.nan], "lm: k got nan in layer 1"),
        ("lm", [math.inf], "lm: k got inf in layer 0"),
        ("lm", [], r"shape \(0,\)"),
        ("lm", [[0.1, 0.2]], r"shape \(1, 2\)"),
        ("lm", ["a"], "expected one finite number for each layer"),
        ("lm", {"c": [0.1]}, r"values for \['c'\].*free symbols \['k'\]"),
        ("lm3", [0.1], r"values for \['k1'\].*free symbols \['k1', 'k2'\]"),
        ("lm3", {"k1": [0.1], "k2": [0.1, 0.2]}, "lengths"),
        ("rk4", [0.1], r"free symbols \[\]"),
    ],
)
def test_bad_sequences(scheme, ks, message):
    with pytest.raises(SchemeError, match=message):
        sequence_growth(scheme, ks)


# ------------------------------------------------------------------ steps


def test_euler_by_hand():
    # |1 + h lambda| <= 1 iff h <= -2 Re lambda / |lambda|^2.
    spectrum = np.array([-1 + 1j, -1 - 1j, -0.3 + 0.4j, -4, 0])
    found = optimal_step("euler", spectrum)
    assert found.h == pytest.approx(min(-2 * x.real / abs(x) ** 2 for x in spectrum[:-1]), rel=1e-9)
    assert found.limiting == -4
    assert optimal_step("euler", [-1e-3 + 1j]).h == pytest.approx(2e-3, rel=1e-5)
    assert optimal_step("euler", [-0.3 - 0.4j, -0.3 + 0.1j]).limiting == -0.3 - 0.4j


def test_axes_are_exact():
    assert optimal_step("rk4", [2j, -2j, 0]).h == pytest.approx(math.sqrt(2), rel=1e-15)
    assert optimal_step("rk4", [-10]).h == pytest.approx(0.27852935634052818, rel=1e-15)
    assert optimal_step("rk4", [-10]).per_stage == pytest.approx(0.27852935634052818 / 4, rel=1e-15)
    assert optimal_step("verlet", [3j]).h == pytest.approx(2 / 3, rel=1e-15)
    # Rounding of an eigenvalue solver beside the axis is none of the spectrum's.
    assert optimal_step("leapfrog", [1e-16 + 1j, -1e-16 - 1j]).h == 1


@pytest.mark.parametrize(
    ("scheme", "spectrum", "unstable"),
    [
        ("ab2", [1j, -1], [1j]),
        ("bdf3", [-1, -0.1j], [-0.1j]),
        ("euler", [1, -1, 0.5j], [0.5j, 1]),
        ("rk4", [1e-6 + 1j, -1], [1e-6 + 1j]),
        ("leapfrog", [-1 + 1j, 1j], [-1 + 1j]),
        ("verlet", [-1e-3 + 1j], [-1e-3 + 1j]),
        (multistep("unstable", a=[-4, 5], b=[4, 2]), [-1, -1 + 1j, 0], [-1, -1 + 1j, 0]),
    ],
)
def test_eigenvalues_without_a_stable_step_are_named(scheme, spectrum, unstable):
    found = optimal_step(scheme, spectrum)
    assert found.h == found.per_stage == 0
    assert set(found.unstable) == {complex(x) for x in unstable}
    assert found.limiting in found.unstable


def test_no_limit():
    for name in ("backward_euler", "gauss2", "bdf2", "trbdf2"):
        found = optimal_step(name, [-1, 2j, -0.01 + 5j, -100, 0])
        assert (found.h, found.limiting, found.unstable) == (math.inf, None, ())
    assert optimal_step("rk4", [0]).h == math.inf
    # A(alpha) only: 73.35 degrees for BDF4.
    assert optimal_step("bdf4", [-1 + 3j]).h == math.inf
    assert optimal_step("bdf4", [-1 + 4j]).h < math.inf


def amplification(scheme, z):
    A, U, B, V = (np.array(block.tolist(), dtype=float) for block in (scheme.A, scheme.U, scheme.B, scheme.V))
    solved = np.linalg.solve(np.eye(len(A)) - z[:, None, None] * A, np.broadcast_to(U, (len(z), *U.shape)).copy())
    return np.abs(np.linalg.eigvals(V + z[:, None, None] * B @ solved)).max(axis=-1)


@pytest.mark.parametrize("name", ["rk4", "ssprk104", "dopri5", "ab3", "am4", "bdf5", "zerosnet", "momentum", "pece3"])
def test_random_spectra_against_a_scan(name):
    scheme = schemes[name]
    spectrum = RNG.uniform(-2, -0.05, 12) + 1j * RNG.normal(size=12)
    found = optimal_step(scheme, spectrum)
    assert 0 < found.h < math.inf
    for part in np.linspace(0.001, 1, 700):
        assert amplification(scheme, found.h * part * spectrum).max() <= 1 + 1e-9
    beyond = amplification(scheme, found.h * 1.001 * np.array([found.limiting]))
    assert beyond.max() > 1 + 1e-9
    # Stages that the step itself needs, counted by hand: the last of dopri5 is for its error estimate.
    assert found.per_stage == pytest.approx(found.h / {"dopri5": 6}.get(name, scheme.stages))


@pytest.mark.parametrize("spectrum", [[], [math.nan], [1, math.inf], ["a"], None])
def test_bad_spectra(spectrum):
    with pytest.raises(SchemeError, match="optimal step: got"):
        optimal_step("rk4", spectrum)


def test_numbers_are_needed():
    with pytest.raises(SchemeError, match="optimal step got no value for k"):
        optimal_step("lm", [-1])
    assert optimal_step("lm", [-1], k="1/2").h == 1  # the ellipse: 2 (1 - k)
