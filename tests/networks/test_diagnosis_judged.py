"""What a diagnosis must not say: verdicts by rounding, by one step, by means, by ends, by spurious eigenvalues."""

import numpy as np
import pytest
import torch
from scipy.linalg import block_diag
from test_diagnosis import Linear, network, rotation, states
from test_diagnosis_flow import with_k
from torch import nn

from odenets import ODENet, schemes
from odenets.analysis import is_stable
from odenets.analysis.linear.double_points import double_points
from odenets.analysis.networks.diagnosis import diagnose

TURN = np.array([[0.0, -1.0], [1.0, 0.0]])


# ------------------------------------------------------------ the boundary: a double root on the circle


@pytest.mark.parametrize(
    ("name", "values", "known"),
    [
        ("leapfrog", {}, [1j, -1j]),  # zeta^2 - 2z zeta - 1
        ("lm", {"k": 1}, [2j, -2j]),  # zeta^2 - z zeta - 1
        ("lm", {"k": -1}, [0, -4]),  # zeta^2 - (2 + z) zeta + 1
        ("lm", {"k": "-99/100"}, []),  # |zeta|^2 = |k| where the roots meet
        ("symplectic_euler", {}, [2j, -2j]),  # zeta^2 - (2 + z^2) zeta + 1; M(0) = I is harmless
        ("milne_simpson", {}, [3**0.5 * 1j, -(3**0.5) * 1j]),  # (1 - z/3) zeta^2 - 4z/3 zeta - (1 + z/3)
        ("ab2", {}, []),
        ("rk4", {}, []),
    ],
)
def test_double_roots_on_the_circle_are_known_exactly(name, values, known):
    found = double_points(schemes[name].substitute(values))
    assert sorted(found, key=lambda w: (w.real, w.imag)) == pytest.approx(sorted(known, key=lambda w: (w.real, w.imag)))
    if known:
        assert not is_stable(name, known, **values).any()


@pytest.mark.parametrize("scale", [1, 1 - 1e-15, 1 + 1e-15, 1 + 4e-16])
@pytest.mark.parametrize(("scheme", "h"), [("leapfrog", 0.25), ("lm", 0.5)])
def test_growth_in_proportion_to_n_is_an_instability_whatever_is_rounded(scheme, h, scale):
    q = rotation(3, 4)
    limit = {"leapfrog": 1, "lm": 2}[scheme] / h
    net = network([scale * limit * q @ block_diag(TURN, 0.3 * TURN) @ q.T] * 3, scheme, h=h, start="rk4")
    d = diagnose(with_k(net, 1.0, 1.0) if scheme == "lm" else net, states(1, 4), modified=False)
    for block in d.blocks[1:]:
        a = block.amplification
        assert (a.maximum, a.outside, a.unstable, a.boundary, a.double) == (pytest.approx(1), 0.5, 0.5, 1, 0.5)
    assert any(f.startswith("On the boundary: in layers 1, 2 100 %") for f in d.findings)
    assert any("have a multiple root of modulus 1" in f for f in d.findings)
    assert not any("of layers 0-2 lie in the stability region" in f for f in d.findings)
    assert d.suggestion.startswith("Against the numerical instability in layers 1, 2:")


def test_a_scheme_at_its_double_root_is_not_called_stable_there():
    (leapfrog,) = diagnose(network([TURN]), states(1, 2), schemes=["leapfrog"], modified=False).blocks[0].alternatives
    assert (leapfrog.same_step.unstable, leapfrog.same_step.maximum) == (1, pytest.approx(1))
    d = diagnose(network([TURN]), states(1, 2), schemes=["leapfrog"])
    assert "none of the schemes compared removes it" in d.suggestion
    inside = diagnose(network([0.9 * TURN]), states(1, 2), schemes=["leapfrog"])
    assert "leapfrog, stable there" in inside.suggestion


