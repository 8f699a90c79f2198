"""What branches do besides adding: they write, draw, and lie in memory in their own way."""

import copy
import warnings

import pytest
import torch
from loops_multistep import LOOPS as MULTISTEP
from loops_networks import LOOPS as NETWORKS
from loops_runge_kutta import LOOPS as RUNGE_KUTTA
from swap_runs import compare
from torch import nn
from torch.nn import functional as F

from odenets import swap_scheme
from odenets.net.networks_in_model import networks

LOOPS = RUNGE_KUTTA | MULTISTEP | NETWORKS
X = torch.randn(4, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


class Writing(nn.Module):
    """A branch that writes: into slices, through views, into a buffer that it makes; its sum and ELU in place."""

    def __init__(self):
        super().__init__()
        self.f = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))

    def branch(self, i, x):
        h = self.f[i](x)
        h = torch.relu(torch.cat([h[:, :2] * 2, h[:, 2:]], 1))
        return torch.cat([h[:, 4:], h[:, :4]], 1)

    def forward(self, x):
        for f in self.f:
            h = f(x)
            h[:, :2] *= 2
            h = h.relu_()
            made = torch.zeros_like(x)
            made[:, 4:] = h[:, :4]
            made[:, :4].add_(h[:, 4:])
            made += x
            x = F.elu(made, inplace=True)
        return x


@pytest.mark.parametrize("name", ["euler", "heun", "lm", "ab2"])
def test_a_branch_that_writes(name):
    torch.manual_seed(0)
    model, u, before, slope = Writing().double(), X, None, None
    swapped = swap_scheme(model, name, example=X, coefficients=0.3 if name == "lm" else None)
    for i in range(3):
        last, slope, old = slope, model.branch(i, u), u
        if name == "heun":
            u = u + (slope + model.branch(i, u + slope)) / 2
        elif name == "lm" and before is not None:
            k = networks(swapped)[0].coefficients_at(i)["k"]
            u = (1 - k) * u + k * before + slope
        elif name == "ab2" and last is not None:
            u = u + 1.5 * slope - 0.5 * last
        else:
            u = u + slope
        u, before = F.elu(u), old
    compare(swapped(X), u, swapped, model)


class Drawing(nn.Module):
    """Dropout, rand_like and bernoulli_ in one branch, behind BatchNorm."""

    def __init__(self):
        super().__init__()
        self.f = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
        self.norm = nn.ModuleList(nn.BatchNorm1d(8) for _ in range(3))

    def after(self, z):
        h = F.dropout(z, 0.3, self.training)
        h = h * torch.rand_like(h)
        return h * h.new_empty(len(h), 1).bernoulli_(0.7)

    def forward(self, x):
        for f, norm in zip(self.f, self.norm, strict=True):
            x = x + self.after(norm(f(x)))
        return x


def test_random_numbers_are_the_same_at_all_stages_and_statistics_those_of_each():
    torch.manual_seed(0)
    model = Drawing().double().train()
    swapped, u = swap_scheme(model, "heun", example=X), X
    torch.manual_seed(3)
    found = swapped(X)
    torch.manual_seed(3)
    seconds = []
    for f, norm in zip(model.f, model.norm, strict=True):
        other = copy.deepcopy(norm)  # statistics of the second stage
        state = torch.get_rng_state()
        slope = model.after(norm(f(u)))
        after = torch.get_rng_state()
        torch.set_rng_state(state)
        u = u + (slope + model.after(other(f(u + slope)))) / 2
        torch.set_rng_state(after)
        seconds.append(other.running_mean)
    torch.testing.assert_close(found, u, rtol=0, atol=1e-12)
    own = dict(swapped.named_buffers())
    for i, mean in enumerate(seconds):
        (key,) = [key for key in own if key.startswith(f"norm.{i}.odenets") and key.endswith("running_mean")]
        torch.testing.assert_close(own[key], mean)
    for name, buffer in model.named_buffers():
        torch.testing.assert_close(own[name], buffer)


class OwnGenerator(nn.Module):
    """Draws from a generator of its own."""

    def __init__(self):
        super().__init__()
        self.linear, self.generator = nn.Linear(8, 8), torch.Generator().manual_seed(5)

    def branch(self, x):
        return self.linear(x) * torch.empty_like(x).uniform_(generator=self.generator)

    def forward(self, x):
        return x + self.branch(x)


