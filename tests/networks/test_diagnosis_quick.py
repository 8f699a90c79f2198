"""The two numbers that decide, against those of the whole matrix by numpy."""

import numpy as np
import pytest
import torch
from torch import nn

import odenets
from odenets.analysis import diagnose

SIZE = 40


def stack(scheme, weights):
    net = odenets.ODENet([nn.Linear(SIZE, SIZE, bias=False) for _ in weights], scheme).double()
    for layer, weight in zip(net.field.layers, weights, strict=True):
        layer.weight.data = torch.as_tensor(weight)
    return net


@pytest.fixture(scope="module")
def turning():
    """Matrices whose eigenvalues turn more than they grow: what a step multiplies most is not at the right end."""
    drawn = [np.random.default_rng(n).standard_normal((SIZE, SIZE)) / SIZE**0.5 for n in range(2)]
    return [2.0 * (a - a.T) + 0.1 * a - 0.5 * np.eye(SIZE) for a in drawn]


def test_the_largest_factor_and_the_largest_real_part(turning):
    """Of Euler's method zeta = 1 + lambda."""
    x = torch.randn(1, SIZE, dtype=torch.float64)
    net = stack("euler", turning)
    found, whole = (diagnose(net, x, dense_limit=8, quick=quick) for quick in (True, False))
    for block, weight in zip(found.blocks, turning, strict=True):
        values = np.linalg.eigvals(weight)
        assert block.amplification.maximum == pytest.approx(np.abs(1 + values).max(), rel=1e-8)
        assert block.spectrum.abscissa == pytest.approx(values.real.max(), rel=1e-8)
        assert block.spectrum.factor == pytest.approx(np.abs(1 + values).max(), rel=1e-8)
        assert values[np.abs(1 + values).argmax()].real != pytest.approx(values.real.max(), rel=1e-3)
    assert sum(b.spectrum.products for b in found.blocks) < 0.7 * sum(b.spectrum.products for b in whole.blocks)
    assert any(line.startswith("Numerical instability") for line in found.findings)


def test_what_is_left_out_is_said(turning):
    found = diagnose(stack("euler", turning), torch.randn(1, SIZE, dtype=torch.float64), dense_limit=8, quick=True)
    assert found.warnings[0].startswith("Quick: ")
    assert "a step may amplify besides what its equation damps" in found.warnings[0]
    assert found.settings["quick"]
    assert found.as_dict()["settings"]["quick"] is True
    for block in found.blocks:
        assert not block.alternatives
        assert block.modified is None
    assert all(stage.product is None for stage in found.stages)


Q = np.linalg.qr(np.random.default_rng(0).standard_normal((SIZE, SIZE)))[0]
DAMPED = {
    "of rank 1": -3.0 * np.outer(Q[0], Q[0]),
    "of rank 2": Q @ np.diag([0.0] * (SIZE - 2) + [-2.5, -3.0]) @ Q.T,
}


@pytest.mark.parametrize("weight", DAMPED.values(), ids=DAMPED)
def test_a_right_end_at_zero_hides_no_instability(weight):
    """Euler's method multiplies -3 by -2."""
    found = diagnose(stack("euler", [weight]), torch.randn(1, SIZE, dtype=torch.float64), dense_limit=8, quick=True)
    assert found.blocks[0].amplification.maximum == pytest.approx(2.0, rel=1e-8)
    assert found.findings[0].startswith("Numerical instability")


NOT_NORMAL = {
    "nilpotent": np.diag(np.ones(SIZE - 1), 1),
    "Jordan block": np.diag(np.ones(SIZE - 1), 1) - 0.5 * np.eye(SIZE),
}


@pytest.mark.parametrize("weight", NOT_NORMAL.values(), ids=NOT_NORMAL)
def test_what_rounding_makes_of_eigenvalues_is_no_finding(weight):
    """All are 0, or -1/2; those that are computed lie on a circle around it."""
    found = diagnose(stack("euler", [weight]), torch.randn(1, SIZE, dtype=torch.float64), dense_limit=8, quick=True)
    assert found.findings[0].startswith("Not decided by eigenvalues")


def test_of_a_dense_matrix_all_eigenvalues_are_known(turning):
    found = diagnose(stack("euler", turning), torch.randn(1, SIZE, dtype=torch.float64), quick=True)
    for block, weight in zip(found.blocks, turning, strict=True):
        assert block.spectrum.complete
        assert block.spectrum.radius == pytest.approx(np.abs(np.linalg.eigvals(weight)).max(), rel=1e-9)
