"""Blocks that keep something from one call for the next: what they are told, or given, is what a plain loop gives."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

import odenets

#: scheme and gradient: every way that evaluates f without a record
WAYS = [
    ("euler", "checkpoint"),
    ("rk4", "checkpoint"),
    ("leapfrog", "reversible"),
    ("reversible_heun", "reversible"),
    ("implicit_midpoint", "direct"),
    ("implicit_midpoint", "checkpoint"),
]


def input_():
    return torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def network(kind, scheme, gradient, layers=3):
    torch.manual_seed(0)
    return odenets.ODENet([kind().double() for _ in range(layers)], scheme, h=0.5, gradient=gradient)


class MadeOnce(nn.Module):
    """tanh(x W') with an effective weight W' that is made once in evaluation, as re-parametrised convolutions do."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(0.3 * torch.eye(3) + 0.1)
        self.empty()

    def train(self, mode=True):
        self.empty()
        return super().train(mode)

    def forward(self, x):
        if self.training:
            return torch.tanh(x @ torch.tanh(self.weight))
        if self.kept() is None:
            self.keep(torch.tanh(self.weight))
        return torch.tanh(x @ self.kept())

    def empty(self):
        self.made = None

    def keep(self, value):
        self.made = value

    def kept(self):
        return self.made


class InAList(MadeOnce):
    def empty(self):
        self.made = []

    def keep(self, value):
        self.made.append(value)

    def kept(self):
        return self.made[0] if self.made else None


class InABuffer(MadeOnce):
    def empty(self):
        self.register_buffer("made", None)


class InAClosure(MadeOnce):
    def empty(self):
        self.made = lambda: None

    def keep(self, value):
        self.made = lambda: value

    def kept(self):
        return self.made()


class NotDeclared(MadeOnce):
    def empty(self):
        vars(self).pop("made", None)

    def kept(self):
        return vars(self).get("made")


class ByAFlag(MadeOnce):
    def empty(self):
        self.made, self.done = torch.zeros(3, 3), False

    def keep(self, value):
        self.made, self.done = value, True

    def kept(self):
        return self.made if self.done else None


class InPart(MadeOnce):
    """W/|W| with |W| kept: the parameter is used beside what is kept of it."""

    def forward(self, x):
        if self.kept() is None:
            self.keep(self.weight.norm())
        return torch.tanh(x @ (self.weight / self.kept()))


@pytest.mark.parametrize("kind", [MadeOnce, InAList, InABuffer, InAClosure, NotDeclared, ByAFlag, InPart])
@pytest.mark.parametrize(("scheme", "gradient"), WAYS)
def test_weight_made_once(scheme, gradient, kind):
    """pytorch 586: made where nothing is recorded, its parameters had a wrong gradient, and nothing said so."""
    net = network(kind, scheme, gradient)
    if kind is not InPart:  # in training nothing is kept
        torch.autograd.grad(net(input_()).sum(), net.field.layers[0].weight)
    with pytest.raises(odenets.FieldError, match=r"layer \d(: got one that writes| keeps what it made of its param)"):
        net.eval()(input_())


class RunningMean(nn.Module):
    """x - its batch's mean in training, - a running mean in evaluation, as textbooks write BatchNorm by hand."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.register_buffer("mean", torch.zeros(3))

    def forward(self, x):
        if not self.training:
            return self.linear(x - self.mean)
        self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
        return self.linear(x - x.mean(0))


@pytest.mark.parametrize(("scheme", "gradient"), WAYS)
def test_buffers_that_are_assigned(scheme, gradient):
    """memcnn 12: what f assigns was lost where its tensors are put in for the call; written in place it is refused."""
    with pytest.raises(odenets.FieldError, match="or assigns it"):
        network(RunningMean, scheme, gradient)(input_())


class Noting(nn.Module):
    """tanh(W x), with its last output and its number of calls kept to be looked at."""

    def __init__(self):
        super().__init__()
        self.linear, self.last, self.calls = nn.Linear(3, 3), None, 0

    def forward(self, x):
        y = torch.tanh(self.linear(x))
        self.last, self.calls = y, self.calls + 1
        return y


@pytest.mark.parametrize(("scheme", "gradient"), [w for w in WAYS if odenets.schemes[w[0]].explicit])
def test_outputs_that_are_noted(scheme, gradient):
    """pytorch 586: of no other block is anything refused, and gradients are those of the plain record."""
    nets = [network(Noting, scheme, way) for way in ("direct", gradient)]
    for _ in range(2):
        direct, other = [torch.autograd.grad(net(input_()).square().sum(), list(net.parameters())) for net in nets]
        torch.testing.assert_close(other, direct, rtol=1e-10, atol=1e-10)
    # What is tried before the first pass does not count; what is run again in the backward pass does.
    assert nets[0].field.layers[1].calls == 2 * nets[0].visits_at(1)[0]
    assert isinstance(nets[1].field.layers[1].last, torch.Tensor)


class SetByItsFirstBatch(nn.Module):
    """W x + b where the first batch sets b, as in ActNorm (Kingma & Dhariwal 2018)."""

    def __init__(self):
        super().__init__()
        self.linear, self.shift, self.set = nn.Linear(3, 3), nn.Parameter(torch.zeros(3)), False

    def forward(self, x):
        y = self.linear(x)
        if not self.set:
            self.set = True
            with torch.no_grad():
                self.shift.copy_(-y.mean(0))
        return torch.tanh(y + self.shift)


@pytest.mark.parametrize(("scheme", "gradient"), WAYS)
def test_parameters_set_by_the_first_batch(scheme, gradient):
    """memcnn 12: a trial on copies took the flag down, and the parameters were never set. Direct first, it goes."""
    net = network(SetByItsFirstBatch, scheme, gradient)
    with pytest.raises(odenets.FieldError, match="call that sets parameters by its data"):
        net(input_())
    if not net.scheme.explicit:
        return
    net, direct = network(SetByItsFirstBatch, scheme, "direct"), network(SetByItsFirstBatch, scheme, "direct")
    net(input_())
    assert all(f.shift.abs().sum() > 0 for f in net.field.layers)
    net.gradient = gradient
    direct.load_state_dict(net.state_dict())
    for f in direct.field.layers:
        f.set = True
    a, b = [torch.autograd.grad(one(input_()).sum(), list(one.parameters())) for one in (net, direct)]
    torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8)


def weight_norm(layer):
    return parametrizations.weight_norm(layer)


def no_weight_norm(layer):
    return parametrize.remove_parametrizations(layer, "weight")


def pruned(layer):
    return prune.l1_unstructured(layer, "weight", 0.5)


def no_longer_pruned(layer):
    return prune.remove(layer, "weight")


@pytest.mark.parametrize(("scheme", "gradient"), WAYS)
def test_weights_kept_by_torch_itself(scheme, gradient):
    """pytorch 586: parametrize.cached() hands out weights made without a record; weight_norm's had the gradient 0."""
    net = network(lambda: parametrizations.weight_norm(nn.Linear(3, 3)), scheme, gradient)
    with parametrize.cached(), pytest.raises(odenets.FieldError, match=r"parametrize\.cached"):
        net(input_())
    net(input_()).sum().backward()


@pytest.mark.parametrize(
    ("first", "then"),
    [(None, weight_norm), (weight_norm, no_weight_norm), (None, pruned), (pruned, no_longer_pruned)],
    ids=["weight_norm", "no weight_norm", "pruned", "no longer pruned"],
)
@pytest.mark.parametrize(("scheme", "gradient"), WAYS)
def test_parametrizations_that_come_and_go(scheme, gradient, first, then):
    """pytorch 586: between the passes, they leave other parameters than those that the gradient is for."""
    net = network(lambda: nn.Linear(3, 3), scheme, gradient)
    layer = net.field.layers[1]
    if first is not None:
        first(layer)
    loss = net(input_()).sum()
    then(layer)
    with pytest.raises(odenets.FieldError, match="until the backward pass is over"):
        loss.backward()
    net(input_()).sum().backward()


@pytest.mark.parametrize(("scheme", "gradient"), WAYS)
def test_lazy_modules(scheme, gradient):
    """memcnn 12: without weights they are refused by name where f is run again, or has statistics for each stage."""
    with pytest.raises(odenets.FieldError, match="lazy modules without weights yet"):
        odenets.ODENet([nn.LazyLinear(3, dtype=torch.float64)], scheme, gradient=gradient)(input_())
    with pytest.raises(odenets.FieldError, match="lazy BatchNorm"):
        odenets.ODENet([nn.LazyBatchNorm1d()], "heun")
    odenets.ODENet([nn.LazyLinear(3, dtype=torch.float64)], "rk4")(input_()).sum().backward()
