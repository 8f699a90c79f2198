"""A block that comes to write into its input after the first pass, where torch counts no writes: it gets a copy."""

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call, vmap

import odenets
from odenets.fields.field import COPIED


def block(inplace=False):
    return nn.Sequential(nn.ReLU(inplace), nn.Linear(3, 3), nn.Tanh())


def another(layers):
    layers[1] = block(inplace=True)


def another_part(layers):
    layers[1][0] = nn.ReLU(inplace=True)


def another_flag(layers):
    layers[1][0].inplace = True


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


@pytest.mark.parametrize("change", [another, another_part, another_flag])
@pytest.mark.parametrize("way", WAYS, ids=["compile", "inference_mode", "vmap", "vmap of weights"])
@pytest.mark.parametrize(("scheme", "samples"), [("euler", 4), ("heun", 4), ("heun", COPIED)])
def test_a_layer_that_comes_to_write(scheme, samples, way, change):
    net, x = odenets.ODENet([block() for _ in range(3)], scheme), torch.randn(samples, 3)
    net(x)
    change(net.field.layers)
    pure = copy.deepcopy(net.field.layers)
    pure[1][0].inplace = False
    right = odenets.ODENet(pure, scheme)(x)
    before = x.clone()
    torch.testing.assert_close(way(net, x), right)
    assert torch.equal(x, before)


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
    """Nor where torch counts no writes, the state is large and the block keeps tensors of its own."""
    net, x = odenets.ODENet([Caches(), nn.Tanh()], "euler"), torch.randn(COPIED, 3)
    net(x)
    assert net.field.layers[0].cache is not x
    net(x)
    assert net.field.layers[0].cache is x
    with torch.inference_mode():
        net(x)
    assert net.field.layers[0].cache is x
