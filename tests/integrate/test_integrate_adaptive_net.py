"""AdaptiveODENet: solve as a module, with the parameters of the ODENet of fixed steps."""

import copy
import pickle

import pytest
import torch
from torch import nn

from odenets import (
    AdaptiveODENet,
    FieldError,
    IntegrationError,
    ODENet,
    SchemeError,
    StepControl,
    TimeField,
    analysis,
    mccallum_foster,
    schemes,
    solve,
)


class Own(nn.Module):
    def __init__(self, *more):
        super().__init__()
        torch.manual_seed(0)
        self.inner = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), *more, nn.Linear(8, 2)).double()

    def forward(self, t, u):
        return self.inner(torch.cat([u, t.expand(len(u), 1).to(u)], 1))


X = torch.linspace(-1, 1, 10, dtype=torch.float64).reshape(5, 2)
TIGHT = {"rtol": 1e-9, "atol": 1e-9}


@pytest.mark.parametrize("scheme", ["dopri5", "tsit5", "dop853"])
def test_it_is_solve_and_the_limit_of_fixed_steps(scheme):
    f = Own()
    net = AdaptiveODENet(TimeField(f, 0, 1), scheme, **TIGHT)
    assert net.stats is None
    y = net(X)
    found = solve(f, X, (0, 1), scheme, **TIGHT)
    assert torch.equal(y, found.y[-1])
    assert net.stats == found.stats
    fixed = ODENet(TimeField(f, 0, 1, 40), "rk4")
    torch.testing.assert_close(y, fixed(X), rtol=1e-6, atol=1e-6)
    ours, theirs = (torch.autograd.grad(out.cos().sum(), list(f.parameters())) for out in (y, fixed(X)))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)


