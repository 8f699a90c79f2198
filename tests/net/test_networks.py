"""The networks of the paper and its descendants: their size, and that they train on real images."""

import os
import pathlib

import pytest
import torch
from helpers import residuals
from torch.nn.functional import cross_entropy

import odenets
from odenets import FieldError, SchemeError
from odenets.models import (
    Antisymmetric,
    GatedRK2,
    Symmetric,
    cifar_resnet,
    cifar_resnext,
    hamiltonian_net,
    imagenet_resnet,
    shake_shake,
)
from odenets.scheme.rk_families import fractal

DATA = pathlib.Path(os.environ.get("ODENETS_DATA", pathlib.Path(__file__).parents[2] / "data"))

NETWORKS = {
    "ResNet": lambda: cifar_resnet(14, "euler"),
    "LM-ResNet": lambda: cifar_resnet(14, "lm"),
    "LM-ResNeXt": lambda: cifar_resnext(20, "lm", cardinality=4, width=4),
    "PolyNet": lambda: cifar_resnet(14, "poly2"),
    "FractalNet": lambda: cifar_resnet(14, "fractal2"),
    "RevNet": lambda: cifar_resnet(14, "symplectic_euler"),
    "Hamiltonian": lambda: hamiltonian_net(14),
    "LM with stochastic depth": lambda: cifar_resnet(14, "lm", survival=0.8),
    "shake-shake": lambda: shake_shake(14, base=16),
}


@pytest.fixture(scope="module")
def images():
    from odenets.benchmarks.common.errors import DataError
    from odenets.benchmarks.data.sources import load

    try:
        data = load("cifar10", DATA)
    except DataError as error:
        pytest.skip(f"CIFAR-10 is not there: {error}")
    return data.normalised(data.train_images[:4]), data.train_labels[:4]


#: the paper's, halved where f has no BatchNorm to bear it
LEARNING_RATE = {"Hamiltonian": 0.05}