def test_a_simple_root_on_the_circle_is_stable_and_said_to_be_on_the_boundary():
    d = diagnose(network([np.diag([-2.0, -1.0])]), states(1, 2))  # Euler's -1 and 0
    assert (d.blocks[0].amplification.boundary, d.blocks[0].amplification.outside) == (0.5, 0)
    assert any(f.startswith("On the boundary: in layer 0 50 %") for f in d.findings)
    assert d.suggestion.startswith("None is needed")
    assert "on its boundary, where nothing decays" in d.suggestion


# ------------------------------------------------------------ starting steps are taken once


@pytest.mark.parametrize(("frequency", "part"), [(1.5, 2), (3.5, 4), (1.0, 2)])
def test_a_smaller_step_is_judged_by_the_sequence_of_steps(frequency, part):
    d = diagnose(network([frequency * TURN] * 4, "leapfrog"), states(1, 2), modified=False)
    assert f"{part} times as many layers of step h/{part} (" in d.suggestion
    # u_1 = (1 + z) u_0, u_{n+1} = u_{n-1} + 2 z u_n
    u, z = [1, 1 + 1j * frequency / part], 1j * frequency / part
    for _ in range(4 * part - 1):
        u.append(u[-2] + 2 * z * u[-1])
    assert f"(|u_n| up to {max(map(abs, u)):.3g} |u_0|" in d.suggestion


def test_a_starting_step_alone_is_no_instability():
    d = diagnose(network([0.5 * TURN] * 4, "leapfrog"), states(1, 2), modified=False)
    assert not any(f.startswith("Numerical instability") for f in d.findings)
    assert d.suggestion.startswith("None is needed")
    assert "each of which is taken once" in d.suggestion
    # |1 + i/2| and what leapfrog makes of it: at most 1/sqrt(1 - 1/4)
    assert 1.25**0.5 <= d.blocks[0].sequence_maximum <= (4 / 3) ** 0.5


# ------------------------------------------------------------ products of layers


@pytest.mark.parametrize(
    ("ks", "whole", "peak"),
    [([[-1.2, 1.0]] * 11, 1.2**11, 1.2**11), ([[0.9, -0.9]] * 11, 0.9**11, 0.9), ([[2, 0.1], [0.1, 2]] * 3, 0.2**3, 2)],
)
def test_products_of_layers_are_those_of_each_channel(ks, whole, peak):
    net = ODENet([Linear(np.zeros((2, 2))) for _ in range(len(ks) + 1)], "lm", coefficient_shape=(2,)).double()
    stage = diagnose(with_k(net, *ks), states(1, 2), modified=False).stages[0]
    assert (stage.parasitic_growth, stage.parasitic_peak) == pytest.approx((whole, peak), rel=1e-6)


def test_products_of_matrices_are_measured_by_norms():
    # lm3: u_{n+1} - u_n = -(k1 + k2) (u_n - u_{n-1}) - k2 (u_{n-1} - u_{n-2})
    ks = [(0.5, 0.5), (-0.5, 0.8), (0.7, -0.4)]
    net = network([np.zeros((2, 2))] * 5, "lm3")
    for n, (k1, k2) in enumerate(ks, 2):
        nn.init.constant_(net.coefficients_at(n)["k1"], k1)
        nn.init.constant_(net.coefficients_at(n)["k2"], k2)
    maps = [np.array([[-(a + b), -b], [1, 0]]) for a, b in ks]
    # carried: u_n, and what u_{n-1}, u_{n-2} differ from it by; differences of neighbours are their combinations
    to = np.array([[-1, 0], [-1, -1]])
    maps = [to @ m @ np.linalg.inv(to) for m in maps]
    products = [np.linalg.multi_dot([np.eye(2), *maps[i:j][::-1]]) for j in range(1, 4) for i in range(j)]
    sizes = [np.linalg.norm(product, np.inf) for product in products]
    stage = diagnose(net, states(1, 2), modified=False).stages[0]
    assert stage.parasitic_peak == pytest.approx(max(sizes), rel=1e-6)
    assert stage.parasitic_growth == pytest.approx(sizes[3], rel=1e-6)


