"""Sums in whatever way people write them, against loops typed by hand: forward, gradients and statistics."""

import copy
import warnings

import pytest
import torch
from loops_multistep import LOOPS as MULTISTEP
from loops_networks import LOOPS as NETWORKS
from loops_runge_kutta import LOOPS as RUNGE_KUTTA
from torch import nn
from torch.nn import functional as F

from odenets import FieldError, swap_report, swap_scheme
from odenets.net.networks_in_model import networks

LOOPS = RUNGE_KUTTA | MULTISTEP | NETWORKS
X = torch.randn(4, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def mlp(width=8):
    return nn.Sequential(nn.Linear(width, 12), nn.Tanh(), nn.Linear(12, width))


class Model(nn.Module):
    """A hand-written loop over ``f``; what a subclass adds is ``branch(i, x)``."""

    layers = 4

    def __init__(self):
        super().__init__()
        self.f = nn.ModuleList(mlp() for _ in range(self.layers))

    def branch(self, i, x):
        return self.f[i](x)

    def branches(self):
        return [lambda x, i=i: self.branch(i, x) for i in range(self.layers)]


class Plus(Model):
    def forward(self, x):
        for f in self.f:
            x = x + f(x)
        return x


class Minus(Model):
    def branch(self, i, x):
        return -self.f[i](x)

    def forward(self, x):
        for f in self.f:
            x = x - f(x)
        return x


class Alpha(Model):
    def branch(self, i, x):
        return 0.5 * self.f[i](x)

    def forward(self, x):
        for f in self.f:
            x = torch.add(x, f(x), alpha=0.5)
        return x


class Times(Model):
    """addcmul, as of LayerScale."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.full((8,), 0.7))

    def branch(self, i, x):
        return 0.3 * self.scale * self.f[i](x)

    def forward(self, x):
        for f in self.f:
            x = torch.addcmul(x, self.scale, f(x), value=0.3)
        return x


class PythonSum(Model):
    def forward(self, x):
        for f in self.f:
            x = sum([x, f(x)])
        return x


class InPlace(Model):
    def forward(self, x):
        x = x * 1.0
        for f in self.f:
            out = f(x)
            out += x
            x = out
        return x


class Over(Model):
    """The state itself is written over."""

    def forward(self, x):
        for f in self.f:
            out = x.clone()
            out += f(x)
            x = out
        return x


class Three(Model):
    """x + a(h) + m(h), one step with two terms, as of parallel attention."""

    def __init__(self):
        super().__init__()
        self.norm, self.g = nn.LayerNorm(8), nn.ModuleList(nn.Linear(8, 8) for _ in range(4))

    def branch(self, i, x):
        h = self.norm(x)
        return self.f[i](h) + self.g[i](h)

    def forward(self, x):
        for f, g in zip(self.f, self.g, strict=True):
            h = self.norm(x)
            x = x + f(h) + g(h)
        return x


class Behind(Three):
    """a(h) + x + m(h), with the state in the middle."""

    def forward(self, x):
        for f, g in zip(self.f, self.g, strict=True):
            h = self.norm(x)
            x = f(h) + x + g(h)
        return x


class Shared(Model):
    """One function for all steps."""

    def branch(self, i, x):
        return self.f[0](x)

    def forward(self, x):
        for _ in range(self.layers):
            x = x + self.f[0](x)
        return x


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = mlp()

    def forward(self, x, residual=None):
        return self.f(x) + (x if residual is None else residual)


class SharedBlock(Model):
    """A block that is called several times, as in ALBERT."""

    def __init__(self):
        super().__init__()
        self.block = Block()

    def branch(self, i, x):
        return self.block.f(x)

    def forward(self, x):
        for _ in range(self.layers):
            x = self.block(x)
        return x


class Twofold(Model):
    """b(x, x): the state comes in twice."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(Block() for _ in range(self.layers))

    def branch(self, i, x):
        return self.blocks[i].f(x)

    def forward(self, x):
        for block in self.blocks:
            x = block(x, x)
        return x


class Reshaped(Model):
    """The state is moved between sums: histories go with it."""

    def forward(self, x):
        for f in self.f:
            x = x + f(x)
            x = x.view(2, 2, 8).transpose(0, 1).contiguous().transpose(0, 1).reshape(4, 8)
        return x


class Turned(Model):
    """Sums over rows and columns in turn: the state is transposed for good between them."""

    def __init__(self):
        super().__init__()
        self.g = nn.ModuleList(mlp(4) for _ in range(2))

    def branch(self, i, x):
        return self.g[i // 2](x.T).T if i % 2 else self.f[i](x)

    def forward(self, x):
        for i in range(2):
            x = x + self.f[2 * i](x)
            x = x.T
            x = x + self.g[i](x)
            x = x.T
        return x


STYLES = [
    Plus,
    Minus,
    Alpha,
    Times,
    PythonSum,
    InPlace,
    Over,
    Three,
    Behind,
    Shared,
    SharedBlock,
    Twofold,
    Reshaped,
    Turned,
]


def compare(found, expected, swapped, model):
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    names = [name for name, _ in model.named_parameters()]
    own = dict(swapped.named_parameters())
    coefficients = [p for name, p in own.items() if name not in names]  # which the loop is given, too
    a, b = (
        torch.autograd.grad(y.sin().sum(), [*parameters, *coefficients], allow_unused=True)
        for y, parameters in ((found, [own[name] for name in names]), (expected, list(model.parameters())))
    )
    for one, other in zip(a, b, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["euler", "heun", "rk4", "lm", "ab2", "alf", "momentum"])
@pytest.mark.parametrize("style", STYLES)
def test_a_style_is_the_loop_over_its_branches(style, name):
    torch.manual_seed(0)
    model = style().double()
    swapped = swap_scheme(model, name, example=X, coefficients=0.3 if name == "lm" else None)
    report = swap_report(swapped)
    assert [sum(chain.sums) for chain in report.chains] == [4], str(report)
    ks = [networks(swapped)[0].coefficients_at(n) for n in range(4)]
    compare(swapped(X), LOOPS[name](model.branches(), X, 1, ks), swapped, model)


class Scales(nn.Module):
    """One block at two sizes in turn, as the position encodings of CoaT: two chains share it."""

    def __init__(self, first=2, second=2):
        super().__init__()
        self.block, self.down, self.times = Block(), nn.Linear(8, 8), (first, second)

    def forward(self, x):
        for _ in range(self.times[0]):
            x = self.block(x)
        x = self.down(x).relu()
        for _ in range(self.times[1]):
            x = self.block(x)
        return x


@pytest.mark.parametrize("name", ["euler", "heun", "lm", "ab2"])
def test_chains_may_share_a_block(name):
    torch.manual_seed(0)
    model = Scales().double()
    swapped = swap_scheme(model, name, example=X, coefficients=0.3 if name == "lm" else None)
    assert [chain.sums for chain in swap_report(swapped).chains] == [(2,), (2,)]
    ks = [[chain.coefficients_at(n) for n in range(2)] for chain in networks(swapped)]
    u = LOOPS[name]([model.block.f] * 2, X, 1, ks[0])
    compare(swapped(X), LOOPS[name]([model.block.f] * 2, model.down(u).relu(), 1, ks[1]), swapped, model)
    assert all(a is b for n in range(2) for a, b in zip(ks[0][n].values(), ks[1][n].values(), strict=True))


@pytest.mark.parametrize("times", [(2, 3), (3, 2)])
def test_a_block_that_begins_chains_of_different_lengths(times):
    """The second chain would go on as the first, and have no coefficients of its own."""
    model = Scales(*times).double()
    for name in ("lm", "ab2"):
        with pytest.raises(FieldError, match=f"block at the beginning of chains of {times[0]} and {times[1]} sums"):
            swap_scheme(model, name, example=X)
    swapped = swap_scheme(model, "heun", example=X)
    first, second = ([model.block.f] * count for count in times)
    u = model.down(LOOPS["heun"](first, X, 1, [{}] * times[0])).relu()
    compare(swapped(X), LOOPS["heun"](second, u, 1, [{}] * times[1]), swapped, model)


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
