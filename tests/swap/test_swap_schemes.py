"""Swapped networks against loops typed by hand over the branches of their blocks: forward, gradients, statistics."""

import copy

import pytest
import torch
from loops_multistep import LOOPS as MULTISTEP
from loops_networks import LOOPS as NETWORKS
from loops_runge_kutta import LOOPS as RUNGE_KUTTA
from swap_networks import V2, Deep, Position, ResNetV1, Smooth, Statement, Transformer, randomise, smooth_network
from torch import nn
from torch.utils.checkpoint import checkpoint

from odenets import FieldError, SchemeError, schemes, swap_scheme
from odenets.net.learnable_coefficients import is_added
from odenets.net.networks_in_model import networks

LOOPS = {
    name: loop
    for name, loop in (RUNGE_KUTTA | MULTISTEP | NETWORKS).items()
    if schemes[name].components == 1 and not any(schemes[name].modules)
}
POINTS = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
IMAGES = torch.randn(3, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
TOKENS = torch.randn(2, 5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
MASK = torch.full((5, 5), -torch.inf, dtype=torch.float64).triu(1)


def coefficients(swapped):
    """Random ones, none of them at a special value; those of each layer of the first chain."""
    chain = networks(swapped)[0]
    torch.manual_seed(5)
    for parameter in chain.coefficients.parameters():
        nn.init.uniform_(parameter, -0.5, 0.5)
    return [chain.coefficients_at(n) for n in range(chain.steps)]


def value_and_gradients(y, model):
    own = [p for name, p in model.named_parameters() if not is_added(name)]
    return [y, *torch.autograd.grad((y.sin() * y).sum(), own)]


def allowed(name):
    """Of vern6 weights of 170 cancel."""
    return 1e-11 if name == "vern6" else 1e-12


def assert_close(found, expected, tolerance=1e-12):
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=tolerance * max(1.0, float(b.detach().abs().max())))


@pytest.mark.parametrize("name", LOOPS)
def test_equals_the_loop_over_branches(name):
    model = smooth_network(8)
    swapped = swap_scheme(model, name, example=POINTS)
    ks = coefficients(swapped)
    first, blocks, last = model
    expected = last(LOOPS[name]([block.branch for block in blocks], first(POINTS), 1, ks))
    assert_close(value_and_gradients(swapped(POINTS), swapped), value_and_gradients(expected, model), allowed(name))


@pytest.mark.parametrize("name", LOOPS)
def test_attention_and_mlp_are_layers_of_their_own(name):
    torch.manual_seed(0)
    model = Transformer(layers=4).double()
    swapped = swap_scheme(model, name, example=TOKENS)
    ks = coefficients(swapped)
    fs = [f for b in model.blocks for f in (lambda x, b=b: b.first(x, MASK), b.second)]
    expected = model.norm(LOOPS[name](fs, model.embed(TOKENS), 1, ks))
    # The mask is not the example's, which had none.
    found = swapped(TOKENS, mask=MASK)[0]
    assert_close(value_and_gradients(found, swapped), value_and_gradients(expected, model), allowed(name))


@pytest.mark.parametrize("name", ["euler", "lm", "ab2", "heun", "alf"])
@pytest.mark.parametrize("block", [V2, Deep, Position, Statement])
def test_blocks_of_every_kind(block, name):
    model = randomise(smooth_network(4, block=block)).eval()
    swapped = swap_scheme(model, name, example=POINTS)
    ks = coefficients(swapped)
    first, blocks, last = model
    expected = last(LOOPS[name]([one.branch for one in blocks], first(POINTS), 1, ks))
    assert_close(value_and_gradients(swapped(POINTS), swapped), value_and_gradients(expected, model))


# ---------------------------------------------------------------------------------- an activation after the sum


def euler_v1(fs, u, k):
    for f in fs:
        u = torch.relu(u + f(u))
    return u


def lm_v1(fs, u, k):
    u, before = torch.relu(u + fs[0](u)), u
    for f in fs[1:]:
        u, before = torch.relu((1 - k) * u + k * before + f(u)), u
    return u


def ab2_v1(fs, u, k):
    slope = fs[0](u)
    u = torch.relu(u + slope)
    for f in fs[1:]:
        before, slope = slope, f(u)
        u = torch.relu(u + 1.5 * slope - 0.5 * before)
    return u


def heun_v1(fs, u, k):
    for f in fs:
        slope = f(u)
        u = torch.relu(u + (slope + f(u + slope)) / 2)
    return u


def momentum_v1(fs, u, k):
    v = 0
    for f in fs:
        v = 0.9 * v + 0.1 * f(u)
        u = torch.relu(u + v)
    return u


V1_LOOPS = {"euler": euler_v1, "lm": lm_v1, "ab2": ab2_v1, "heun": heun_v1, "momentum": momentum_v1}


@pytest.mark.parametrize(("name", "loop"), V1_LOOPS.items())
def test_an_activation_is_a_projection_of_the_combination(name, loop):
    torch.manual_seed(0)
    model = randomise(ResNetV1(layers=4)).double().eval()
    k = 0.3 if name == "lm" else None
    swapped = swap_scheme(model, name, example=IMAGES, coefficients=k)
    u = loop([b.branch for b in model.layer1], torch.relu(model.stem(IMAGES)), k)
    u = loop([b.branch for b in model.layer2[1:]], model.layer2[0](u), k)
    expected = model.head(u.mean((2, 3)))
    assert_close(value_and_gradients(swapped(IMAGES), swapped), value_and_gradients(expected, model))


def test_an_argument_that_requires_a_gradient_gets_it():
    mask = MASK.clone().masked_fill(MASK.isinf(), -1.0).requires_grad_()
    model = Transformer(layers=1).double()
    found = swap_scheme(model, "heun", example=TOKENS)(TOKENS, mask=mask)[0]
    block, u = model.blocks[0], model.embed(TOKENS)
    for f in (lambda x: block.first(x, mask), block.second):
        slope = f(u)
        u = u + (slope + f(u + slope)) / 2
    expected = torch.autograd.grad(model.norm(u).sin().sum(), mask)
    assert_close(torch.autograd.grad(found.sin().sum(), mask), expected)


# ------------------------------------------------------------------------- statistics, masks, arguments, histories


def test_statistics_are_updated_once_a_stage():
    model = smooth_network(3, block=V2).train()
    # Those that do not evaluate at the state first have sets for all their evaluations beside that of the model itself.
    for name, visits in {"euler": 1, "lm": 1, "ab2": 1, "heun": 2, "rk4": 4, "alf": 2}.items():
        swapped = swap_scheme(model, name, example=POINTS)
        swapped(POINTS)
        counts = [int(b) for key, b in swapped.named_buffers() if key.endswith("num_batches_tracked")]
        assert counts == [1] * (3 * visits)


def test_stages_have_the_statistics_of_their_own_batches():
    model = smooth_network(1, block=V2, seed=4).train()
    swapped = swap_scheme(model, "heun", example=POINTS)
    swapped(POINTS)
    block, u = model[1][0], model[0](POINTS)
    second = u + block.branch(u)
    # momentum 0.1 (torch.nn.BatchNorm1d): running mean 0.9 * 0 + 0.1 * mean of the batch
    own = swapped.state_dict()
    torch.testing.assert_close(own["1.0.norm.running_mean"], 0.1 * u.mean(0))
    (key,) = [key for key in own if is_added(key) and key.endswith("running_mean")]
    torch.testing.assert_close(own[key], 0.1 * second.mean(0))


def test_masks_are_the_same_at_all_stages_and_others_in_the_next_step():
    torch.manual_seed(0)
    model = nn.Sequential(*[V2(50, p=0.5) for _ in range(2)]).train()
    for block in model:
        block.norm = nn.Identity()
    u = torch.randn(1, 50)
    torch.manual_seed(1)
    found = swap_scheme(model, "heun", example=u)(u)
    torch.manual_seed(1)
    masks = [nn.functional.dropout(torch.ones(1, 50), 0.5) for _ in range(2)]
    assert not torch.equal(*masks)
    for block, mask in zip(model, masks, strict=True):
        slope = mask * block.linear(torch.tanh(u))
        u = u + (slope + mask * block.linear(torch.tanh(u + slope))) / 2
    torch.testing.assert_close(found, u)


class Cache:
    def __init__(self):
        self.kept = []


class Cached(nn.Module):
    """Attends to all states that its cache has seen, and appends to it."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x, cache=None):
        if cache is not None:
            cache.kept.append(x)
        return x + self.linear(x if cache is None else sum(cache.kept))


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(Cached() for _ in range(3))

    def forward(self, x, caches=None):
        for i, block in enumerate(self.blocks):
            x = block(x, None if caches is None else caches[i])
        return x


def test_a_cache_is_appended_to_once_or_refused():
    model, x = Decoder(), torch.randn(2, 6)
    for name in ("euler", "lm", "ab2", "momentum"):
        caches = [Cache() for _ in range(3)]
        swapped = swap_scheme(model, name, example=x)
        swapped(x, caches)
        swapped(x, caches)
        assert [len(cache.kept) for cache in caches] == [2, 2, 2]
    for name in ("heun", "alf"):
        caches = [Cache() for _ in range(3)]
        swapped = swap_scheme(model, name, example=x)
        with pytest.raises(FieldError, match=r"blocks\.0: got a Cache.*use_cache=False"):
            swapped(x, caches)
        assert not caches[0].kept
        swapped(x).sum().backward()


def test_a_history_that_is_broken_is_found_out():
    model = nn.Sequential(Smooth(), nn.Dropout(0.5), Smooth(), Smooth()).eval()
    x = torch.randn(2, 6)
    swapped = swap_scheme(model, "lm", example=x)
    swapped(x)
    with pytest.raises(FieldError, match=r"2: got an input that is not what 0 returned"):
        swapped.train()(x)
    heun = swap_scheme(model, "heun", example=x).train()  # no history, and nothing to be broken
    assert heun(x).shape == x.shape
    with pytest.raises(FieldError, match="1: got an input"):
        swap_scheme(nn.Sequential(Smooth(), Smooth()), "ab2", example=x)[1](x)


class Dropped(nn.Module):
    """Dropout after the sum, which in evaluation hands on what it is given; or in training alone."""

    def __init__(self, hidden=False):
        super().__init__()
        self.linear, self.hidden = nn.Linear(50, 50), hidden

    def forward(self, x):
        x = x + self.linear(x)
        if self.hidden and not self.training:
            return x
        return nn.functional.dropout(x, 0.5, self.training)


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("name", ["heun", "lm"])
def test_what_follows_the_sum_in_training_alone_is_run(name, hidden):
    torch.manual_seed(0)
    model, x = nn.Sequential(Dropped(hidden), Dropped(hidden)).double(), torch.randn(2, 50, dtype=torch.float64)
    with torch.no_grad():
        for block in model:
            block.linear.weight.mul_(0.1)
    swapped = swap_scheme(model, name, example=x, coefficients=0.3 if name == "lm" else None).train()
    torch.manual_seed(1)
    found = swapped(x)
    torch.manual_seed(1)
    masks, u, before = [nn.functional.dropout(torch.ones_like(x), 0.5) for _ in range(2)], x, None
    for block, mask in zip(model, masks, strict=True):
        f = block.linear
        if name == "heun":
            new = u + (f(u) + f(u + f(u))) / 2
        else:
            new = u + f(u) if before is None else 0.7 * u + 0.3 * before + f(u)
        u, before = mask * new, u
    torch.testing.assert_close(found, u, rtol=1e-6, atol=1e-6)


class Conditioned(nn.Module):
    """Given a condition, something is added to the state before the sum."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x, condition=None):
        y = x if condition is None else x + condition
        return x + self.linear(y)


@pytest.mark.parametrize("name", ["euler", "heun"])
def test_another_way_through_the_forward_is_taken_with_the_same_sum(name):
    x, model = torch.randn(2, 6), Conditioned()
    slope = model.linear(x + 1)
    expected = x + slope if name == "euler" else x + (slope + model.linear(x + slope + 1)) / 2
    for example in (x, (x, torch.ones(6))):
        torch.testing.assert_close(swap_scheme(model, name, example=example)(x, torch.ones(6)), expected)


def test_a_pass_that_was_cut_short_leaves_nothing_behind():
    model, x = nn.Sequential(Smooth(), Smooth(), Conditioned()), torch.randn(2, 6)
    swapped = swap_scheme(model, "ab2", example=x)
    expected = swapped(x)
    handle = swapped[1].register_forward_hook(lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        swapped(x)
    handle.remove()
    assert torch.equal(copy.deepcopy(swapped)(x), expected)
    with torch.inference_mode():
        assert torch.equal(swapped(x), expected)


class Changing(nn.Module):
    """No sum in training."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x):
        y = self.linear(x)
        return y if self.training else x + y


@pytest.mark.parametrize("name", ["in_resnet", "heun"])
def test_a_sum_that_is_not_there_is_found_out(name):
    x = torch.randn(2, 6)
    swapped = swap_scheme(nn.Sequential(Changing()), name, example=x)
    swapped.eval()(x)
    with pytest.raises(FieldError, match="without the sum number 1 of 1"):
        swapped.train()(x)


class Checkpointed(Smooth):
    """Activation checkpointing inside the block, around its sum or around its branch alone."""

    reentrant, whole = False, True

    def forward(self, x):
        if self.whole:
            return checkpoint(super().forward, x, use_reentrant=self.reentrant)
        return x + checkpoint(self.branch, x, use_reentrant=self.reentrant)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad:UserWarning")  # in the probing pass
@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("name", ["euler", "leapfrog", "heun"])
def test_activation_checkpointing_inside_a_block(name, reentrant):
    """Around its sum it is refused, but for Euler's method; around its branch it is run as it is."""
    torch.manual_seed(0)
    model, x = nn.Sequential(Checkpointed(), Checkpointed()).double(), torch.randn(2, 6, dtype=torch.float64)
    for block in model:
        block.reentrant = reentrant
    swapped, x = swap_scheme(model, name, example=x), x.requires_grad_()
    if name == "euler":
        assert torch.equal(swapped(x), model(x))
    else:
        with pytest.raises(FieldError, match=r"under torch\.utils\.checkpoint|without the sum number 1 of 1"):
            swapped(x)
    for block in model:
        block.whole = False
    swapped = swap_scheme(model, name, example=x)
    expected = LOOPS[name]([block.branch for block in model], x, 1, None)
    found = swapped(x)
    torch.testing.assert_close(found, expected)
    for one, y in ((swapped, found), (model, expected)):
        one.zero_grad()
        y.sin().sum().backward()
    for a, b in zip(swapped.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)


@pytest.mark.parametrize("name", ["heun", "ab2", "lm"])
def test_activation_checkpointing_around_a_block(name):
    model, x = smooth_network(3), POINTS
    swapped = swap_scheme(model, name, example=x, coefficients=0.3 if name == "lm" else None)
    direct = value_and_gradients(swapped(x), swapped)
    for reentrant in (False, True):
        first, blocks, last, *_ = swapped
        u = first(x)
        for block in blocks:
            u = checkpoint(block, u, use_reentrant=reentrant)
        if not reentrant:  # the other takes no torch.autograd.grad
            assert_close(value_and_gradients(last(u), swapped), direct)
        elif name == "heun":
            last(u).sum().backward()
        else:
            with pytest.raises(FieldError, match="no reentrant activation checkpointing"):
                last(u).sum().backward()


def test_side_outputs_are_those_of_the_first_stage():
    torch.manual_seed(0)
    model = Transformer(layers=1, tell=True).double()
    u = model.embed(TOKENS)
    expected = model.blocks[0].attention(model.blocks[0].norm1(u))[1]
    for name in ("lm", "rk4"):
        _, (weights,) = swap_scheme(model, name, example=TOKENS)(TOKENS)
        torch.testing.assert_close(weights, expected)


def test_lm_with_k_0_is_the_model_it_was():
    torch.manual_seed(0)
    model = Transformer(layers=3).double()
    swapped = swap_scheme(model, "lm", example=TOKENS, coefficients=0)
    assert torch.equal(swapped(TOKENS)[0], model(TOKENS)[0])
    swapped(TOKENS)[0].square().sum().backward()
    (chain,) = networks(swapped)
    assert all(p.grad.abs() > 0 for p in chain.coefficients.parameters())
    by_symbol = swap_scheme(model, "lm3", example=TOKENS, coefficients={"k1": 0.25, "k2": 0})
    (chain,) = networks(by_symbol)
    assert {name: p.item() for name, p in chain.coefficients_at(4).items()} == {"k1": 0.25, "k2": 0.0}


def test_options_of_the_network_are_passed_on():
    model = randomise(ResNetV1()).double().eval()
    per_channel = swap_scheme(model, "lm", example=IMAGES, coefficients=0, coefficient_shape=(1,))
    assert {tuple(p.shape) for key, p in per_channel.named_parameters() if is_added(key)} == {(1,)}
    fs = [block.branch for block in model.layer1]
    u = torch.relu(model.stem(IMAGES))
    started = swap_scheme(model.layer1, "ab2", example=u, start="heun")
    slope = fs[0](u)
    expected = torch.relu(u + (slope + fs[0](u + slope)) / 2)
    for f in fs[1:]:
        before, slope = slope, f(expected)
        expected = torch.relu(expected + 1.5 * slope - 0.5 * before)
    torch.testing.assert_close(started(u), expected)
    with pytest.raises(SchemeError, match="start"):
        swap_scheme(model, "ab2", example=IMAGES, start="lm")


def test_the_blocks_input_is_never_written_to():
    for name in ("lm", "heun"):
        swapped = swap_scheme(nn.Sequential(Statement(), Statement(), Statement()), name, example=torch.ones(1, 6))
        x = torch.randn(2, 6)
        before = copy.deepcopy(x)
        swapped(x)
        assert torch.equal(x, before)
