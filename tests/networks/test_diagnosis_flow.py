"""The flow that growth is compared with, partitioned systems, zero-stability, and what is said."""

import json
import math

import numpy as np
import pytest
import torch
from test_diagnosis import Linear, lm_factor, network, states
from torch import nn

from odenets import FieldError, ODENet, Scheme
from odenets.analysis import plot
from odenets.analysis.networks.diagnosis import diagnose


def one(block, scheme, size, **options):
    return diagnose(ODENet([block], scheme), states(1, size), modified=False, **options).blocks[0]


def with_k(net, *values):
    for n, k in enumerate(values, 1):
        with torch.no_grad():
            net.coefficients_at(n)["k"].copy_(torch.as_tensor(k))
    return net


def shares(a):
    return a.outside, a.growing, a.unstable, a.excess, a.damped


# ------------------------------------------------------------ partitioned systems


@pytest.mark.parametrize("scheme", ["symplectic_euler", "verlet"])
def test_a_saddle_grows_by_its_flow_alone(scheme):
    # x' = y/2, y' = x/2: exp(1/2) and exp(-1/2). Both schemes have the trace 2 + 1/4 and the determinant 1.
    block = one([Linear([[0.5]]), Linear([[0.5]])], scheme, 2, schemes=["euler"])
    assert shares(block.amplification) == (0.5, 0.5, 0, 0, 0)
    assert block.amplification.maximum == pytest.approx(np.roots([1, -2.25, 1]).max())
    (euler,) = block.alternatives
    assert shares(euler.same_step) == (0.5, 0.5, 0, 0, 0)
    assert euler.same_step.maximum == pytest.approx(1.5)


def test_a_centre_is_stable_under_symplectic_euler_and_not_under_euler():
    block = one([Linear([[1.0]]), Linear([[-1.0]])], "symplectic_euler", 2, schemes=["euler", "verlet"])
    assert shares(block.amplification) == (0, 0, 0, 0, 0)
    euler, verlet = block.alternatives
    assert shares(euler.same_step) == (1, 0, 1, 0, 0)
    assert euler.same_step.worst_unstable == pytest.approx(2**0.5)
    assert shares(verlet.same_step) == (0, 0, 0, 0, 0)
    # Beyond frequency 2 the roots of zeta^2 - (2 - 9) zeta + 1 are real: no flow grows, the scheme does.
    block = one([Linear([[3.0]]), Linear([[-3.0]])], "symplectic_euler", 2)
    assert shares(block.amplification) == (1, 0, 1, 0, 0)
    assert block.amplification.worst_unstable == pytest.approx(abs(np.roots([1, 7, 1])).max())


def test_each_root_of_a_partitioned_step_counts_once():
    # The roots below 1 and above 1 are those of the step as a matrix.
    rng = np.random.default_rng(4)
    net = ODENet([[Linear(0.4 * rng.standard_normal((4, 4))) for _ in range(2)]], "symplectic_euler")
    block = diagnose(net, states(1, 8), modified=False).blocks[0]
    moduli = abs(np.linalg.eigvals(net(torch.eye(8, dtype=torch.float64)).detach().numpy().T))
    off_axis = np.abs(np.real(block.spectrum.eigenvalues)) > 1e-6
    assert off_axis.all()
    assert block.amplification.outside == pytest.approx((moduli > 1 + 1e-8).mean())
    assert block.amplification.unstable == 0


def test_a_partitioned_scheme_is_not_compared_on_a_plain_field():
    a = Linear([[0.0, 1.0], [-1.0, 0.0]])
    assert [x.scheme for x in one(a, "euler", 2, schemes=["verlet", "rk4", "way2"]).alternatives] == ["rk4"]


# ------------------------------------------------------------ samples that are coupled


@pytest.mark.parametrize("samples", [1, 2])
def test_a_norm_over_the_batch_is_refused_for_one_sample_too(samples):
    block = nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2, track_running_stats=False))
    with pytest.raises(FieldError, match="layer 0: got another value for a sample alone than in another batch"):
        diagnose(ODENet([block], "euler").eval(), torch.randn(2, 2, 3, 3), samples=samples)


