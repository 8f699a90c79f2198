"""What a network with random numbers, statistics and blocks that write into their input does in every gradient mode."""

import pytest
import torch
from helpers import batch, layers_of, loss
from modes import COUPLED, FIRST, REVERSIBLE, SCHEMES, assert_same, output_and_gradients
from torch import nn

from odenets import AdditiveNoise, ODENet, Reversible, ShakeShake, StochasticDepth, survival_schedule

MODES = ["direct", "checkpoint", "reversible"]
AGAIN = MODES[1:]
LEARNED = next(name for name, scheme in REVERSIBLE.items() if scheme.symbols)
SLOPE = next(name for name, scheme in REVERSIBLE.items() if scheme.needs_slope)
PARTITIONED = next(name for name, s in REVERSIBLE.items() if s.components > 1 and len(s.modules) > s.components)
STAGES = next(name for name, s in REVERSIBLE.items() if s.components == 1 and len(s.modules) > 1)
UNDONE = list(dict.fromkeys([LEARNED, SLOPE, PARTITIONED, STAGES, FIRST, COUPLED.name]))
SEVERAL = [name for name, s in SCHEMES.items() if s.needs_slope or len(s.modules) > 1 + max(s.modules)]


def block(width):
    linear = [nn.Linear(width, width) for _ in range(2)]
    return nn.Sequential(linear[0], nn.BatchNorm1d(width), nn.Tanh(), nn.Dropout(0.3), linear[1])


def depth(blocks):
    return StochasticDepth(blocks, survival_schedule(len(blocks), 0.5))


def depth_per_sample(blocks):
    return StochasticDepth(blocks, [0.7] * len(blocks), per_sample=True)


def noisy(blocks):
    return AdditiveNoise(blocks, 0.1)


def shaken(blocks):
    return ShakeShake([(block, nn.Sequential(nn.Linear(6, 6), nn.Tanh())) for block in blocks])


