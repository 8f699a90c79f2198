"""Models as people bring them: attention, pruning, hooks, several inputs, mistakes; and what a record is like."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from test_diagnosis import distance, network, states
from torch import nn
from torch.nn.utils import prune
from torch.nn.utils.parametrizations import spectral_norm

import odenets
from odenets import FieldError, ODENet
from odenets.analysis import plot
from odenets.analysis.networks.diagnosis import diagnose
from odenets.analysis.networks.diagnosis.states import check_device
from odenets.analysis.networks.diagnosis.step_matrix import spectral_norm as largest_singular_value


class Called(nn.Module):
    """A function of the state as a block."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def test_float32_keeps_what_float64_finds():
    torch.manual_seed(0)
    net = ODENet([nn.Sequential(nn.Linear(200, 200), nn.Tanh())], "euler")
    x = torch.randn(1, 200)
    single, double = (
        diagnose(net, x, dtype=d, modified=False, dense_limit=0).blocks[0].spectrum
        for d in (torch.float32, torch.float64)
    )
    assert len(single.eigenvalues) == len(double.eigenvalues)
    assert distance(single.eigenvalues, double.eigenvalues).max() < 1e-4


# ------------------------------------------------------------ blocks


class Attention(nn.Module):
    def forward(self, x):
        return nn.functional.scaled_dot_product_attention(x, x, x)


def attention(x):
    """The formula: softmax(x x^T / sqrt(d)) x."""
    weights = torch.softmax(x @ x.transpose(-1, -2) / x.shape[-1] ** 0.5, -1)
    return weights @ x


def test_attention_has_its_jacobian():
    x = torch.randn(1, 2, 3, 4, dtype=torch.float64)  # two heads: of fewer dimensions no kernel is fused
    block = diagnose(ODENet([Attention()], "euler"), x, modified=False).blocks[0]
    jacobian = torch.func.jacrev(attention)(x).reshape(24, 24).numpy()
    assert distance(np.linalg.eigvals(jacobian), block.spectrum.eigenvalues).max() < 1e-9


def test_a_transformer_layer_is_analysed():
    torch.manual_seed(0)
    fast = torch.backends.mha.get_fastpath_enabled()
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    d = diagnose(ODENet([layer], "euler"), torch.randn(2, 3, 8), modified=False)
    assert d.blocks[0].dimension == 24
    assert len(d.blocks[0].spectrum.eigenvalues) == 48
    assert torch.backends.mha.get_fastpath_enabled() == fast


def test_weights_with_a_graph_are_copied():
    pruned, normed = nn.Linear(4, 4), spectral_norm(nn.Linear(4, 4))
    prune.l1_unstructured(pruned, "weight", amount=0.5)
    pruned(torch.ones(1, 4)).sum()
    normed(torch.ones(1, 4))
    net = ODENet([pruned, normed], "euler").eval()
    x = states(1, 4).float()
    first, _ = diagnose(net, x).blocks
    known = np.linalg.eigvals((pruned.weight_orig * pruned.weight_mask).detach().double().numpy())
    assert distance(known, first.spectrum.eigenvalues).max() < 1e-6
    assert not pruned.weight.is_leaf  # the model's own is as it was


def test_the_models_hooks_do_not_see_the_analysis():
    seen = []
    block = nn.Linear(3, 3)
    block.register_forward_hook(lambda module, args, out: seen.append(out.shape))
    block.register_full_backward_hook(lambda *args: seen.append(args))
    d = diagnose(ODENet([block], "euler"), torch.ones(1, 3))
    assert seen == []
    assert len(block._forward_hooks) == 1
    assert any(warning.startswith("Hooks:") for warning in d.warnings)


def test_a_layer_that_detaches_is_named():
    net = ODENet([Called(lambda x: -3 * x.detach())], "euler")
    d = diagnose(net, torch.ones(1, 3), modified=False)
    assert d.blocks[0].quotient_error == pytest.approx(1)
    assert any("the layer detaches, rounds or jumps" in warning for warning in d.warnings)
    half = diagnose(ODENet([Called(lambda x: x + x.detach())], "euler"), torch.ones(1, 3), modified=False)
    assert half.blocks[0].quotient_error == pytest.approx(0.5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_relu_is_no_jump(dtype):
    torch.manual_seed(0)
    net = ODENet([nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1))] * 3, "euler")
    d = diagnose(net, torch.randn(2, 4, 4, 4), modified=False, dtype=dtype)
    assert not any("detaches" in warning for warning in d.warnings)


def test_a_batch_that_is_flattened_is_cut_to_the_samples():
    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = ODENet([nn.Linear(4, 4)], "euler")

        def forward(self, x):
            return self.net(x.flatten(0, 1))

    d = diagnose(Flat(), torch.randn(2, 3, 4), samples=2)
    assert (d.blocks[0].spectrum.samples, d.stages[0].given) == (2, 6)
    assert any("up to 6 states in its run for 2 samples" in warning for warning in d.warnings)


# ------------------------------------------------------------ mistakes


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = ODENet([nn.Linear(2, 2)], "euler")

    def forward(self, a, b):
        return self.net(a + b)


class Casts(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = ODENet([nn.Linear(2, 2)], "euler")

    def forward(self, x):
        return self.net(x.float())


class Old(torch.autograd.Function):
    """Without setup_context, which torch.func wants."""

    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, slope):
        return 2 * slope