def test_the_warning_of_batch_norm_names_what_there_is():
    def said(norm):
        d = diagnose(ODENet([nn.Sequential(nn.Conv2d(2, 2, 1), norm)], "euler").eval(), torch.randn(1, 2, 3, 3))
        return any("running statistics" in warning for warning in d.warnings)

    class Aside(nn.Module):  # a norm that is there and not used
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm2d(2, track_running_stats=False)

        def forward(self, x):
            return x

    assert said(nn.BatchNorm2d(2))
    assert not said(Aside())


# ------------------------------------------------------------ zero-stability, and no flow


def test_a_double_root_is_not_zero_stable_and_has_no_flow():
    net = with_k(network([np.diag([-0.1, 0.2])] * 3, "lm"), 1.0, -1.0)
    d = diagnose(net, states(1, 2))
    assert [b.zero_stable for b in d.blocks] == [True, True, False]
    a = d.blocks[2].amplification
    # zeta^2 - (2 + z) zeta + 1
    assert a.maximum == pytest.approx(max(abs(np.roots([1, -(2 + z), 1])).max() for z in (-0.1, 0.2)))
    assert a.outside == 0.5
    assert all(math.isnan(x) for x in (a.growing, a.unstable, a.excess, a.worst_unstable, a.damped))
    assert d.blocks[2].alternatives == ()
    assert d.findings[0].startswith("Not zero-stable: layer 2. In layer 2 k = -1, so 1 is a double root")
    assert d.findings[1].startswith("Layer 2: no flow of first order is followed")
    assert d.suggestion.startswith("Keep the coefficients of layer 2 where")
    read = json.loads(json.dumps(d.as_dict(), allow_nan=False))["blocks"][2]["amplification"]
    assert (read["growing"], read["excess"], read["outside"]) == (None, None, 0.5)
    assert "k = -1" in d.text()
    figure = plot.diagnosis(d, resolution=10)
    (share,) = [axes for axes in figure.axes if axes.get_ylabel().startswith("share")]
    assert share.patches[-1].get_height() == 0.5


def test_below_minus_one_the_principal_solution_runs_backwards():
    # k = -2: h_eff = -h. Where lambda = -0.1 the flow over h_eff grows, where lambda = 0.2 it does not.
    d = diagnose(with_k(network([np.diag([-0.1, 0.2])] * 2, "lm"), -2.0), states(1, 2))
    a = d.blocks[1].amplification
    assert (d.blocks[1].effective_step, a.growing, a.unstable) == (-1, 0.5, 0.5)
    assert a.worst_unstable == pytest.approx(lm_factor(0.2, -2.0))
    assert a.excess == 0.5  # the parasitic root 2
    assert d.blocks[1].alternatives == ()
    assert "backwards" in d.findings[1]
    assert d.suggestion.startswith("Keep the coefficients of layer 1 where")
    assert "growth is in the equation" not in d.suggestion.partition("In layer 0")[0]


# ------------------------------------------------------------ In-ResNet


def test_in_resnet_follows_the_damped_flow():
    # u+ = (1 - lam) u + h f(u), Euler's step of u' = f - (lam/h) u: at lam = 1/2 that is (z - 1/2).
    net = ODENet([Linear(np.diag([0.25, 0.75, -1.9]))], "in_resnet").double()
    nn.init.constant_(net.coefficients_at(0)["lam"], 0.5)
    d = diagnose(net, states(1, 3))
    block = d.blocks[0]
    assert block.amplification.maximum == pytest.approx(1.4)  # |1/2 - 1.9|
    # 3/4 > 1/2 grows, 1/4 does not though Re(lambda) > 0; -1.9 is outside on the left.
    assert shares(block.amplification) == pytest.approx((2 / 3, 1 / 3, 1 / 3, 0, 0))
    # Heun on u' = (lambda - 1/2) u: 1 + w + w^2/2 at w = 1/4, -1/4, -2.4
    (heun,) = [a for a in block.alternatives if a.scheme == "heun"]
    assert heun.same_step.worst_unstable == pytest.approx(1 - 2.4 + 2.4**2 / 2)
    assert "does not keep u' = 0" in block.modified_note
    assert "symbols" not in block.modified_note
    assert any("lam u / h" in warning for warning in d.warnings)
    assert "smaller step was not tried" in d.suggestion