# torch.compile looks at the .grad of what it is given.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
def test_a_module_like_others():
    net = AdaptiveODENet(TimeField(Own(), 0, 1), rtol=1e-5, atol=1e-7)
    fixed = ODENet(TimeField(Own(), 0, 1, 4), "dopri5")
    assert net.state_dict().keys() == fixed.state_dict().keys()
    nn.init.normal_(fixed.field.f.inner[0].weight)
    net.load_state_dict(fixed.state_dict())
    for again in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert torch.equal(again(X), net(X))
        assert again.field.f is not net.field.f
    single = copy.deepcopy(net).float()
    assert single(X.float()).dtype == torch.float32
    assert single.double()(X).dtype == torch.float64
    assert repr(net).startswith(
        "AdaptiveODENet(\n  scheme=dopri5, rtol=1e-05, atol=1e-07\n  (field): TimeField(\n    t0=0.0"
    )
    compiled = AdaptiveODENet(TimeField(torch.compile(net.field.f, backend="eager"), 0, 1), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(compiled(X), net(X))
    trained = torch.optim.SGD(net.parameters(), 0.05)
    losses = []
    for _ in range(5):
        loss = net(X).square().sum()
        trained.zero_grad()
        loss.backward()
        trained.step()
        losses.append(loss.item())
    assert losses == sorted(losses, reverse=True)


def test_states_samples_and_learned_times():
    decay = lambda t, u: {"x": -u["x"] * t}  # noqa: E731
    net = AdaptiveODENet(TimeField(decay, 0, 2), **TIGHT)
    torch.testing.assert_close(net({"x": X})["x"], X * torch.exp(torch.tensor(-2.0)))
    pair = AdaptiveODENet(TimeField(lambda t, u: (u[1], -u[0]), 0, 1), **TIGHT)((X, 0 * X))
    torch.testing.assert_close(pair[0], X * torch.cos(torch.ones(())), rtol=1e-7, atol=1e-7)
    own = AdaptiveODENet(TimeField(Own(), 0, 1), per_sample=True, **TIGHT)
    torch.testing.assert_close(own(X), AdaptiveODENet(TimeField(Own(), 0, 1), **TIGHT)(X), rtol=1e-7, atol=1e-7)
    assert own.stats.accepted.shape == (5,)
    stop = nn.Parameter(torch.tensor(0.7, dtype=torch.float64))
    net = AdaptiveODENet(TimeField(lambda t, u: -u, 0, stop), **TIGHT)
    (slope,) = torch.autograd.grad(net(X).sum(), list(net.parameters()))
    torch.testing.assert_close(slope, -(X * torch.exp(-stop.detach())).sum())


def test_what_is_refused():
    field = TimeField(Own(), 0, 1)
    with pytest.raises(FieldError, match=r"got 4 steps, expected TimeField\(f, t0, t1\) without steps"):
        AdaptiveODENet(TimeField(Own(), 0, 1, 4))
    with pytest.raises(FieldError, match=r"got Own\("):
        AdaptiveODENet(Own())
    with pytest.raises(FieldError, match=r"got no steps for a network of fixed steps.*odenets.AdaptiveODENet"):
        ODENet(field, "dopri5")
    with pytest.raises(SchemeError, match="rk4: got a scheme that has no step size control"):
        AdaptiveODENet(field, "rk4")
    net = AdaptiveODENet(field)
    with pytest.raises(FieldError, match=r"gradient: got 'adjoint'.*fixed steps have all others in ODENet"):
        net.gradient = "adjoint"
    with pytest.raises(SchemeError, match=r"got dopri5, whose step cannot be done and undone explicitly"):
        net.gradient = "reversible"
    with pytest.raises(FieldError, match=r"got 1 function\(s\) with ark436, expected a tuple of 2"):
        AdaptiveODENet(field, "ark436")
    with pytest.raises(FieldError, match="without any ODENet"):
        analysis.diagnose(net, X)
    with pytest.raises(IntegrationError, match="max_steps = 2 are taken"):
        AdaptiveODENet(field, max_steps=2, control=StepControl(max_step=0.1))(X)
    for module in (nn.Dropout(0.1), nn.BatchNorm1d(8)):
        net = AdaptiveODENet(TimeField(Own(module), 0, 1))
        with pytest.raises(FieldError, match=rf"got a {type(module).__name__} inside f in training"):
            net(X)
        assert net.eval()(X).shape == X.shape


class Forced(nn.Module):
    """W u + force."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2, bias=False).to(X)

    def forward(self, t, u, force=0.0, rate=1.0):
        return rate * self.layer(u) + force


@pytest.mark.parametrize("gradient", ["direct", "checkpoint", "reversible"])
def test_further_arguments_go_to_f(gradient):
    scheme = mccallum_foster(schemes["dopri5"]) if gradient == "reversible" else "dopri5"
    net = AdaptiveODENet(TimeField(Forced(), 0, 1), scheme, gradient=gradient, **TIGHT)
    force = torch.randn_like(X)
    leaves = [net.field.f.layer.weight]
    if gradient != "reversible":  # there, what gets a gradient is f's
        leaves.append(force.requires_grad_())
    y = net(X, force, 0.5)
    # u' = A u + b: u(1) = exp(A) u + A^-1 (exp(A) - I) b
    A = 0.5 * net.field.f.layer.weight
    grown = torch.linalg.matrix_exp(A)
    exact = X @ grown.T + force @ torch.linalg.solve(A, grown - torch.eye(2).to(X)).T
    torch.testing.assert_close(y, exact, rtol=1e-6, atol=1e-6)
    for found, right in zip(*(torch.autograd.grad(x.cos().sum(), leaves) for x in (y, exact)), strict=True):
        torch.testing.assert_close(found, right, rtol=1e-5, atol=1e-6)


def test_further_arguments_go_to_each_of_several_functions():
    f = lambda t, u, force: force - u  # noqa: E731
    net = AdaptiveODENet(TimeField((f, f), 0, 1), "kencarp4", **TIGHT)
    exact = torch.exp(torch.tensor(-2.0)) * X + (1 - torch.exp(torch.tensor(-2.0))) * 3
    torch.testing.assert_close(net(X, 3.0), exact.to(X), rtol=1e-5, atol=1e-5)


def test_further_arguments_are_not_those_of_single_samples():
    net = AdaptiveODENet(TimeField(Forced(), 0, 1), per_sample=True)
    with pytest.raises(FieldError, match="got 1 arguments of f with per_sample=True"):
        net(X, 1.0)
