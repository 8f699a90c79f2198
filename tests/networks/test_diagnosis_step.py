"""One step of a layer as a matrix: its norm, and coefficients that differ from channel to channel."""

import numpy as np
import pytest
import torch
from test_diagnosis import Linear, network, states
from test_diagnosis_flow import one, with_k
from torch import nn

from odenets import ODENet, schemes
from odenets.analysis.networks.diagnosis import diagnose

# ------------------------------------------------------------ coefficients per channel


def channel_network(k, seed=0, **options):
    torch.manual_seed(seed)
    blocks = [nn.Conv2d(2, 2, 1, bias=False) for _ in range(2)]
    return with_k(ODENet(blocks, "lm", coefficient_shape=(2, 1, 1), **options).double(), k)


def test_the_layer_itself_where_channels_differ():
    k, weight = np.array([-0.9, 0.9]), np.array([[2.1, 2.3], [-2.5, -2.7]])
    net = channel_network([[[-0.9]], [[0.9]]], h=0.5)
    with torch.no_grad():
        net.field.layers[1].weight.copy_(torch.from_numpy(weight)[:, :, None, None])
    x = torch.ones(1, 2, 2, 2, dtype=torch.float64)
    d = diagnose(net, x)
    # [[I - K + hJ, K], [I, 0]] of one pixel; all pixels are alike.
    step = np.block([[np.eye(2) - np.diag(k) + 0.5 * weight, np.diag(k)], [np.eye(2), np.zeros((2, 2))]])
    block = d.blocks[1]
    assert block.channel_maximum == pytest.approx(abs(np.linalg.eigvals(step)).max())
    assert block.step_norm == pytest.approx(np.linalg.norm(step, 2))
    assert not block.amplification_range[0] <= block.channel_maximum <= block.amplification_range[1]
    assert any(f"{block.channel_maximum:.4g} in layer 1" in finding for finding in d.findings)
    assert "(channels)" in d.text()
    assert diagnose(net, x, dense_limit=0, modified=False).blocks[1].channel_maximum is not None  # 8 numbers: dense


def test_without_a_matrix_the_range_is_said_to_be_no_bound():
    net = channel_network([[[-0.9]], [[0.9]]])
    d = diagnose(net, torch.ones(1, 2, 4, 4, dtype=torch.float64), dense_limit=0)
    assert d.blocks[1].step_norm is None
    assert d.blocks[1].channel_maximum is not None  # by ARPACK on the step
    assert d.blocks[1].amplification_range is not None
    assert any("does not bound the layer" in warning for warning in d.warnings)


def test_one_channel_that_is_not_zero_stable_is_enough():
    d = diagnose(channel_network([[[-1.5]], [[0.5]]]), torch.ones(1, 2, 2, 2, dtype=torch.float64))
    assert d.blocks[1].zero_stable is False
    assert "Not zero-stable: layer 1. In layer 1 (k from -1.5 to 0.5) some channels are not" in d.findings[0]


# ------------------------------------------------------------ one step as a matrix


ONE_FUNCTION = [name for name, s in schemes.items() if s.explicit and s.carried == s.components and not s.symbols]


@pytest.mark.parametrize("name", [n for n in ONE_FUNCTION if max(schemes[n].modules) == 0 or schemes[n].components > 1])
def test_the_norm_of_a_step_is_that_of_the_network(name):
    scheme = schemes[name]
    rng = np.random.default_rng(7)
    modules = [Linear(rng.standard_normal((6 // scheme.components,) * 2)) for _ in range(max(scheme.modules) + 1)]
    net = ODENet([modules], scheme, h=0.3)
    step = net(torch.eye(6, dtype=torch.float64)).detach().numpy().T
    found = diagnose(net, states(1, 6), modified=False, schemes=[]).blocks[0]
    assert found.step_norm == pytest.approx(np.linalg.norm(step, 2))


def test_the_norm_of_an_implicit_step():
    a = np.random.default_rng(0).standard_normal((5, 5))
    one_stage = one(Linear(a), "implicit_midpoint", 5)
    identity = np.eye(5)
    assert one_stage.step_norm == pytest.approx(np.linalg.norm(np.linalg.solve(identity - a / 2, identity + a / 2), 2))
    # Gauss of two stages: R(z) = (1 + z/2 + z^2/12)/(1 - z/2 + z^2/12)
    top, bottom = (identity + s * a / 2 + a @ a / 12 for s in (1, -1))
    assert one(Linear(a), "gauss2", 5).step_norm == pytest.approx(np.linalg.norm(np.linalg.solve(bottom, top), 2))


def test_what_a_normal_matrix_would_do():
    q = np.linalg.qr(np.random.default_rng(1).standard_normal((4, 4)))[0]
    a = q @ np.diag([-1.5, -1.0, 0.5, 0.25]) @ q.T
    block = diagnose(with_k(network([a, a], "lm"), 0.5), states(1, 4)).blocks[1]
    small = [np.linalg.norm([[0.5 + z, 0.5], [1, 0]], 2) for z in (-1.5, -1.0, 0.5, 0.25)]
    assert (block.step_norm, block.normal_norm) == pytest.approx((max(small), max(small)))


def test_transient_growth_is_named():
    a = np.array([[-1.0, 100.0], [0.0, -1.0]])
    d = diagnose(network([a]), states(1, 2))
    # I + a = [[0, 100], [0, 0]]
    assert (d.blocks[0].step_norm, d.blocks[0].normal_norm) == pytest.approx((100, 0), abs=1e-9)
    assert "None is needed" not in d.suggestion
    assert "one step multiplies some disturbance by up to 100 (transient growth)" in d.suggestion
    assert any(f.startswith("Transient growth: in layer 0") for f in d.findings)


def test_transient_growth_is_named_where_no_matrix_is_made():
    a = 0.2 * np.diag([-1.0] * 20) + np.diag(np.full(19, 1.5), 1)
    d = diagnose(network([a]), states(1, 20), dense_limit=0, schemes=[], modified=False)
    assert d.stages[0].product.largest == pytest.approx(np.linalg.norm(np.eye(20) + a, 2), rel=1e-2)
    assert any("far from normal" in w and "||step|| was not computed" in w for w in d.warnings)
    assert f"at least {d.stages[0].product.largest:.3g}" in d.suggestion
