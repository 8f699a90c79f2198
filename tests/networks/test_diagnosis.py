"""Spectra and amplification of networks whose Jacobians are known matrices; numpy is the oracle."""

import numpy as np
import pytest
import torch
from scipy.linalg import block_diag
from torch import nn

import odenets
from odenets import ODENet, TimeField, schemes
from odenets.analysis.networks.diagnosis import diagnose

N = 40
PATHS = pytest.mark.parametrize("dense_limit", [512, 0], ids=["dense", "matrix-free"])


class Linear(nn.Module):
    """x -> x A^T, that is u' = A u for each row."""

    def __init__(self, matrix):
        super().__init__()
        self.matrix = nn.Parameter(torch.as_tensor(matrix, dtype=torch.float64))

    def forward(self, x):
        return x @ self.matrix.T


def rotation(seed, size=N):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((size, size)))[0]


def normal(seed=0):
    """Q diag(real values, pairs a ± ib) Q^T: eigenvalues -3 ... 1.5 and 1.1 ± 2i, ..."""
    real = np.linspace(-3, 1.5, 20)
    pairs = [np.array([[a, b], [-b, a]]) for a, b in zip(np.linspace(-1.9, 1.1, 10), np.linspace(0.2, 2, 10))]  # noqa: B905
    q = rotation(seed)
    return q @ block_diag(np.diag(real), *pairs) @ q.T


def not_normal(seed=1):
    """Q (D + strictly upper triangle) Q^T: eigenvalues those of D, ||A|| far beyond."""
    rng = np.random.default_rng(seed)
    q = rotation(seed + 1)
    upper = np.triu(0.15 * rng.standard_normal((N, N)), 1)
    return q @ (np.diag(np.linspace(-2.5, 0.8, N)) + upper) @ q.T


def network(matrices, scheme="euler", **options):
    return ODENet([Linear(a) for a in matrices], scheme, **options).double()


def states(samples=2, size=N):
    return torch.randn(samples, size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def distance(found, known):
    """For each value found how far the nearest known one is."""
    return np.abs(np.asarray(found)[:, None] - np.asarray(known)[None, :]).min(axis=1)


@PATHS
@pytest.mark.parametrize("make", [normal, not_normal])
def test_spectrum_of_a_known_matrix(make, dense_limit):
    a = make()
    d = diagnose(network([a, 0.5 * a]), states(), dense_limit=dense_limit, modified=False)
    for block, factor in zip(d.blocks, (1, 0.5), strict=True):
        known = np.linalg.eigvals(factor * a)
        s = block.spectrum
        found = np.array(s.eigenvalues)
        assert s.samples == 2
        assert s.complete == (dense_limit > 0)
        assert distance(found, known).max() < 1e-6
        if s.complete:
            assert len(found) == 2 * N
            assert distance(known, found).max() < 1e-6
        else:
            assert s.residual < 1e-8
        assert s.missing == 0
        for end in (np.abs, np.real, lambda v: -np.real(v), np.imag):
            assert end(found).max() == pytest.approx(end(known).max(), abs=1e-6)
        symmetric = np.linalg.eigvalsh(factor * (a + a.T) / 2)
        assert s.log_norm == pytest.approx([symmetric[-1]] * 2, abs=1e-6)
        assert s.lowest == pytest.approx([symmetric[0]] * 2, abs=1e-6)
        assert s.singular == pytest.approx([np.linalg.norm(factor * a, 2)] * 2, abs=1e-6)
        assert s.abscissa <= max(s.log_norm) + 1e-9
        assert s.radius <= max(s.singular) + 1e-9


def lm_factor(z, k):
    """zeta^2 - (1 - k + z) zeta - k = 0, Lu et al. (2018)."""
    return max(abs(np.roots([1, -(1 - k + z), -k])))


def shares(values, factors, h):
    """Outside, growing, unstable, typed by hand."""
    outside, right = factors > 1 + 1e-8, (h * values).real > 1e-9
    return outside.mean(), (outside & right).mean(), (outside & ~right).mean()


@PATHS
@pytest.mark.parametrize("make", [normal, not_normal])
def test_euler_and_lm_on_a_known_spectrum(make, dense_limit):
    a, h, k = make(), 0.7, -0.4
    net = network([a, a], "lm", h=h)
    nn.init.constant_(net.coefficients_at(1)["k"], k)
    first, second = diagnose(net, states(), dense_limit=dense_limit, modified=False).blocks
    assert (first.kind, second.kind) == ("starting", "regular")
    known = np.linalg.eigvals(a)
    for block, zeta in ((first, lambda z: abs(1 + z)), (second, lambda z: lm_factor(z, k))):
        # Of all eigenvalues where all are known, else of those computed.
        values = np.array(block.spectrum.eigenvalues)
        factors = np.array([zeta(h * value) for value in values])
        outside, growing, unstable = shares(values, factors, h)
        got = block.amplification
        assert (got.outside, got.growing, got.unstable) == pytest.approx((outside, growing, unstable), abs=1e-6)
        assert got.maximum == pytest.approx(max(zeta(h * value) for value in known), abs=1e-6)
        left = [zeta(h * value) for value in values if value.real <= 0]
        assert got.worst_unstable == pytest.approx(max(left), abs=1e-6)
        if dense_limit:
            every = shares(known, np.array([zeta(h * value) for value in known]), h)
            assert (got.outside, got.growing, got.unstable) == pytest.approx(every, abs=1e-6)


def test_matrix_free_and_dense_agree_for_a_convolution():
    torch.manual_seed(0)
    block = nn.Sequential(nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1))
    x = torch.randn(1, 4, 9, 9)
    net = ODENet([block], "euler")
    free = diagnose(net, x, dense_limit=0, modified=False).blocks[0].spectrum
    dense = diagnose(net, x, modified=False).blocks[0].spectrum
    assert (dense.complete, len(dense.eigenvalues), free.complete) == (True, 324, False)
    assert distance(free.eigenvalues, dense.eigenvalues).max() < 1e-6
    assert (free.abscissa, free.radius) == pytest.approx((dense.abscissa, dense.radius), abs=1e-6)
    assert free.log_norm == pytest.approx(dense.log_norm, abs=1e-6)
    assert free.singular == pytest.approx(dense.singular, abs=1e-6)


