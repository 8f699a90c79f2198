"""Sums in whatever way people write them, against loops typed by hand: forward, gradients and statistics."""

import pytest
import torch
from loops_multistep import LOOPS as MULTISTEP
from loops_networks import LOOPS as NETWORKS
from loops_runge_kutta import LOOPS as RUNGE_KUTTA
from swap_runs import compare
from torch import nn

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
