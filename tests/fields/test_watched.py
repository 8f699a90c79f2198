"""Random numbers are the same at all stages of a step, whatever in a block it is that comes to draw them."""

import copy
from contextlib import contextmanager

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.overrides import TorchFunctionMode

import odenets
from odenets.fields.watched import QUIET

STEPS, STAGES = 3, 4


def drawn(seen):
    seen.append(torch.rand(()).item())
    return seen[-1]


class Draws(nn.Module):
    def __init__(self, seen):
        super().__init__()
        self.seen = seen

    def forward(self, x):
        return x + drawn(self.seen)


class Mode(TorchFunctionMode):
    def __init__(self, seen):
        super().__init__()
        self.seen = seen

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.tanh:
            drawn(self.seen)
        return func(*args, **(kwargs or {}))


@contextmanager
def forward_of(module, function):
    module.forward = function
    yield
    del module.forward


@contextmanager
def removed(handle):
    yield
    handle.remove()


@contextmanager
def parametrized(module, seen):
    parametrize.register_parametrization(module, "weight", Draws(seen))
    yield
    parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)


@contextmanager
def replaced(block, module):
    before, block[1] = block[1], module
    yield
    block[1] = before


def ways(net, seen):
    """What makes each block draw, one way after the other."""

    def hook(module, *args):
        if isinstance(module, nn.Tanh):
            drawn(seen)

    blocks = net.field.layers
    yield [replaced(block, nn.Sequential(nn.Tanh(), Draws(seen))) for block in blocks]
    yield [forward_of(block[1], lambda x: torch.tanh(x) + drawn(seen)) for block in blocks]
    yield [removed(block[1].register_forward_hook(hook)) for block in blocks]
    yield [removed(block[1].register_forward_pre_hook(hook)) for block in blocks]
    yield [parametrized(block[0], seen) for block in blocks]
    yield [removed(nn.modules.module.register_module_forward_hook(hook))]
    yield [Mode(seen)]


def test_one_draw_a_step():
    torch.manual_seed(0)
    net = odenets.ODENet([nn.Sequential(nn.Linear(3, 3), nn.Tanh()) for _ in range(STEPS)], "rk4")
    x, seen = torch.randn(2, 3), []
    plain = net(x)
    assert net.field.draws_nothing()
    other = copy.deepcopy(net)
    other.field.layers[0][1] = Draws(seen)  # before its first pass
    assert not other.field.draws_nothing()
    for contexts in ways(net, seen):
        entered = []
        for context in contexts:
            context.__enter__()
            entered.append(context)
        seen.clear()
        state = torch.get_rng_state()
        net(x)
        assert not torch.equal(state, torch.get_rng_state())
        found = list(seen)
        for context in reversed(entered):
            context.__exit__(None, None, None)
        assert len(found) == STEPS * STAGES
        steps = [found[n * STAGES : (n + 1) * STAGES] for n in range(STEPS)]
        assert all(len(set(step)) == 1 for step in steps)
        assert len({step[0] for step in steps}) == STEPS
        assert torch.equal(net(x), plain)
        assert net.field.draws_nothing()


@pytest.mark.parametrize("kind", [nn.Dropout, nn.RReLU, nn.LSTM, nn.MultiheadAttention, nn.FractionalMaxPool2d])
def test_modules_that_may_draw_are_not_taken_for_quiet(kind):
    assert kind not in QUIET
    assert {nn.Linear, nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.Sequential} <= QUIET


def test_nothing_is_asked_of_generators_where_nothing_is_drawn(monkeypatch):
    class Generator:
        def __getattr__(self, name):
            raise AssertionError(f"got a question for {name}, expected none")

    net, x = odenets.ODENet([nn.Sequential(nn.Linear(3, 3), nn.Tanh()) for _ in range(STEPS)], "rk4"), torch.randn(2, 3)
    right = net(x)
    monkeypatch.setattr(torch, "default_generator", Generator())
    assert torch.equal(net(x), right)
    net.field.layers[0][1] = nn.Dropout(0.5)
    with pytest.raises(AssertionError, match="get_state"):
        net(x)