def test_in_resnet_with_lam_zero_is_euler():
    net = ODENet([Linear(np.diag([0.25, -0.5]))], "in_resnet").double()
    nn.init.constant_(net.coefficients_at(0)["lam"], 0.0)
    x = states(1, 2)
    block, euler = diagnose(net, x).blocks[0], diagnose(network([np.diag([0.25, -0.5])]), x).blocks[0]
    assert (block.amplification, block.modified) == (euler.amplification, euler.modified)


# ------------------------------------------------------------ what is said


def test_a_stable_scheme_that_hides_growth_is_named():
    d = diagnose(ODENet([Linear(np.diag([3.0, -1.0]))], "backward_euler"), states(1, 2))
    a = d.blocks[0].amplification
    assert a.maximum == pytest.approx(0.5)  # 1/|1 - 3|, 1/2
    assert shares(a) == (0, 0, 0, 0, 0.5)
    assert any(f.startswith("Damped growth: in layer 0 50 % of the eigenvalues") for f in d.findings)


def test_oscillations_do_not_decay():
    d = diagnose(network([[[0.0, 1.0], [-1.0, 0.0]]]), states(1, 2))
    (finding,) = [f for f in d.findings if f.startswith("Numerical instability")]
    assert "The flow does not grow there" in finding
    assert "decay" not in finding


def test_other_schemes_cover_the_effective_step():
    # At k = -1/2 the layer advances 2 h: Euler's 1 + 2 z at z = -1.5 and -0.5.
    d = diagnose(with_k(network([np.diag([-1.5, -0.5])] * 2, "lm"), -0.5), states(1, 2))
    found = {a.scheme: a for a in d.blocks[1].alternatives}
    assert d.blocks[1].effective_step == 2
    assert found["euler"].same_step.maximum == pytest.approx(2)
    assert found["heun"].same_step.maximum == pytest.approx(1 - 3 + 9 / 2)
    assert found["heun"].same_cost.maximum == pytest.approx((1 - 6 + 36 / 2) ** 0.5)
    assert found["backward_euler"].same_step.maximum == pytest.approx(1 / 2)
    assert found["leapfrog"].same_step.maximum == pytest.approx(abs(np.roots([1, 6, -1])).max())
    assert "over each layer's h_eff" in d.text()


def test_only_a_starting_step_is_unstable():
    # Leapfrog is stable at +-0.5 i, started by Euler it is not: |1 + i/2|. rk4 is.
    a = np.array([[0.0, 0.5], [-0.5, 0.0]])
    d = diagnose(network([a] * 4, "leapfrog"), states(1, 2))
    assert [b.amplification.unstable for b in d.blocks] == [1, 0, 0, 0]
    assert "but for starting steps (in layer 0), each of which is taken once" in d.suggestion
    assert 'start="ssprk33" would be stable there' in d.suggestion
    mended = diagnose(network([a] * 4, "leapfrog", start="ssprk33"), states(1, 2))
    assert [b.amplification.unstable for b in mended.blocks] == [0, 0, 0, 0]


def test_a_scheme_that_does_not_keep_zero_and_carries_more_has_no_flow():
    damped = Scheme("damped", [[0]], [[1, 0]], [[1], [1]], [["8/10", "1/10"], [1, 0]], strict=False)
    net = ODENet([Linear(np.diag([-0.5, 0.25]))] * 2, damped)
    a = diagnose(net, states(1, 2), modified=False).blocks[1].amplification
    assert math.isnan(a.growing)
    assert a.maximum == pytest.approx(max(abs(np.roots([1, -(0.8 + z), -0.1 * (1 + z)])).max() for z in (-0.5, 0.25)))
