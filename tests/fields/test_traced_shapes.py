"""Shapes of a trace, whose numbers may be symbols, are none of those that a network remembers between its passes."""

import pickle

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import ShapeEnv

import odenets


def decay(t, x):
    return -x * t


@pytest.fixture(params=["layers", "f(t, x)"])
def net(request):
    torch.manual_seed(0)
    of = [nn.Linear(3, 3) for _ in range(3)] if request.param == "layers" else odenets.TimeField(decay, 0, 1, 3)
    return odenets.ODENet(of, "heun")


def test_traced_twice_and_pickled(net):
    x = torch.randn(2, 3)
    for _ in range(3):
        graph = make_fx(net, tracing_mode="symbolic", _allow_non_fake_inputs=True)(x)
        torch.testing.assert_close(graph(x), net(x))
        graph = make_fx(net, tracing_mode="symbolic", _allow_non_fake_inputs=True)(x)
    copy = pickle.loads(pickle.dumps(net))
    torch.testing.assert_close(copy(x), graph(x))


def test_a_number_of_rows_that_only_data_tell(net):
    for _ in range(2):
        net(torch.randn(2, 3))
    mode = FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True)
    ones = mode.from_tensor(torch.ones(4))
    with mode:
        y = net(torch.nonzero(ones).float().expand(-1, 3))
    assert y.shape[1] == 3