def test_numbers_of_an_own_generator_are_the_same_at_all_stages():
    torch.manual_seed(0)
    model = nn.Sequential(OwnGenerator(), OwnGenerator()).double()
    found, u = swap_scheme(model, "heun", example=X)(X), X
    for block in model:
        state = block.generator.get_state()
        slope = block.branch(u)
        block.generator.set_state(state)
        u = u + (slope + block.branch(u + slope)) / 2
    torch.testing.assert_close(found, u, rtol=0, atol=1e-12)


class Spread(nn.Module):
    """What is added comes first, and lies in memory with its channels last; what follows draws as things lie there."""

    def __init__(self, inplace):
        super().__init__()
        self.layers, self.inplace = nn.ModuleList(nn.Conv2d(4, 4, 1) for _ in range(3)), inplace
        self.scale = nn.Parameter(torch.rand(4, 1, 1))

    def forward(self, x):
        for layer in self.layers:
            h = self.scale * layer(x).contiguous(memory_format=torch.channels_last)
            if self.inplace:
                h += x
            x = nn.functional.dropout(h if self.inplace else h + x, 0.5, self.training)
            x = x.permute(0, 2, 3, 1).view(len(x), -1, 4).view(len(x), *x.shape[2:], 4).permute(0, 3, 1, 2)
        return x


@pytest.mark.parametrize("inplace", [False, True])
def test_a_sum_lies_in_memory_as_the_originals(inplace):
    torch.manual_seed(0)
    model, x = Spread(inplace).train(), torch.randn(2, 4, 5, 5)
    found = []
    for one in (model, swap_scheme(model, "lm", example=x, coefficients=0)):
        torch.manual_seed(1)
        layouts = []
        y = one(x)
        y.register_hook(lambda g, layouts=layouts: layouts.append(g.stride()))
        y.square().sum().backward()
        own = [p.grad for key, p in one.named_parameters() if not key.rpartition(".")[2].startswith("odenets")]
        found.append((y.stride(), layouts, [y, *own]))
    assert found[0][:2] == found[1][:2]
    assert all(map(torch.equal, found[0][2], found[1][2]))


class Expanded(nn.Module):
    """What is added comes first and is one number for several, so that torch lays the sum out as the state."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(3, 3).double() for _ in range(3))

    def forward(self, x):
        for layer in self.layers:
            y = torch.tanh(layer(x)).mean(1, keepdim=True).expand_as(x) + x
            x = y.transpose(1, 2).view(2, -1).view(2, 3, 4).transpose(1, 2)
        return x


class Within(Expanded):
    """What is added comes first, and the state is added to it in place."""

    def forward(self, x):
        for layer in self.layers:
            h = 1 * torch.tanh(layer(x))
            h += x
            x = h
        return x


@pytest.mark.parametrize("name", ["lm", "heun"])
def test_what_is_added_may_be_one_number_for_several(name):
    torch.manual_seed(0)
    model, x = Expanded(), torch.randn(2, 3, 4, dtype=torch.float64).transpose(1, 2)
    swapped = swap_scheme(model, name, example=x, coefficients=0.3 if name == "lm" else None)
    branches = [lambda u, f=f: torch.tanh(f(u)).mean(1, keepdim=True).expand_as(u) for f in model.layers]
    expected = LOOPS[name](branches, x, 1, [{"k": torch.tensor(0.3)}] * 3)
    torch.testing.assert_close(swapped(x), expected)


@pytest.mark.parametrize("name", ["lm", "heun"])
def test_sums_in_place_are_traced(name):
    torch.manual_seed(0)
    model, x = Within(), torch.randn(2, 3, dtype=torch.float64)
    swapped = swap_scheme(model, name, example=x, coefficients=0.3 if name == "lm" else None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch itself, that it will be given up, and of what is read off a shape
        traced = torch.jit.trace(swapped, (x,))
    branches = [lambda u, f=f: torch.tanh(f(u)) for f in model.layers]
    for u in (x, torch.randn(2, 3, dtype=torch.float64)):
        expected = LOOPS[name](branches, u, 1, [{"k": torch.tensor(0.3)}] * 3)
        torch.testing.assert_close(traced(u), expected)