# ------------------------------------------------------------ the largest |zeta| where J is not made


def inside_out(size, worst, seed):
    """Normal; eigenvalues -1 + 0.9 e^(i t) of Euler's disc, with one pair between them that is outside."""
    angles = np.linspace(0.05, 3.1, (size - 2) // 2)
    pairs = [worst, *(-0.9 + 0.85 * np.exp(1j * angles))]
    q = rotation(seed, size)
    return q @ block_diag(*[np.array([[w.real, w.imag], [-w.imag, w.real]]) for w in pairs]) @ q.T


def test_the_largest_factor_is_searched_for_on_the_step():
    a = inside_out(80, -0.1 + 0.6j, 0)
    d = diagnose(network([a]), states(1, 80), dense_limit=0, modified=False, values=2)
    assert d.blocks[0].amplification.maximum == pytest.approx(abs(0.9 + 0.6j))
    assert d.blocks[0].spectrum.factor == pytest.approx(abs(0.9 + 0.6j))
    assert any(f.startswith("Numerical instability: in layer 0") for f in d.findings)


@pytest.mark.parametrize("scheme", ["ab2", "heun", "lm", "implicit_midpoint"])
def test_on_all_that_a_step_carries(scheme):
    a = inside_out(40, -0.1 + 0.6j, 1)
    net = network([a] * 2, scheme, h=1.3)
    if scheme == "lm":
        with_k(net, -0.5)
    free, dense = (diagnose(net, states(1), dense_limit=n, modified=False, schemes=[]).blocks[1] for n in (0, 512))
    assert free.spectrum.factor == pytest.approx(dense.amplification.maximum, rel=1e-6)
    assert free.amplification.maximum == pytest.approx(dense.amplification.maximum, rel=1e-6)


def test_coefficients_per_channel_without_a_matrix():
    net = ODENet([nn.Conv2d(2, 2, 1, bias=False) for _ in range(2)], "lm", coefficient_shape=(2, 1, 1)).double()
    torch.manual_seed(0)
    with_k(net, torch.tensor([-0.9, 0.9])[:, None, None])
    nn.init.normal_(net.field.layers[1].weight)
    x = states(1, 32).reshape(1, 2, 4, 4)
    free, dense = (diagnose(net, x, dense_limit=n, modified=False, schemes=[]).blocks[1] for n in (0, 512))
    assert free.channel_maximum == pytest.approx(dense.channel_maximum, rel=1e-6)


# ------------------------------------------------------------ spurious eigenvalues


@pytest.mark.parametrize(("size", "above"), [(100, 1.5), (60, -3.0)])
def test_eigenvalues_that_rounding_has_made_decide_nothing(size, above):
    # -1/2 alone, in one Jordan block: Euler's zeta is 1/2. LAPACK finds a circle that leaves the region.
    q = rotation(2, size)
    a = q @ (np.diag(np.full(size, -0.5)) + above * np.diag(np.ones(size - 1), 1)) @ q.T
    d = diagnose(network([a] * 3), states(1, size), modified=False)
    block = d.blocks[0]
    assert max(abs(1 + np.linalg.eigvals(a))) > 1.5
    assert (block.amplification.undecided, block.amplification.growing, block.amplification.unstable) == (1, 0, 0)
    assert block.spectrum.condition > 1e10
    # The field of values of a Jordan block is the disc of radius |above| cos(pi/(n + 1)) about -1/2.
    radius = abs(above) * np.cos(np.pi / (size + 1))
    assert (*block.spectrum.bounds, *block.spectrum.turning) == pytest.approx((-0.5 - radius, -0.5 + radius, radius))
    assert block.pseudospectrum[0] <= -0.5 + radius + 1e-9
    step = np.eye(size) + a
    norms = [np.linalg.norm(np.linalg.matrix_power(step, n), 2) for n in (1, 2, 3)]
    assert (d.stages[0].product.largest, d.stages[0].product.whole) == pytest.approx((max(norms), norms[-1]))
    assert any(f.startswith("Not decided by eigenvalues: in layers 0-2 100 %") for f in d.findings)
    assert d.suggestion.startswith("No verdict by eigenvalues in layers 0-2")
    assert f"multiplies some disturbance by up to {max(norms):.3g}" in d.suggestion
    assert "growth is in the equation" not in d.suggestion


def test_multiple_eigenvalues_of_a_normal_matrix_are_not_sensitive():
    q = rotation(4)
    a = q @ block_diag(np.zeros((20, 20)), -np.eye(10), -0.5 * np.eye(10)) @ q.T
    block = diagnose(network([a]), states(1), modified=False).blocks[0]
    assert block.spectrum.condition < 100
    assert block.amplification.undecided == 0


def test_condition_numbers_with_and_without_a_matrix():
    # x = (1, 0), y = (1, -c/d) for [[a, c], [0, a - d]]: sqrt(1 + (c/d)^2)
    q = rotation(5)
    a = q @ block_diag(np.array([[0.5, 30.0], [0.0, -1.5]]), np.diag(np.linspace(-1, 0, 38))) @ q.T
    dense, free = (diagnose(network([a]), states(1), dense_limit=n, modified=False).blocks[0] for n in (512, 0))
    for block in (dense, free):
        known = dict(zip(block.spectrum.eigenvalues, block.spectrum.conditions, strict=True))
        assert known[max(known, key=lambda w: w.real)] == pytest.approx((1 + 15.0**2) ** 0.5, rel=1e-6)


def transport(size, courant):
    """Upwind differences: -courant in one Jordan block, where ||J|| is hardly more than computed eigenvalues are."""
    return courant * (np.diag(np.ones(size - 1), -1) - np.eye(size))


def test_spurious_eigenvalues_without_a_matrix_decide_nothing():
    # Euler's only zeta is 1 - 1.9; ARPACK finds eigenvalues around -1.9, up to -3.1.
    d = diagnose(network([transport(48, 1.9)]), states(1, 48), dense_limit=0, modified=False, values=2, schemes=[])
    assert max(abs(1 + np.array(d.blocks[0].spectrum.eigenvalues))) > 1.5
    assert (d.blocks[0].amplification.undecided, d.blocks[0].amplification.unstable) == (1, 0)
    assert d.suggestion.startswith("No verdict by eigenvalues")


# ------------------------------------------------------------ kinks


class Detached(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.hidden = hidden

    def forward(self, x):
        return 0.2 * self.hidden(x.detach()) - 0.1 * x


@pytest.mark.parametrize("hidden", [lambda x: x, lambda x: x**2, torch.tanh, lambda x: 3.0 + 0 * x])
def test_what_is_detached_is_no_kink(hidden):
    d = diagnose(ODENet([Detached(hidden)], "euler"), torch.tensor([[1.0, 0.5, -2.0]]))
    assert not d.blocks[0].piecewise_linear
    assert not any("kinks" in w for w in d.warnings)


@pytest.mark.parametrize("x", [[1.0, 2.0, -3.0], [0.0, 1.0, -1.0]])
@pytest.mark.parametrize("bend", [nn.ReLU(), nn.LeakyReLU(), nn.Hardtanh()])
def test_kinks_are_found_also_at_a_state_on_one(x, bend):
    net = ODENet([nn.Sequential(bend, nn.Linear(3, 3))], "euler").double()
    d = diagnose(net, torch.tensor([x], dtype=torch.float64))
    assert d.blocks[0].piecewise_linear


def test_growth_that_rounds_to_one_is_not_said_to_be_one():
    # |1 + lambda|^2 = 1 + 2 a + a^2 + b^2 for lambda = a + bi: with a = 0 and b = 0.01, |zeta| = 1 + 5e-5.
    d = diagnose(network([0.01 * np.array([[0.0, -1.0], [1.0, 0.0]])], "euler"), states(1, 2), modified=False)
    assert any(f.startswith("Numerical instability: in layer 0") and "up to 1 + 5e-05 (" in f for f in d.findings)