ONE_STEP = [
    name for name, s in schemes.items() if s.carried == s.components and not s.symbols and s.explicit
]  # fmt: skip


@pytest.mark.parametrize("name", ONE_STEP)
def test_the_amplification_is_what_the_network_does(name):
    # The network of one linear layer is a matrix; its spectral radius is max |zeta|.
    scheme = schemes[name]
    size = 6 // scheme.components
    rng = np.random.default_rng(3)
    modules = [Linear(rng.standard_normal((size, size))) for _ in range(max(scheme.modules) + 1)]
    if len(scheme.functions) == 1:
        modules = modules[:1] * len(modules)  # all stand for one f, and are one here
    net = ODENet([modules], scheme, h=0.3)
    found = diagnose(net, states(1, 6), modified=False, schemes=[]).blocks
    step = net(torch.eye(6, dtype=torch.float64)).detach().numpy().T
    for block in found:
        assert block.amplification.maximum == pytest.approx(abs(np.linalg.eigvals(step)).max(), rel=1e-9)


def test_a_partitioned_scheme_is_the_block_system():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 3, 3))
    net = ODENet([[Linear(a), Linear(b)]], "symplectic_euler")
    block = diagnose(net, states(1, 6), modified=False).blocks[0]
    # x' = f(y), y' = g(x)
    whole = np.block([[np.zeros((3, 3)), a], [b, np.zeros((3, 3))]])
    assert distance(np.linalg.eigvals(whole), block.spectrum.eigenvalues).max() < 1e-9
    assert block.function is None
    assert block.parasitic_roots == ()


def test_several_functions_of_one_f_are_analysed_each_by_itself():
    a, b = np.diag([-1.0, -2.0]), np.diag([-3.0, 0.5])
    d = diagnose(ODENet([[Linear(a), Linear(b)]], "fractal2"), states(1, 2))
    assert [block.function for block in d.blocks] == [0, 1]
    assert [sorted(v.real for v in block.spectrum.eigenvalues) for block in d.blocks] == [[-2, -1], [-3, 0.5]]
    assert any("several functions" in warning for warning in d.warnings)


def test_a_function_of_time_is_linearised_at_t_n():
    a = torch.tensor([[-1.0, 2.0], [-2.0, -1.0]], dtype=torch.float64)
    net = ODENet(TimeField(lambda t, x: (1 + t) * (x @ a.T), 0.0, 2.0, steps=4), "implicit_midpoint")
    d = diagnose(net, states(1, 2), modified=False)
    for n, block in enumerate(d.blocks):
        assert distance(block.spectrum.eigenvalues, (1 + 0.5 * n) * np.array([-1 + 2j, -1 - 2j])).max() < 1e-9
        assert block.h == 0.5


def test_the_states_are_those_that_the_network_reaches():
    # f = u^2/2 has J = diag(u): the eigenvalues are the states.
    class Square(nn.Module):
        def forward(self, x):
            return x**2 / 2

    x = torch.tensor([[0.5, -1.0], [0.25, 2.0]], dtype=torch.float64)
    d = diagnose(ODENet([Square()] * 2, "heun", h=0.1), x, modified=False)

    def heun(u):
        slope = u**2 / 2
        return u + 0.05 * (slope + (u + 0.1 * slope) ** 2 / 2)

    for block, u in zip(d.blocks, (x, heun(x)), strict=True):
        assert sorted(v.real for v in block.spectrum.eigenvalues) == pytest.approx(sorted(u.flatten().tolist()))