class Once(torch.autograd.Function):
    """Whose backward pass has no derivative, which torch takes for one that is 0."""

    @staticmethod
    def forward(x):
        return 2 * x

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, slope):
        return 2 * slope

    @staticmethod
    def jvp(ctx, v):
        return 2 * v


def asserts(x):
    assert x.shape[1] == 3
    return x


ONE = torch.ones(1, 2)


@pytest.mark.parametrize(
    ("model", "x", "message"),
    [
        (ODENet([nn.Linear(2, 2)], "euler"), torch.ones(1, 3), r"does not run on x of shape \(1, 3\)"),
        (TwoInputs(), ONE, "wrap a model of several arguments"),
        (Casts(), ONE, "does not run on x .* dtype=None"),
        (ODENet([nn.BatchNorm1d(2, track_running_stats=False)], "euler"), ONE, "more than 1 value per channel"),
        (ODENet([nn.Linear(2, 2)], "euler"), ONE.to_sparse(), "of layout torch.sparse_coo"),
        (ODENet([nn.Linear(2, 2)], "euler"), ONE.to("meta"), "on the meta device"),
        (TwoInputs, ONE, "got the class TwoInputs, expected a torch.nn.Module; build"),
        (lambda x: x, ONE, "got function, expected a torch.nn.Module"),
        (nn.Linear(2, 2), ONE, "got Linear without any ODENet"),
        (ODENet([Called(lambda x: x / 0)] * 2, "euler"), ONE, "got states that .* check x and the weights"),
        (ODENet([Called(asserts)], "euler"), ONE, "does not run on x .*AssertionError"),
        (ODENet([Called(Old.apply)], "euler"), ONE, 'call blocks directly.*gradient="checkpoint".*setup_context'),
        (ODENet([Called(Once.apply)], "euler"), ONE, "backward pass is not linear .* or not differentiable"),
    ],
)
def test_a_mistake_is_a_field_error(model, x, message):
    with pytest.raises(FieldError, match=message):
        diagnose(model, x)


def test_a_model_that_casts_runs_in_its_own_dtype():
    assert diagnose(Casts(), ONE, dtype=None).settings["dtype"] == "float32"


def test_no_float64_on_mps():
    with pytest.raises(FieldError, match=r"dtype=torch.float32"):
        check_device(torch.device("mps"), torch.float64)
    check_device(torch.device("mps"), torch.float32)


def test_one_scheme_and_integers_of_numpy():
    net = network([np.diag([-1.0, -2.0])])
    for one in ("heun", odenets.schemes["heun"]):
        d = diagnose(net, states(3, 2), schemes=one, samples=np.int64(2), values=np.int32(3))
        assert [a.scheme for a in d.blocks[0].alternatives] == ["heun"]
    assert d.settings["samples"] == 2
    for bad in (2.0, True, "2"):
        with pytest.raises(FieldError, match="samples: got"):
            diagnose(net, states(3, 2), samples=bad)


# ------------------------------------------------------------ records and figure


def test_a_diagnosis_can_be_hashed():
    d = diagnose(network([np.diag([-0.5, 0.31])] * 4), states(1, 2))
    assert hash(d) == hash(diagnose(network([np.diag([-0.5, 0.31])] * 4), states(1, 2)))
    assert "eigenvalues" not in repr(d.blocks[0].spectrum)


def test_the_example_of_the_page_runs_by_itself(capsys):
    page = (Path(__file__).parents[2] / "docs" / "diagnosis.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    space = {}
    exec(blocks[0], space)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "1.7"  # |1 - 0.2 + 1.5 i|
    assert printed[2].startswith("Against the numerical instability in layers 0-2: ssprk33 at the same step")
    exec(blocks[1], space)
    wrapped = space["Fixed"](TwoInputs(), torch.zeros(3, 2)).eval()
    assert diagnose(wrapped, ONE).blocks[0].dimension == 2


def test_the_norm_of_a_large_matrix(monkeypatch):
    monkeypatch.setattr("odenets.analysis.networks.diagnosis.step_matrix.LARGE", 100)
    matrix = np.random.default_rng(0).standard_normal((150, 150))
    assert largest_singular_value(matrix) == pytest.approx(np.linalg.norm(matrix, 2), rel=1e-9)


def test_the_panels_hold_the_region_and_the_marks_are_named():
    # lm at k = 3/5 has a region of half height 1 + k: |Im z| at zeta = +-i.
    net = network([np.diag([-0.3, -0.2])] * 2, "lm")
    nn.init.constant_(net.coefficients_at(1)["k"], 0.6)
    figure = plot.diagnosis(diagnose(net, states(1, 2), modified=False), resolution=20)
    assert figure.axes[0].get_ylim()[1] > 1.6
    lines = [(line.get_label(), line.get_ydata()[0]) for axes in figure.axes for line in axes.lines]
    assert ("zero-stable in between", -1) in lines
    assert 1 in [y for label, y in lines if label.startswith("_") and not math.isnan(y)]
    torch.manual_seed(0)
    model = odenets.models.cifar_resnet(14, "euler").eval()
    figure = plot.diagnosis(
        diagnose(model, torch.randn(1, 3, 4, 4), samples=1, modified=False, schemes=[]), resolution=10
    )
    labels = [text.get_text() for axes in figure.axes if axes.get_legend() for text in axes.get_legend().get_texts()]
    assert labels.count("change of stage") == 1
