"""What is set between forward and backward does not change the gradient: modes, default device and dtype, autocast."""

import gc
import warnings
import weakref

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

import odenets

#: scheme and gradient: every way that evaluates f again in a backward pass
WAYS = [
    ("rk4", "checkpoint"),
    ("leapfrog", "reversible"),
    ("implicit_midpoint", "direct"),
    ("implicit_midpoint", "checkpoint"),
]


class Block(nn.Module):
    """tanh(W x) with what ``inside`` makes of it, which may depend on anything that is set globally."""

    def __init__(self, inside=lambda x: x):
        super().__init__()
        self.linear, self.inside = nn.Linear(4, 4), inside

    def forward(self, x):
        return torch.tanh(self.inside(self.linear(x)))


def network(scheme, gradient, inside, layers=3):
    torch.manual_seed(0)
    solver = None if odenets.schemes[scheme].explicit else odenets.Anderson()
    return odenets.ODENet([Block(inside) for _ in range(layers)], scheme, h=0.3, gradient=gradient, solver=solver)


def gradient_with(net, around, between, x):
    """The gradient for x, where ``around`` holds in the forward pass, and ``between`` in the backward pass."""
    with around():
        loss = net(x).square().sum()
    with between():
        return torch.autograd.grad(loss, x)[0]


@pytest.mark.parametrize("solver", [odenets.NewtonKrylov(), odenets.Anderson()], ids=["newton", "anderson"])
@pytest.mark.parametrize("layer", [nn.BatchNorm1d, lambda n: nn.Dropout(0.5)], ids=["batch norm", "dropout"])
def test_module_mode_of_each_module(layer, solver):
    """pytorch 586 (a comment), memcnn 12: the mode is switched between forward and backward.

    Of a network in which one block was in evaluation and the others in training. Right is what no switch gives.
    """

    def gradient(switch):
        torch.manual_seed(1)
        fs = [nn.Sequential(nn.Linear(4, 8), layer(8), nn.Tanh(), nn.Linear(8, 4)).double() for _ in range(2)]
        x = torch.randn(6, 4, dtype=torch.double).requires_grad_()
        net = odenets.ODENet(fs, "implicit_midpoint", solver=solver).train()
        fs[1].eval()
        torch.manual_seed(0)
        loss = net(x).square().sum()
        if switch:
            net.eval()
            fs[1].train()
        found = torch.autograd.grad(loss, x)[0]
        assert [f.training for f in fs] == ([False, True] if switch else [True, False])
        return found

    torch.testing.assert_close(gradient(True), gradient(False), rtol=1e-12, atol=1e-12)


def test_module_mode_of_an_adjoint():
    """Pytorch 586, memcnn 12: dropout that was off in the forward pass is off in the adjoint equation."""
    torch.manual_seed(0)
    f = Autonomous(nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Tanh()).double())
    net = odenets.ODENet(odenets.TimeField(f, 0.0, 1.0, 4), "rk4", gradient="adjoint").eval()
    x = torch.randn(3, 4, dtype=torch.double).requires_grad_()
    right = torch.autograd.grad(net(x).square().sum(), x)[0]
    loss = net(x).square().sum()
    net.train()
    torch.testing.assert_close(torch.autograd.grad(loss, x)[0], right, rtol=0, atol=0)


@pytest.mark.parametrize(("scheme", "how"), [*WAYS[:2]])
def test_default_device(scheme, how):
    """Pytorch 124788: a block makes a tensor, by torch.linspace, on a default device that holds in forward alone."""
    seen = []

    def inside(x):
        seen.append(torch.linspace(0, 1, 4).device.type)
        return x

    net, x = network(scheme, how, inside), torch.ones(2, 4, requires_grad=True)
    net(x).sum().backward()  # what is found out at the first call
    seen.clear()
    with torch.device("meta"):
        loss = net(x).sum()
    loss.backward()
    with torch.device("meta"):
        before = len(seen)
        net(x.detach().requires_grad_()).sum()
    assert len(seen) > before > 3
    assert set(seen) == {"meta"}
    assert torch.get_default_device() == torch.device("cpu")


