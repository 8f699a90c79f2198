"""The continuous adjoint: right for the equation, approximate for the network, and refused where it means nothing."""

import math

import pytest
import torch
import torchdiffeq
from torch import nn

from odenets import Adjoint, AdjointError, FieldError, ODENet, TimeField, schemes


class F(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.inner, self.outer = nn.Linear(3, 3, dtype=torch.float64), nn.Linear(3, 3, dtype=torch.float64)

    def forward(self, t, u):
        return torch.tanh(self.inner(u)) * torch.cos(t) + 0.3 * self.outer(u)


X = torch.linspace(-1, 1, 12, dtype=torch.float64).view(4, 3)


def gradients(net):
    x = X.clone().requires_grad_()
    return torch.autograd.grad(net(x).square().sum(), (x, *net.parameters()))


def difference(found, expected):
    return max(((a - b).norm() / b.norm()).item() for a, b in zip(found, expected, strict=True))


def test_equals_torchdiffeq_where_the_discretisation_is_exact():
    f = F()

    class Reference(nn.Module):
        def __init__(self):
            super().__init__()
            self.f = f

        def forward(self, x):
            times = torch.tensor([0.0, 1.0], dtype=torch.float64)
            return torchdiffeq.odeint_adjoint(self.f, x, times, rtol=1e-11, atol=1e-11)[-1]

    net = ODENet(TimeField(f, 0.0, 1.0, 50), "rk38", gradient="adjoint")
    assert difference(gradients(net), gradients(Reference())) < 1e-7


@pytest.mark.parametrize("name", ["euler", "ab2", "rk4", "backward_euler"])
def test_differs_from_the_networks_gradient_by_the_discretisation_error(name):
    def error(steps):
        nets = [ODENet(TimeField(F(), 0.0, 1.0, steps), name, gradient=mode) for mode in ("adjoint", "direct")]
        assert torch.equal(nets[0](X), nets[1](X))
        return difference(*(gradients(net) for net in nets))

    coarse, fine = error(8), error(16)
    assert math.log2(coarse / fine) == pytest.approx(schemes[name].order, abs=0.3)
    if name == "euler":
        assert error(4) > 0.05  # at the depth of a network it is not the gradient


def test_memory_does_not_depend_on_the_steps():
    def stored(steps):
        sizes = []
        net = ODENet(TimeField(F(), 0.0, 1.0, steps), "rk4", gradient="adjoint")
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
            net(X)
        return sum(sizes)

    assert stored(5) == stored(50)


def test_fixed_steps_and_frozen_parameters():
    f = F()
    f.inner.weight.requires_grad_(False)
    options = Adjoint(method="rk4", options={"step_size": 0.05})
    net = ODENet(TimeField(f, 0.0, 1.0, 20), "rk4", gradient=options)
    oracle = ODENet(TimeField(f, 0.0, 1.0, 20), "rk4")
    x = X.clone().requires_grad_()
    own = [p for p in net.parameters() if p.requires_grad]
    assert len(own) == 3
    a, b = (torch.autograd.grad(one(x).square().sum(), (x, *own)) for one in (net, oracle))
    assert difference(a, b) < 1e-5
    net(X).sum().backward()
    assert f.inner.weight.grad is None


def test_refused_by_name():
    noisy = F()
    noisy.outer = nn.Dropout(0.5)
    with pytest.raises(FieldError, match="Dropout in training"):
        ODENet(TimeField(noisy, 0.0, 1.0, 4), "rk4", gradient="adjoint")(X)
    weight = torch.randn(3, 3, dtype=torch.float64, requires_grad=True)
    with pytest.raises(FieldError, match="neither its parameter nor its buffer"):
        ODENet(TimeField(lambda t, u: u @ weight, 0.0, 1.0, 4), "rk4", gradient="adjoint")(X)
    net = ODENet(TimeField(F(), 0.0, 1.0, 4), "rk4", gradient="adjoint")
    x = X.clone().requires_grad_()
    (g,) = torch.autograd.grad(net(x).square().sum(), x, create_graph=True)
    with pytest.raises(AdjointError, match="got a derivative of its gradient"):
        g.sum().backward()
    with pytest.raises(Exception, match="cannot be traced"):
        torch.compile(net, fullgraph=True, backend="eager")(X)


class Scaled(nn.Module):
    def __init__(self, factor, inner):
        super().__init__()
        self.factor, self.inner = factor, inner

    def forward(self, t, u):
        return self.factor * torch.tanh(self.inner(u))


def test_a_module_that_two_functions_share_keeps_its_parameters():
    torch.manual_seed(0)
    shared = nn.Linear(3, 3, dtype=torch.float64)
    tied = nn.Linear(3, 3, dtype=torch.float64)
    tied.weight = shared.weight  # of two modules one parameter
    functions = Scaled(1.0, shared), Scaled(-3.0, shared), Scaled(0.5, tied)
    net = ODENet(TimeField(functions, 0.0, 1.0, 20), "rk4", gradient=Adjoint(rtol=1e-8, atol=1e-8))
    before = list(net.parameters())
    found = gradients(net)
    assert all(p is q and isinstance(q, nn.Parameter) for p, q in zip(before, net.parameters(), strict=True))
    net.gradient = "direct"
    for a, b in zip(found, gradients(net), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