def build(name, mode, field=list, dtype=torch.float64):
    torch.manual_seed(0)
    scheme = SCHEMES[name]
    blocks = layers_of(scheme, 5, lambda: block(6 // scheme.components))
    return ODENet(field(blocks), scheme, gradient=mode, h=0.5).to(dtype).train()


def buffers(net):
    return {key: value.clone() for key, value in net.named_buffers()}


# ----------------------------------------------------------------------- the same network in every mode


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    ("name", "field"),
    [
        (name, field)
        for name in UNDONE
        for field in (list, depth, depth_per_sample, noisy, shaken)
        # Branches of width 6 and noise of the whole state's shape do not fit a half.
        if SCHEMES[name].components == 1 or field not in (noisy, shaken)
    ],
)
def test_the_same_seed_gives_the_same_step_in_every_mode(name, field, dtype):
    # From the same weights at each step: gradients equal to rounding would make different weights.
    if SCHEMES[name].symbols and dtype == torch.float32:
        # Errors that one batch has measured say little about the next one's.
        modes, tolerance = dict(zip(MODES, [*MODES[:2], Reversible(tolerance=1e-2)], strict=True)), 1e-2
    else:
        modes, tolerance = dict(zip(MODES, MODES, strict=True)), 1e-10 if dtype == torch.float64 else 1e-4
    nets = {mode: build(name, gradient, field, dtype=dtype) for mode, gradient in modes.items()}
    optimisers = {mode: torch.optim.SGD(net.parameters(), lr=0.1) for mode, net in nets.items()}
    seen, losses = {}, []
    for step in range(2):
        weights = [p.detach().clone() for p in nets["direct"].parameters()]
        for mode, net in nets.items():
            with torch.no_grad():
                for p, w in zip(net.parameters(), weights, strict=True):
                    p.copy_(w)
            torch.manual_seed(100 + step)
            optimisers[mode].zero_grad()
            value = loss(net(batch(8, 6, seed=step, dtype=dtype)))
            value.backward()
            gradients = [p.grad.clone() for p in net.parameters()]
            optimisers[mode].step()
            seen[mode] = value.detach(), gradients, buffers(net), torch.get_rng_state()
        for mode in AGAIN:
            found, expected = seen[mode], seen["direct"]
            assert torch.equal(found[0], expected[0])
            assert_same(found[1], expected[1], tolerance)
            assert found[2].keys() == expected[2].keys()
            assert all(torch.equal(found[2][key], expected[2][key]) for key in expected[2])
            assert torch.equal(found[3], expected[3])
        losses.append(float(value.detach()))
        counts = {int(value) for key, value in seen["direct"][2].items() if "num_batches_tracked" in key}
        assert counts == {step + 1}
    assert len(set(losses)) == 2


@pytest.mark.parametrize("mode", MODES)
def test_the_seed_matters(mode):
    net = build(FIRST, mode, depth)
    values = []
    for seed in range(3):
        torch.manual_seed(seed)
        values.append(float(net(batch(8, 6)).detach().sum()))
    assert len(set(values)) == 3


@pytest.mark.parametrize(("name", "mode"), [(name, m) for name in UNDONE for m in MODES])
def test_statistics_change_once_a_forward_pass(name, mode):
    # Whether and how often a backward pass follows.
    net = build(name, mode)
    for passes in (1, 2, 3):
        y = net(batch(8, 6))
        after = buffers(net)
        for _ in range(passes - 1):
            loss(y).backward(retain_graph=True)
        now = buffers(net)
        assert all(torch.equal(after[key], now[key]) for key in after)
        assert {int(value) for key, value in now.items() if "num_batches_tracked" in key} == {passes}


@pytest.mark.parametrize("mode", MODES)
def test_no_statistics_are_changed_in_evaluation(mode):
    net = build(STAGES, mode)
    net(batch(8, 6))
    before = buffers(net)
    loss(net.eval()(batch(8, 6, seed=1))).backward()
    assert all(torch.equal(before[key], value) for key, value in net.named_buffers())


@pytest.mark.parametrize("mode", AGAIN)
@pytest.mark.parametrize("name", UNDONE)
def test_gradients_in_evaluation(name, mode):
    nets = [build(name, m).eval() for m in ("direct", mode)]
    expected, found = (output_and_gradients(net, batch(8, 6)) for net in nets)
    assert_same(found, expected, 1e-10)


@pytest.mark.parametrize("mode", AGAIN)
def test_one_batchnorm_for_all_layers(mode):
    def run(mode):
        torch.manual_seed(0)
        norm = nn.BatchNorm1d(6)
        net = ODENet([nn.Sequential(norm, nn.Linear(6, 6), nn.Tanh()) for _ in range(6)], FIRST, gradient=mode, h=0.5)
        gradients = output_and_gradients(net.double(), batch(8, 6))
        return [*gradients, *net.buffers()]

    found, expected = run(mode), run("direct")
    assert int(expected[-1]) == 6
    assert_same(found, expected, 1e-10)


# ---------------------------------------------------------------------------------------------- dropout


class Recording(nn.Module):
    """Dropout that notes the masks it has drawn in the forward pass."""

    def __init__(self):
        super().__init__()
        self.masks = []

    def forward(self, x):
        mask = torch.rand_like(x) < 0.5
        self.masks.append(mask.clone())
        return torch.tanh(x) * mask


def distinct(masks):
    found = []
    for mask in masks:
        if not any(torch.equal(mask, other) for other in found):
            found.append(mask)
    return len(found)


@pytest.mark.parametrize(
    ("name", "mode"), [*((name, "direct") for name in SEVERAL), *((name, m) for name in UNDONE for m in AGAIN)]
)
def test_one_mask_a_step_for_all_its_stages_and_again_on_the_way_back(name, mode):
    scheme, layers = SCHEMES[name], 4
    modules = max(scheme.modules) + 1
    blocks = layers_of(scheme, layers, Recording)
    net = ODENet(blocks, scheme, gradient=mode, h=0.1)
    every = [own for layer in blocks for own in (layer if isinstance(layer, list) else [layer])]
    x = batch(4, 60).requires_grad_()
    with torch.no_grad():
        net(x)
    if mode != "direct":  # the first pass looks for captured tensors, and measures, with masks of its own
        net(x)
    for own in every:
        own.masks.clear()
    y = net(x)
    calls = sum(len(own.masks) for own in every)
    assert calls == net.evaluations
    loss(y).backward()
    if mode != "direct":
        assert sum(len(own.masks) for own in every) > calls
    assert [distinct(own.masks) for own in every] == [1] * (layers * modules)
    assert distinct([own.masks[0] for own in every]) == layers * modules
    # The next pass draws others.
    before = [own.masks[0] for own in every]
    for own in every:
        own.masks.clear()
    loss(net(x)).backward()
    assert [distinct(own.masks) for own in every] == [1] * (layers * modules)
    assert not any(torch.equal(a, own.masks[0]) for a, own in zip(before, every, strict=True))


@pytest.mark.parametrize("mode", AGAIN)
@pytest.mark.parametrize("drop", [nn.Dropout(0.3), nn.AlphaDropout(0.2), nn.RReLU(), nn.Dropout(0.3, inplace=True)])
def test_random_modules_of_torch(drop, mode):
    def run(mode):
        torch.manual_seed(0)
        blocks = [nn.Sequential(nn.Linear(6, 6), drop, nn.Tanh()) for _ in range(5)]
        net = ODENet(blocks, STAGES, gradient=mode, h=0.5).double()
        torch.manual_seed(1)
        return output_and_gradients(net, batch())

    assert_same(run(mode), run("direct"), 1e-10)


@pytest.mark.parametrize("mode", AGAIN)
def test_two_passes_with_masks_of_their_own_before_one_way_back(mode):
    def run(mode):
        net = build(STAGES, mode, depth)
        x = batch(8, 6).requires_grad_()
        torch.manual_seed(1)
        first, second = net(x), net(x * 2)
        torch.manual_seed(5)
        torch.rand(3)
        gradients = torch.autograd.grad(loss(first) + 3 * loss(second), [x, *net.parameters()], retain_graph=True)
        twice = torch.autograd.grad(loss(first) + 3 * loss(second), [x, *net.parameters()])
        assert all(torch.equal(a, b) for a, b in zip(gradients, twice, strict=True))
        return first, second, *gradients

    assert_same(run(mode), run("direct"), 1e-10)


# --------------------------------------------------------------------------------------- in-place blocks


class Inplace(nn.Module):
    """A block that writes into its input or into its own values, or (``fresh``) does the same out of place."""

    def __init__(self, where, fresh):
        super().__init__()
        self.linear, self.where, self.fresh = nn.Linear(6, 6), where, fresh
        self.relu = nn.ReLU(inplace=not fresh)

    def forward(self, x):
        if self.where == "first":
            return self.linear(self.relu(x))
        if self.where == "middle":
            return torch.tanh(self.relu(self.linear(x)))
        if self.where == "last":
            return self.relu(self.linear(x))
        if self.where == "relu_":
            return self.linear(x.relu() if self.fresh else x.relu_())
        if self.where == "mul_":
            return self.linear(x * 2 if self.fresh else x.mul_(2))
        assert self.where == "all"  # it returns its very input
        return x * 0.5 if self.fresh else x.mul_(0.5)


@pytest.fixture
def fresh():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def inplace_nets(name, mode, places):
    for new in (False, True):
        torch.manual_seed(0)
        blocks = [Inplace(where, new) for where in places]
        yield ODENet(blocks, name, gradient=mode, h=0.5).double()


@pytest.mark.parametrize("where", ["first", "middle", "last", "relu_", "mul_", "all"])
@pytest.mark.parametrize(("name", "mode"), [(name, m) for name in (LEARNED, SLOPE, STAGES) for m in MODES])
def test_blocks_that_write_in_place(name, mode, where):
    x = batch()
    net, expected = inplace_nets(name, mode, 4 * [where])
    options = {"allow_unused": where == "all", "materialize_grads": where == "all"}
    for _ in range(2):  # the first call finds out
        assert_same(output_and_gradients(net, x, **options), output_and_gradients(expected, x, **options), 1e-10)


@pytest.mark.usefixtures("fresh")
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize(("name", "mode"), [(LEARNED, "reversible"), (LEARNED, "checkpoint"), (STAGES, "direct")])
def test_blocks_that_write_in_place_compiled(name, mode):
    x = batch()
    net, expected = inplace_nets(name, mode, ["first", "middle", "last", "relu_", "mul_"])
    call = torch.compile(net, fullgraph=True, backend="aot_eager")
    assert_same(output_and_gradients(net, x, call), output_and_gradients(expected, x), 1e-10)