@pytest.mark.parametrize("how", ["direct", "checkpoint", "reversible"])
def test_network_on_the_meta_device(how):
    """Pytorch 124788: set_default_device around everything, with a device that has no values."""
    torch.set_default_device("meta")
    try:
        net, x = network("leapfrog", how, lambda x: x + torch.linspace(0, 1, 4)), torch.randn(2, 4)
        net(x).sum().backward()
        assert net.field.layers[0].linear.weight.grad.is_meta
    finally:
        torch.set_default_device(None)


@pytest.mark.parametrize(("scheme", "how"), WAYS)
def test_default_dtype(scheme, how):
    """Pytorch 124788, of the default dtype: 1/3 is another number in float32."""

    class Default:
        def __enter__(self):
            torch.set_default_dtype(torch.float32)

        def __exit__(self, *args):
            torch.set_default_dtype(torch.float64)

    torch.set_default_dtype(torch.float64)
    try:
        net = network(scheme, how, lambda x: x + torch.ones(4).div(3).to(x.dtype))
        x = torch.ones(2, 4, requires_grad=True)
        right = gradient_with(net, Nothing, Nothing, x)
        assert torch.equal(gradient_with(net, Nothing, Default, x), right)
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


class Nothing:
    def __enter__(self):
        return self

    def __exit__(self, *args):
        return None


class Doubled(TorchFunctionMode):
    """torch.tanh is 2 tanh inside."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        value = func(*args, **(kwargs or {}))
        return value * 2 if func is torch.tanh else value


@pytest.mark.parametrize(("scheme", "how"), WAYS)
@pytest.mark.parametrize("where", ["forward", "backward"])
def test_function_mode(scheme, how, where):
    """Pytorch 124788, of any TorchFunctionMode: what holds in the forward pass, and nothing else, holds for f."""
    around, between = (Doubled, Nothing) if where == "forward" else (Nothing, Doubled)
    x = torch.ones(2, 4, requires_grad=True)
    # Both times where f is not evaluated again, by the same scheme; an implicit one is compared with itself.
    how_right = "direct" if odenets.schemes[scheme].explicit else how
    right = gradient_with(network(scheme, how_right, lambda x: x), around, around, x)
    found = gradient_with(network(scheme, how, lambda x: x), around, between, x)
    torch.testing.assert_close(found, right, rtol=1e-4, atol=1e-5)
    assert not torch.overrides._get_current_function_mode_stack()


class Autonomous(nn.Module):
    """f(t, x) = f(x)."""

    def __init__(self, f):
        super().__init__()
        self.f = f

    def forward(self, t, x):
        return self.f(x)


@pytest.mark.parametrize(("scheme", "how"), [*WAYS[:2], ("rk4", "adjoint")])
def test_autocast(scheme, how):
    """memcnn 12, of autocast: f is evaluated again in the precision that it had, whatever is around backward."""
    torch.manual_seed(0)
    field = odenets.TimeField(Autonomous(Block()), 0.0, 1.0, 4)
    net, x = odenets.ODENet(field, scheme, gradient=how), torch.ones(2, 4, requires_grad=True)
    half = lambda: torch.autocast("cpu", torch.bfloat16)  # noqa: E731
    assert torch.equal(gradient_with(net, Nothing, half, x), gradient_with(net, Nothing, Nothing, x))
    if how != "adjoint":  # to whose tolerance bfloat16 is no function
        assert torch.equal(gradient_with(net, half, Nothing, x), gradient_with(net, half, half, x))


class Scaled(nn.Module):
    """a tanh(x), a number that is no tensor; counts its calls, as blocks of users do."""

    def __init__(self):
        super().__init__()
        self.a, self.calls = 0.5, 0

    def forward(self, x):
        self.calls += 1
        return self.a * torch.tanh(x)


@pytest.mark.parametrize(("scheme", "gradient"), WAYS)
@pytest.mark.parametrize(
    ("place", "name", "value"),
    [(1, "eps", 0.1), (2, "p", 0.9), (3, "a", 7.0), (3, "a", None), (None, "3", nn.Identity())],
)
def test_attributes_of_modules(scheme, gradient, place, name, value):
    """Pytorch 586: other attributes than the mode that are set between forward and backward (Dropout.p), or removed."""

    def found(switch):
        torch.manual_seed(1)
        fs = [nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.3), Scaled()) for _ in range(2)]
        net = odenets.ODENet(fs, scheme, h=0.3, gradient=gradient).double()
        x = torch.randn(5, 4, dtype=torch.double).requires_grad_()
        torch.manual_seed(0)
        loss = net(x).square().sum()
        owner, calls = fs[1] if place is None else fs[1][place], fs[0][3].calls
        if switch and value is None:
            delattr(owner, name)
        elif switch:
            setattr(owner, name, value)
        result = torch.autograd.grad(loss, x)[0]
        assert fs[0][3].calls > calls
        assert not switch or getattr(owner, name, None) is value
        return result

    torch.testing.assert_close(found(True), found(False), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("gradient", ["checkpoint", "reversible"])
def test_statistics_of_stages_in_another_mode_than_their_block(gradient, training):
    """Pytorch 586: the block's own mode counts, as in direct, where it is the block that is called."""

    def found(gradient):
        torch.manual_seed(0)
        fs = [nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Tanh()) for _ in range(2)]
        net = odenets.ODENet(fs, "reversible_heun", h=0.3, gradient=gradient).double().train(training)
        net.field.statistics.train(not training)
        x = torch.randn(5, 4, dtype=torch.double).requires_grad_()
        return torch.autograd.grad(net(x).square().sum(), x)[0], net.state_dict()

    (one, kept), (other, also) = found("direct"), found(gradient)
    torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(kept, also, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("scheme", "gradient"), [("rk4", "checkpoint"), ("leapfrog", "reversible")])