@pytest.mark.parametrize("name", NETWORKS)
def test_loss_falls_by_half_within_30_steps(name, images):
    torch.manual_seed(0)
    model = NETWORKS[name]()
    optimizer = torch.optim.SGD(odenets.parameter_groups(model, 1e-4), lr=LEARNING_RATE.get(name, 0.1), momentum=0.9)
    losses = []
    for _ in range(30):
        loss = cross_entropy(model(images[0]), images[1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    # The last five, since the random networks draw their noise anew at each step.
    assert sum(losses[-5:]) / 5 < losses[0] / 2


def parameters(build):
    with torch.device("meta"):
        return sum(p.numel() for p in build().parameters())


def test_sizes_are_the_published_ones():
    # Xie et al. (2017), table 7: ResNeXt-29 8x64d 34.4M, 16x64d 68.1M
    assert round(parameters(lambda: cifar_resnext(29)) / 1e6, 1) == 34.4
    assert parameters(lambda: cifar_resnext(29, cardinality=16)) == pytest.approx(68.1e6, rel=2e-3)
    # He et al. (2016) / torchvision: 25.6, 44.5, 60.2 million
    assert [round(parameters(lambda d=d: imagenet_resnet(d)) / 1e6, 1) for d in (50, 101, 152)] == [25.6, 44.5, 60.2]
    # Gastaldi (2017), 26 2x32d and 2x96d: 2.9 and 26.2 million
    assert [round(parameters(lambda b=b: shake_shake(26, base=b)) / 1e6, 1) for b in (32, 96)] == [2.9, 26.2]


def test_lm_adds_one_parameter_a_layer_but_for_each_stages_first():
    for depth, layers in ((50, 16), (101, 33), (152, 50)):
        assert (
            parameters(lambda d=depth: imagenet_resnet(d, "lm")) - parameters(lambda d=depth: imagenet_resnet(d))
            == layers - 4
        )
    assert parameters(lambda: cifar_resnext(29, "lm")) - parameters(lambda: cifar_resnext(29)) == 9 - 3


def test_imagenet_shapes():
    model = imagenet_resnet(50, "lm", num_classes=7).eval()
    assert model.stage4(model.stage3(model.stage2(model.stage1(model.stem(torch.randn(1, 3, 64, 64)))))).shape == (
        1,
        2048,
        2,
        2,
    )
    assert model(torch.randn(1, 3, 64, 64)).shape == (1, 7)


def test_revnet_by_hand():
    torch.manual_seed(0)
    stage = cifar_resnet(20, "symplectic_euler").double().eval().stage1
    u = torch.randn(2, 16, 6, 6, dtype=torch.float64)
    x, y = u.chunk(2, 1)
    for f, g in stage.field.layers:
        x = x + f(y)
        y = y + g(x)
    torch.testing.assert_close(stage(u), torch.cat([x, y], 1))


def test_hamiltonian_functions_are_gradients_of_energies():
    # E(y) = sum R(K y + b), R' = relu, has the gradient K^T relu(K y + b)
    torch.manual_seed(0)
    for sign in (1, -1):
        f = Symmetric(4, sign).double()
        y = torch.randn(1, 4, 5, 5, dtype=torch.float64, requires_grad=True)
        energy = 0.5 * torch.relu(f.conv(y)).square().sum()
        (gradient,) = torch.autograd.grad(energy, y)
        torch.testing.assert_close(f(y), sign * gradient)


def test_antisymmetric_field():
    torch.manual_seed(0)
    f = Antisymmetric(6, gamma=0.1).double()
    torch.nn.init.zeros_(f.linear.bias)
    jacobian = torch.func.jacrev(f)(torch.zeros(6, dtype=torch.float64))
    torch.testing.assert_close(jacobian + jacobian.T, -0.1 * torch.eye(6, dtype=torch.float64))


@pytest.mark.parametrize(("shape", "dim"), [((4, 7, 5), -1), ((4, 5, 3, 3), 1)])
def test_gate_of_the_ode_transformer_by_hand(shape, dim):
    torch.manual_seed(0)
    block = GatedRK2(torch.nn.Tanh(), 5, dim).double()
    u = torch.randn(shape, dtype=torch.float64)
    found = odenets.ODENet([block], "euler")(u)
    first = torch.tanh(u)
    second = torch.tanh(u + first)
    w, b = block.gate.weight[0], block.gate.bias
    last = [x if dim == -1 else x.permute(0, 2, 3, 1) for x in (first, second)]
    g = torch.sigmoid(last[0] @ w[:5] + last[1] @ w[5:] + b).unsqueeze(dim)
    torch.testing.assert_close(found, u + g * first + (1 - g) * second)


def test_stochastic_depth_follows_the_schedule_over_the_whole_network():
    model = cifar_resnet(56, "lm", survival=0.8)
    survival = [p for stage in (model.stage1, model.stage2, model.stage3) for p in stage.field.survival]
    assert len(survival) == 27
    assert survival == pytest.approx([1 - (n + 1) / 27 * 0.2 for n in range(27)])
    assert odenets.count_evaluations(model) == 27


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: cifar_resnext(28), FieldError, "9n"),
        (lambda: imagenet_resnet(34), FieldError, "expected one of"),
        (lambda: shake_shake(27), FieldError, "6n"),
        (lambda: hamiltonian_net(14, "euler"), FieldError, "partitioned"),
        (lambda: cifar_resnet(14, survival=0.0), FieldError, "p_L"),
        (lambda: odenets.set_gradient(cifar_resnet(14), "reversible"), SchemeError, "mccallum_foster"),
    ],
)
def test_bad_input(build, error, message):
    with pytest.raises(error, match=message):
        build()


def fractal_by_hand(columns, modules, u, theta, join):
    """f_1 = u + theta F(u); f_{c+1} = join (u + theta F(u)) + (1 - join) f_c(f_c(u)), in the order of evaluation."""
    short = u + theta * next(modules)(u)
    if columns == 1:
        return short
    deep = fractal_by_hand(columns - 1, modules, u, theta / 2, join)
    return join * short + (1 - join) * fractal_by_hand(columns - 1, modules, deep, theta / 2, join)


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("columns", [1, 2, 3, 4])
def test_fractalnet_of_any_depth(columns, learned):
    layers = [residuals(2**columns - 1, seed=seed) for seed in (0, 1)]
    scheme = fractal(columns, learned)
    net = odenets.ODENet(layers, scheme, h=0.7)
    join = 0.3 if learned else 0.5
    for p in net.coefficients.parameters():
        torch.nn.init.constant_(p, join)
    x = torch.randn(3, 5, dtype=torch.float64)
    u = x
    for layer in layers:
        u = fractal_by_hand(columns, iter(layer), u, 0.7, join)
    torch.testing.assert_close(net(x), u)
    assert scheme.order == 1
    assert len(scheme.symbols) == (columns - 1 if learned else 0)


def test_an_implicit_network_trains():
    torch.manual_seed(0)
    model = cifar_resnet(8, "backward_euler", h=0.1)
    x = torch.randn(4, 3, 32, 32)
    model(x).square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    (report,) = [report for net in model.modules() if isinstance(net, odenets.ODENet) for _, report in net.reports]
    assert report.converged.all()
