"""The diagnosis of swapped networks against that of ODENets with the same branches, and against Jacobians by hand."""

import copy

import numpy as np
import pytest
import torch
from swap_networks import ResNetV1
from torch import nn

import odenets
from odenets import FieldError, ODENet, swap_scheme
from odenets.analysis import diagnose
from odenets.net.networks_in_model import networks

DOUBLE = torch.float64


class Branch(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = nn.BatchNorm2d(width)
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x):
        return self.conv(torch.tanh(self.norm(x)))


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.branch = Branch(width)

    def forward(self, x):
        return x + self.branch(x)


class Attention(nn.Module):
    """Two sums: attention with a mask, and a function of each position."""

    def __init__(self, width):
        super().__init__()
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.norm, self.mlp = nn.LayerNorm(width), nn.Linear(width, width)

    def attention(self, x, mask):
        q, k, v = self.qkv(x).chunk(3, -1)
        return self.out((q @ k.transpose(-1, -2) + mask).softmax(-1) @ v)

    def forward(self, x, mask):
        x = x + self.attention(x, mask)
        return x + torch.tanh(self.mlp(self.norm(x)))


class Masked(nn.Module):
    """``rows``: how many masks the blocks get; 0 for one for each sample, all of them different."""

    def __init__(self, rows=1):
        super().__init__()
        self.rows = rows
        self.blocks = nn.ModuleList([Attention(2) for _ in range(2)])

    def forward(self, x):
        mask = torch.full((3, 3), -torch.inf, dtype=x.dtype).triu(1).expand(self.rows or len(x), 3, 3)
        if not self.rows:
            mask = mask + x[:, :1, :1]
        for block in self.blocks:
            x = block(x, mask)
        return x


def convolutions(width=3, layers=3):
    torch.manual_seed(0)
    model = nn.Sequential(*[Block(width) for _ in range(layers)]).double().eval()
    for block in model:
        block.branch.norm.running_mean.normal_()
        block.branch.norm.running_var.uniform_(0.5, 2)
    return model


IMAGES = torch.randn(2, 3, 3, 3, dtype=DOUBLE, generator=torch.Generator().manual_seed(1))
TOKENS = torch.randn(2, 3, 2, dtype=DOUBLE, generator=torch.Generator().manual_seed(2))


def ordered(values):
    """By real parts, those of a conjugate pair taken for equal."""
    return values[np.lexsort((values.imag, values.real.round(8)))]


def spectra(found):
    return [ordered(np.array(block.spectrum.eigenvalues)) for block in found.blocks]


def same(left, right):
    assert [b.kind for b in left.blocks] == [b.kind for b in right.blocks]
    for one, other in zip(spectra(left), spectra(right), strict=True):
        assert np.abs(one - other).max() < 1e-8
    for one, other in zip(left.blocks, right.blocks, strict=True):
        assert one.amplification.maximum == pytest.approx(other.amplification.maximum, abs=1e-8)
        assert one.coefficients == other.coefficients


@pytest.mark.parametrize(
    ("scheme", "value"), [("lm", 0.0), ("lm", 0.3), ("euler", None), ("ab2", None), ("heun", None)]
)
def test_as_of_the_net_of_the_same_branches(scheme, value):
    """Euler, LM and AB2 run the forward once; Heun evaluates branches apart."""
    model = convolutions()
    swapped = swap_scheme(model, scheme, example=IMAGES, coefficients=value)
    net = ODENet([copy.deepcopy(block.branch) for block in model], scheme).double().eval()
    for parameter in net.coefficients.parameters():
        nn.init.constant_(parameter, value)
    assert torch.allclose(swapped(IMAGES), net(IMAGES), rtol=0, atol=1e-12)
    same(diagnose(swapped, IMAGES), diagnose(net, IMAGES))


def test_the_model_is_left_as_it_is():
    swapped = swap_scheme(convolutions(), "lm", example=IMAGES, coefficients=0.1).train()
    before = copy.deepcopy(swapped.state_dict())
    random = torch.get_rng_state()
    diagnose(swapped, IMAGES)
    assert torch.equal(torch.get_rng_state(), random)
    assert swapped.training
    assert all(p.grad is None and p.requires_grad for p in swapped.parameters())
    after = swapped.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    chain = networks(swapped)[0]
    assert chain.observer is None
    assert not chain.field.functions


def eigenvalues_by_hand(model, x):
    """Those of both branches of each block at the states of the plain loop, sample by sample, by reverse mode."""
    mask = torch.full((3, 3), -torch.inf, dtype=DOUBLE).triu(1)
    found = []
    for block in model.blocks:
        parts = [lambda u, b=block: b.attention(u, mask), lambda u, b=block: torch.tanh(b.mlp(b.norm(u)))]
        for f in parts:
            matrices = [torch.autograd.functional.jacobian(f, u[None]).reshape(6, 6).numpy() for u in x]
            found.append(ordered(np.concatenate([np.linalg.eigvals(m) for m in matrices]).astype(complex)))
            x = x + f(x).detach()
    return found


@pytest.mark.parametrize("rows", [1, 2])
def test_two_sums_and_a_mask(rows):
    """Also a mask for each sample, where all are the same."""
    torch.manual_seed(0)
    model = Masked(rows).double().eval()
    swapped = swap_scheme(model, "euler", example=TOKENS)
    found = spectra(diagnose(swapped, TOKENS))
    for one, other in zip(found, eigenvalues_by_hand(model, TOKENS), strict=True):
        # Those of attention are many times 0, and so as exact as a root of rounding.
        assert np.abs(one - other).max() < 1e-6


def test_a_mask_for_each_sample():
    torch.manual_seed(0)
    swapped = swap_scheme(Masked(0).double().eval(), "euler", example=TOKENS)
    with pytest.raises(FieldError, match=r"may differ between the 2 samples.*samples=1"):
        diagnose(swapped, TOKENS)
    assert diagnose(swapped, TOKENS, samples=1).blocks[0].dimension == 6


def test_an_activation_after_the_sum_is_told():
    torch.manual_seed(0)
    images = torch.randn(2, 3, 8, 8)
    swapped = swap_scheme(ResNetV1(layers=1).eval(), "euler", example=images)
    found = diagnose(swapped, images, samples=1, values=2)
    assert [stage.steps for stage in found.stages] == [1, 1]
    assert any("activation after their sum" in warning for warning in found.warnings)
    plain = diagnose(odenets.models.cifar_resnet(8, "lm").eval(), images, samples=1, dense_limit=0, modified=False)
    assert not any("activation after their sum" in warning for warning in plain.warnings)


def test_a_cache_is_refused():
    class Box(list):
        """Not a plain list."""

    class Appends(Block):
        def forward(self, x, cache=None):
            cache.append(x)
            return x + self.branch(x)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = Appends(3)

        def forward(self, x):
            return self.block(x, cache=Box())

    swapped = swap_scheme(Model().double().eval(), "euler", example=IMAGES)
    with pytest.raises(FieldError, match=r"block: got a Box.*use_cache=False"):
        diagnose(swapped, IMAGES)