def test_effective_step_and_parasitic_root_of_lm():
    net = network([np.diag([-0.1, -0.2])] * 4, "lm", h=0.5)
    for n, k in ((1, 0.5), (2, -1.5), (3, -1.0)):
        nn.init.constant_(net.coefficients_at(n)["k"], k)
    d = diagnose(net, states(1, 2))
    # h/(1 + k), -k
    assert [b.effective_step for b in d.blocks] == pytest.approx([0.5, 0.5 / 1.5, -1.0, np.inf])
    assert [root for b in d.blocks[1:] for root in b.parasitic_roots] == pytest.approx([-0.5, 1.5, 1.0])
    assert d.blocks[0].parasitic_roots == ()
    assert d.stages[0].parasitic_growth == pytest.approx(0.5 * 1.5 * 1.0)
    assert d.stages[0].parasitic_peak == pytest.approx(1.5)
    assert "Keep the coefficients of layers 2, 3" in d.suggestion
    assert any("Not zero-stable: layers 2, 3" in finding for finding in d.findings)
    assert d.as_dict()["blocks"][3]["effective_step"] is None
    assert d.blocks[3].modified is None
    assert "no first-order equation" in d.blocks[3].modified_note


def test_coefficients_per_channel_are_analysed_at_their_mean_with_a_range():
    net = ODENet([nn.Conv2d(2, 2, 1, bias=False) for _ in range(2)], "lm", coefficient_shape=(2, 1, 1)).double()
    with torch.no_grad():
        net.coefficients_at(1)["k"].copy_(torch.tensor([-0.8, 0.2]).reshape(2, 1, 1))
    block = diagnose(net, torch.ones(1, 2, 2, 2, dtype=torch.float64)).blocks[1]
    (k,) = block.coefficients
    assert (k.mean, k.low, k.high) == pytest.approx((-0.3, -0.8, 0.2))
    known = np.linalg.eigvals(net.field.layers[1].weight.detach().numpy()[:, :, 0, 0])
    ends = [max(lm_factor(z, value) for z in known) for value in (-0.8, 0.2)]
    assert block.amplification.maximum == pytest.approx(max(lm_factor(z, -0.3) for z in known))
    assert block.amplification_range == pytest.approx((min(ends), max(ends)))


def test_a_network_in_stages_numbers_its_layers_through():
    torch.manual_seed(0)
    model, images = odenets.models.cifar_resnet(14, "lm"), torch.randn(2, 3, 4, 4)
    d = diagnose(model, images, samples=1, modified=False, dense_limit=128)
    assert [(b.stage, b.layer, b.kind) for b in d.blocks] == [
        (0, 0, "starting"), (0, 1, "regular"),
        (1, 2, "transition"), (1, 3, "regular"),
        (2, 4, "transition"), (2, 5, "regular"),
    ]  # fmt: skip
    assert [b.dimension for b in d.blocks] == [256, 256, None, 128, None, 64]
    assert [b.spectrum.complete for b in d.analysed] == [False, False, True, True]
    assert d.settings["dtype"] == "float64"


def test_a_layer_of_low_rank():
    # Krylov spaces close after a few steps.
    q = rotation(5)
    a = q @ np.diag([-2.0, 0.5, 1.0, *[0.0] * (N - 3)]) @ q.T
    first, second = (diagnose(network([a]), states(), dense_limit=0, modified=False).blocks[0] for _ in range(2))
    assert distance(first.spectrum.eigenvalues, [-2, 0.5, 1, 0]).max() < 1e-6
    assert distance([-2, 0.5, 1], first.spectrum.eigenvalues).max() < 1e-6
    assert first.spectrum.eigenvalues == pytest.approx(second.spectrum.eigenvalues, abs=1e-9)
    assert first.amplification.maximum == pytest.approx(2)


def test_a_layer_that_is_zero():
    d = diagnose(network([np.zeros((N, N))]), states(), dense_limit=0)
    assert d.blocks[0].spectrum.eigenvalues == (0j, 0j)
    assert d.blocks[0].amplification.outside == 0
    assert d.blocks[0].modified_note == "f vanishes at a sample"


def test_a_bar_shows_how_far_it_is(capsys):
    pytest.importorskip("tqdm")
    net = network([normal(), not_normal()])
    shown, plain = diagnose(net, states(), progress=True), diagnose(net, states())
    assert shown == plain
    assert "layer 1: 100% |" in capsys.readouterr().err
