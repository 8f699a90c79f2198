"""What is looked up once for a network's steps: it is printed, and looked up again when anything of it has changed."""

import copy
import pickle
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

import odenets


def blocks(layers=4):
    torch.manual_seed(0)
    return [nn.Sequential(nn.Linear(3, 3), nn.Tanh()) for _ in range(layers)]


def by_hand(net, x):
    """Euler's or Kutta's steps over the blocks that the network has now."""
    for f in net.field.layers:
        if net.scheme.name == "euler":
            x = x + f(x)
        else:
            k1 = f(x)
            k2 = f(torch.add(x, k1, alpha=1 / 2))
            k3 = f(torch.add(x, k2, alpha=1 / 2))
            k4 = f(x + k3)
            for k, weight in ((k4, 1 / 6), (k3, 1 / 3), (k2, 1 / 3), (k1, 1 / 6)):
                x = torch.add(x, k, alpha=weight)
    return x


@pytest.fixture(params=["euler", "rk4"])
def run(request):
    """A network that has run three times, as most of what is kept is kept from the second pass on."""
    net, x = odenets.ODENet(blocks(), request.param), torch.randn(5, 3)
    for _ in range(3):
        net(x)
    return net, x


class Twice(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return 2 * self.inner(x)


def test_printed():
    net = odenets.ODENet(blocks(), "ab2", h=0.5)
    assert str(net.plan) == (
        "# step 0: ab2 started by euler, h = 0.5\n"
        "def step(function, state, learned, solver=None):\n"
        "    y0 = state[0]\n"
        "    f2 = function(e2, y0)\n"
        "    y3 = add(y0, f2, alpha=0.5)\n"
        "    return y3, f2\n\n"
        "# steps 1 to 3: ab2, h = 0.5\n"
        "def step(function, state, learned, solver=None):\n"
        "    y0 = state[0]\n"
        "    y1 = state[1]\n"
        "    f2 = function(e2, y0)\n"
        "    y3 = add(y0, f2, alpha=0.75)\n"
        "    y3 = add_to(y3, (y1,), (-0.25,))\n"
        "    return y3, f2"
    )
    with pytest.raises(odenets.FieldError, match=r"ODENet\.plan"):
        net.plan = ()
    net.h = 0.25
    assert "alpha=0.375" in str(net.plan)


def test_blocks_and_what_is_in_them(run):
    net, x = run
    net.field.layers[2] = nn.Linear(3, 3)
    assert torch.equal(net(x), by_hand(net, x))
    net.field.layers[1][1] = nn.Sigmoid()
    assert torch.equal(net(x), by_hand(net, x))
    net.field.layers[1][0].weight = nn.Parameter(torch.ones(3, 3))
    assert torch.equal(net(x), by_hand(net, x))
    net.field.layers._modules["0"] = Twice(net.field.layers[0])  # as tools that wrap modules do
    assert torch.equal(net(x), by_hand(net, x))


@pytest.mark.parametrize("same", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_copies_run_their_own_blocks(run, same):
    net, x = run
    other = same(net)
    with torch.no_grad():
        for p in net.parameters():
            p.zero_()
    assert torch.equal(other(x), by_hand(other, x))
    assert not torch.equal(other(x), net(x))


def test_patched_forwards(run):
    net, x = run
    before, block = net(x), net.field.layers[0]
    block.forward = torch.zeros_like
    assert torch.equal(net(x), by_hand(net, x))
    del block.forward
    net.field.forward = lambda n, noise, what, x: torch.zeros_like(x)
    assert torch.equal(net(x), x)
    del net.field.forward
    net.field.evaluate = lambda n, what, x, noise: torch.ones_like(x)
    torch.testing.assert_close(net(x), x + len(net.field.layers))
    del net.field.evaluate
    assert torch.equal(net(x), before)


def test_hooks(run):
    net, x = run
    calls = []
    one = net.field.register_forward_hook(lambda module, given, value: calls.append("field"))
    two = net.field.layers[1].register_forward_hook(lambda module, given, value: 2 * value)
    assert torch.equal(net(x), by_hand(net, x))
    assert len(calls) == net.evaluations
    one.remove()
    two.remove()
    every = nn.modules.module.register_module_forward_hook(lambda module, given, value: calls.append(type(module)))
    net(x)
    every.remove()
    assert calls.count(odenets.fields.Layers) == net.evaluations
    assert torch.equal(net(x), by_hand(net, x))


def test_a_layer_that_comes_to_write_into_its_input(run):
    net, x = run
    net.field.layers[3] = nn.ReLU(inplace=True)
    with pytest.raises(odenets.FieldError, match="layer 3 wrote into its input"):
        net(x)
    assert torch.equal(net(x), by_hand(odenets.ODENet([*net.field.layers[:3], nn.ReLU()], net.scheme), x))


def test_values_that_come_to_be_none_and_shapes_that_come_to_differ(run):
    net, x = run
    net.field.layers[3] = nn.Linear(3, 2)
    with pytest.raises(odenets.FieldError, match=r"layer 3: got an output of shape \(5, 2\)"):
        net(x)
    net.field.layers[3] = nn.LSTM(3, 3)
    with pytest.raises(odenets.FieldError, match="layer 3: got an output of type tuple"):
        net(x)


def test_modes_of_torch(run):
    net, x = run
    right = net(x)
    with torch.inference_mode():
        assert torch.equal(net(x), right)
        assert torch.equal(net(x.clone()), right)
    with torch.no_grad():
        assert torch.equal(net(x), right)
    kept = {name: p.detach().clone() for name, p in net.named_parameters()}
    zero = {name: torch.zeros_like(p) for name, p in kept.items()}
    assert torch.equal(torch.func.functional_call(net, zero, x), x)
    assert torch.equal(net(x), right)
    assert torch.equal(net.double()(x.double()).float(), right) or torch.allclose(net(x.double()).float(), right)


def test_scripted_blocks(run):
    net, x = run
    right = net(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for n in range(4):
            net.field.layers[n] = torch.jit.trace(net.field.layers[n], x)
    for _ in range(3):
        assert torch.equal(net(x), right)


def test_an_input_elsewhere_is_refused_whatever_is_replaced(run):
    net, x = run
    net.field.layers[0] = nn.Tanh()
    assert torch.equal(net(x), by_hand(net, x))
    with pytest.raises(odenets.FieldError, match="got a tensor on meta, expected cpu"):
        net(x.to("meta"))
    net.to("meta")
    with pytest.raises(odenets.FieldError, match="got a tensor on cpu, expected meta"):
        net(x)
    assert net(x.to("meta")).is_meta


def test_learned_coefficients():
    net, x = odenets.ODENet(blocks(), "lm"), torch.randn(5, 3)
    for _ in range(3):
        net(x)

    def loop(x):
        before, x = x, x + net.field.layers[0](x)
        for n in (1, 2, 3):
            before, x = x, torch.lerp(x, before, net.coefficients_at(n)["k"]) + net.field.layers[n](x)
        return x

    net.coefficients.k_2 = nn.Parameter(torch.tensor(0.5))
    assert torch.equal(net(x), loop(x))
    given = {f"coefficients.k_{n}": torch.tensor(0.1 * n) for n in (1, 2, 3)}
    other = torch.func.functional_call(net, given, x)
    assert torch.equal(net(x), loop(x))
    with torch.no_grad():
        for n in (1, 2, 3):
            net.coefficients_at(n)["k"].fill_(0.1 * n)
    assert torch.equal(net(x), other)

    class Half(nn.Module):
        def forward(self, k):
            return k / 2

    parametrize.register_parametrization(net.coefficients, "k_1", Half())
    assert net.coefficients_at(1)["k"].item() == pytest.approx(0.05)
    assert torch.equal(net(x), loop(x))
    net(x).sum().backward()
    assert net.coefficients.parametrizations.k_1.original.grad is not None


def test_functions_of_time():
    class Decay(nn.Module):
        def __init__(self, rate):
            super().__init__()
            self.rate = nn.Parameter(torch.tensor(rate))

        def forward(self, t, x):
            return -self.rate * t * x

    x, h = torch.ones(2, 3), 0.25
    net = odenets.ODENet(odenets.TimeField(Decay(2.0), 0.0, 1.0, 4), "euler")

    def loop(rate):
        y = x
        for n in range(4):
            y = torch.add(y, -rate * torch.tensor(n * h, dtype=torch.float64) * y, alpha=h)
        return y

    for _ in range(3):
        assert torch.equal(net(x), loop(net.field.f.rate))
    net.field.f.rate = nn.Parameter(torch.tensor(3.0))
    assert torch.equal(net(x), loop(3.0))
    net.field.f = Decay(4.0)
    for _ in range(3):
        assert torch.equal(net(x), loop(net.field.f.rate))
    net.field.f = lambda t, x: x[:, :2]
    with pytest.raises(odenets.FieldError, match="expected the same shape"):
        net(x)