def test_what_a_hook_counts_in_the_backward_pass_stays(scheme, gradient):
    """Of the passes that go through a layer: forward, and again where it is run again in the backward pass."""

    def counting():
        layer = nn.Linear(3, 3)
        layer.count = 0

        def count(module, given, found):
            module.count += 1

        layer.register_forward_hook(count)
        return layer

    net = odenets.ODENet([counting() for _ in range(4)], scheme, gradient=gradient)
    output = net(torch.randn(2, 3))
    forward = [layer.count for layer in net.field.layers]
    output.sum().backward()
    assert all(layer.count > before for layer, before in zip(net.field.layers, forward, strict=True))


@pytest.mark.parametrize("gradient", ["checkpoint", "reversible"])
def test_scripted_layers(gradient):
    torch.manual_seed(0)
    layers = [nn.Sequential(nn.Linear(3, 3), nn.Tanh()) for _ in range(3)]
    example, found = torch.randn(2, 3), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        scripted = [torch.jit.trace(layer, example) for layer in layers]
    for blocks in (layers, scripted):
        x = example.clone().requires_grad_()
        odenets.ODENet(blocks, "leapfrog", gradient=gradient)(x).square().sum().backward()
        found.append(x.grad)
    torch.testing.assert_close(*found)


@pytest.mark.parametrize(("scheme", "gradient"), [("rk4", "checkpoint"), ("leapfrog", "reversible")])
def test_an_output_that_a_layer_notes_keeps_no_earlier_pass_alive(scheme, gradient):
    net, seen = odenets.ODENet([nn.Linear(3, 3) for _ in range(3)], scheme, gradient=gradient), []
    for _ in range(4):
        net.field.layers[0].note = net(torch.randn(2, 3))
        seen.append(weakref.ref(net.field.layers[0].note))
    gc.collect()
    assert [one() is None for one in seen] == [True, True, True, False]


def test_the_same_module_may_be_assigned_again_and_an_attribute_of_a_list_go():
    net = odenets.ODENet([[nn.Linear(3, 3), nn.Linear(3, 3)] for _ in range(2)], "mpoly2")
    layers = net.field.layers
    layers[0] = layers[0]
    layers.add_module("1", layers[1])
    net.field = net.field
    net.field.layers = layers
    layers.qconfig = None
    del layers.qconfig
    with pytest.raises(odenets.FieldError, match="another number of modules"):
        del layers[0]
    for name in ("extra", "-1"):  # a module that would be shown and counted, and never run
        with pytest.raises(odenets.FieldError, match="another number of modules"):
            setattr(layers, name, nn.Linear(3, 3))
    assert len(layers) == 2
