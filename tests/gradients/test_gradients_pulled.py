"""Backward passes that are called where their forward pass was not: in inference mode, and after a transformation."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, jvp, vjp

import odenets

#: scheme and way to gradients: every autograd.Function of the package
WAYS = [
    ("lm", "direct"),
    ("lm", "checkpoint"),
    ("lm", "reversible"),
    ("implicit_midpoint", "direct"),
    ("implicit_midpoint", "checkpoint"),
]


def network(scheme, gradient):
    torch.manual_seed(0)
    blocks = [nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).double() for _ in range(3)]
    solver = None if odenets.schemes[scheme].explicit else odenets.Anderson()
    return odenets.ODENet(blocks, scheme, h=0.3, gradient=gradient, solver=solver)


def plain(scheme):
    """The same function by autograd's record alone; of an implicit scheme by the implicit function theorem."""
    return network(scheme, "direct")


def state():
    return torch.linspace(-1, 1, 6, dtype=torch.double).reshape(2, 3)


@pytest.mark.parametrize(("scheme", "how"), WAYS)
@pytest.mark.parametrize("surrounding", [torch.no_grad, torch.inference_mode])
def test_backward_pass_where_nothing_is_recorded(scheme, how, surrounding):
    """A plain loop of torch gives its gradient there too."""

    def gradient(around):
        net, x = network(scheme, how), state().requires_grad_()
        loss = net(x).square().sum()
        with around():
            return torch.autograd.grad(loss, [x, *net.parameters()])

    torch.testing.assert_close(gradient(surrounding), gradient(torch.enable_grad), rtol=0, atol=0)


def test_adjoint_where_nothing_is_recorded(adjoint):
    """The adjoint equation is solved in inference mode as elsewhere."""
    inputs = x, *_ = state().requires_grad_(), *adjoint.parameters()
    right = torch.autograd.grad(adjoint(x).sum(), inputs)
    loss = adjoint(x).sum()
    with torch.inference_mode():
        found = torch.autograd.grad(loss, inputs)
    torch.testing.assert_close(found, right, rtol=0, atol=0)


class F(nn.Module):
    def __init__(self, f):
        super().__init__()
        self.f = f

    def forward(self, t, x):
        return self.f(x)


@pytest.mark.parametrize(("scheme", "how"), WAYS)
def test_pull_inside_another_transformation(scheme, how):
    """Pulls of torch.func.vjp, called after it: in a grad by the cotangent, in a jvp, in a grad around both."""

    def found(net):
        x, bar = state(), torch.ones(2, 3, dtype=torch.double)
        weights = {name: value.detach() for name, value in net.named_parameters()}
        _, pull = vjp(lambda p, y: functional_call(net, p, (y,)), weights, x)
        by_cotangent = grad(lambda c: pull(c)[1].square().sum())(bar)
        forward_over_reverse = jvp(lambda y: vjp(net, y)[1](bar)[0], (x,), (bar,))[1]
        reverse_over_reverse = grad(lambda y: vjp(net, y)[1](bar)[0].square().sum())(x)
        return by_cotangent, forward_over_reverse, reverse_over_reverse

    torch.testing.assert_close(found(network(scheme, how)), found(plain(scheme)), rtol=1e-7, atol=1e-9)


@pytest.fixture
def adjoint():
    torch.manual_seed(0)
    f = F(nn.Sequential(nn.Linear(3, 3), nn.Tanh()).double())
    return odenets.ODENet(odenets.TimeField(f, 0.0, 1.0, 4), "rk4", gradient="adjoint")


@pytest.mark.parametrize("unused", [False, True])
def test_second_derivative_of_an_adjoint_is_refused(adjoint, unused):
    """A penalty on a gradient that is linear in the output: torch's once_differentiable would drop it, silently."""
    x = state().requires_grad_()
    penalty = torch.autograd.grad(adjoint(x).sum(), x, create_graph=True)[0].square().sum()
    loss = penalty if unused else adjoint(x).square().sum() + penalty
    with pytest.raises(odenets.AdjointError, match="first derivatives only"):
        torch.autograd.grad(loss, x, allow_unused=unused)


@pytest.mark.parametrize("transform", [grad, torch.func.jacrev, torch.func.jacfwd])
def test_adjoint_under_torch_func(adjoint, transform):
    """What torchdiffeq does not take is refused by name; a pull that is called after torch.func.vjp is as autograd."""
    x = state()
    with pytest.raises(odenets.AdjointError, match="torchdiffeq does not take"):
        transform(lambda y: adjoint(y).sum())(x)
    value, pull = vjp(adjoint, x)
    y = x.clone().requires_grad_()
    right = torch.autograd.grad(adjoint(y).sum(), y)[0]
    # To its tolerance: one solves for g of the parameters besides, which counts in its step sizes.
    torch.testing.assert_close(pull(torch.ones_like(value))[0], right, rtol=1e-8, atol=1e-8)


SOLVERS = (odenets.Anderson(), odenets.NewtonKrylov(), odenets.NewtonKrylov(dense=0))


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize(
    ("scheme", "how", "solver"),
    [(*way, solver) for way in WAYS for solver in (SOLVERS if way[0] == "implicit_midpoint" else SOLVERS[:1])],
)
def test_first_call_inside_torchs_own_checkpoint(scheme, how, reentrant, solver):
    """What is found out about blocks at their first call is not among what torch.utils.checkpoint counts."""
    net, x = network(scheme, how), state().requires_grad_()
    if not net.scheme.explicit:
        net.solver = solver
    torch.utils.checkpoint.checkpoint(net, x, use_reentrant=reentrant).square().sum().backward()
    same, y = plain(scheme), state().requires_grad_()
    same(y).square().sum().backward()
    torch.testing.assert_close(x.grad, y.grad, rtol=1e-7, atol=1e-9)
    for one, other in zip(net.parameters(), same.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-7, atol=1e-9)
