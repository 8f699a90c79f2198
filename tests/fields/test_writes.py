"""A block that comes to write into its input after the first pass, where torch counts no writes: it gets a copy."""

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call, vmap

import odenets


def block(inplace=False):
    return nn.Sequential(nn.ReLU(inplace), nn.Linear(3, 3), nn.Tanh())


def another(layers):
    layers[1] = block(inplace=True)


def another_part(layers):
    layers[1][0] = nn.ReLU(inplace=True)


def another_flag(layers):
    layers[1][0].inplace = True


def a_hook(layers):
    layers[1].register_forward_pre_hook(rectify)


def rectify(module, given):
    given[0].relu_()


def another_class(layers):
    layers[1].__class__ = Rectified


class Rectified(nn.Sequential):
    def forward(self, x):
        return super().forward(x.relu_())


def compiled(net, x):
    torch._dynamo.reset()
    return torch.compile(net, backend="eager", fullgraph=True)(x)


def in_inference(net, x):
    with torch.inference_mode():
        return net(x.clone()).clone()


def mapped_weights(net, x):
    weights = {name: p.detach().expand(2, *p.shape) for name, p in net.named_parameters()}
    return vmap(lambda held: functional_call(net, held, x))(weights)[1]


WAYS = [compiled, in_inference, lambda net, x: vmap(net)(x), mapped_weights]


@pytest.mark.parametrize("change", [another, another_part, another_flag, a_hook, another_class])
@pytest.mark.parametrize("way", WAYS, ids=["compile", "inference_mode", "vmap", "vmap of weights"])
@pytest.mark.parametrize("scheme", ["euler", "heun"])
def test_a_layer_that_comes_to_write(scheme, way, change):
    net, x = odenets.ODENet([block() for _ in range(3)], scheme), torch.randn(4, 3)
    net(x)
    change(net.field.layers)
    pure = copy.deepcopy(net.field.layers)
    pure[1][0].inplace = False
    pure[1]._forward_pre_hooks.clear()
    pure[1].__class__ = nn.Sequential
    right = odenets.ODENet(pure, scheme)(x)
    before = x.clone()
    torch.testing.assert_close(way(net, x), right)
    assert torch.equal(x, before)


@pytest.mark.parametrize("change", [another_part, another_flag, a_hook, another_class])
def test_a_layer_that_comes_to_write_into_a_leaf_that_requires_a_gradient(change):
    """torch itself would refuse it, at each call."""
    net, x = odenets.ODENet([block() for _ in range(2)], "euler"), torch.randn(4, 3, requires_grad=True)
    net(x)
    change([None, net.field.layers[0]])
    linears, u = [layer[1] for layer in net.field.layers], x
    for linear in linears:
        u = u + torch.tanh(linear(torch.relu(u)))
    (expected,) = torch.autograd.grad(u.sum(), x)
    for _ in range(2):
        found = net(x)
        torch.testing.assert_close(found, u)
        torch.testing.assert_close(torch.autograd.grad(found.sum(), x)[0], expected)


@pytest.mark.parametrize("way", WAYS[2:], ids=["vmap", "vmap of weights"])
def test_writes_that_a_first_pass_cannot_count(way):
    net, x = odenets.ODENet([block(inplace=True) for _ in range(3)], "heun"), torch.randn(4, 3)
    first = way(net, x.clone())
    torch.testing.assert_close(way(net, x.clone()), first)
    torch.testing.assert_close(net(x), first)


class Caches(nn.Module):
    def forward(self, x):
        self.cache = x
        return torch.tanh(x)


def test_a_block_that_is_left_alone_gets_no_copy():
    """From the second pass on, where torch counts writes."""
    net, x = odenets.ODENet([Caches(), nn.Tanh()], "euler"), torch.randn(4, 3)
    net(x)
    assert net.field.layers[0].cache is not x
    net(x)
    assert net.field.layers[0].cache is x
