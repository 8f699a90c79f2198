"""What blocks change in themselves, and what is around them: containers, threads, other passes, other writers."""

import copy

import pytest
import torch
from swap_networks import V2, Smooth, smooth_network
from torch import nn

from odenets import FieldError, set_gradient, swap_report, swap_scheme, unswap

X = torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
POINTS = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def heun(f, u):
    slope = f(u)
    return u + (slope + f(u + slope)) / 2


def rk4(f, u):
    k1 = f(u)
    k2 = f(u + k1 / 2)
    k3 = f(u + k2 / 2)
    return u + (k1 + 2 * k2 + 2 * k3 + f(u + k3)) / 6


def lm(fs, u, k):
    u, before = u + fs[0](u), u
    for f in fs[1:]:
        u, before = (1 - k) * u + k * before + f(u), u
    return u


class Remembers(nn.Module):
    """Keeps a running mean as a new tensor and one in place, a counter, an auxiliary loss, and what it has seen."""

    def __init__(self, width=6):
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("total", torch.zeros(width))
        self.register_buffer("count", torch.tensor(0))
        self.seen, self.calls = [], 0

    def branch(self, x):
        return torch.tanh(self.linear(x))

    def forward(self, x):
        h = self.branch(x)
        self.mean = 0.9 * self.mean + 0.1 * h.detach().mean(0)
        self.total.add_(x.detach().sum(0))
        self.count += 1
        self.calls += 1
        self.aux = h.square().mean()
        self.seen.append(h)
        y = x + h
        self.last = y
        return y


@pytest.mark.parametrize(("name", "step"), [("euler", lambda f, u: u + f(u)), ("heun", heun), ("rk4", rk4)])
def test_what_a_block_keeps_is_of_its_first_evaluation(name, step):
    torch.manual_seed(0)
    model = nn.Sequential(*[Remembers() for _ in range(3)]).double()
    swapped, u = swap_scheme(model, name, example=X), X
    assert not model[0].seen
    assert not model[0].count
    for _ in range(2):
        found = swapped(X)
    for block, own in zip(model, swapped, strict=True):
        h, before = block.branch(u), u
        u = step(block.branch, u)
        torch.testing.assert_close(own.mean, 0.19 * h.mean(0))
        torch.testing.assert_close(own.total, 2 * before.sum(0))
        assert (int(own.count), own.calls, len(own.seen)) == (2, 2, 2)
        torch.testing.assert_close(own.seen[1], h)
        torch.testing.assert_close(own.last, u)
        block.aux = h.square().mean()
    torch.testing.assert_close(found, u)
    gradients = [
        torch.autograd.grad(y.sin().sum() + sum(b.aux for b in m), [*m.parameters()])
        for m, y in ((model, u), (swapped, found))
    ]
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)


class Normed(nn.Module):
    """A weight made anew at each call, by a power iteration that goes on in training; a norm with statistics."""

    def __init__(self):
        super().__init__()
        self.linear = nn.utils.parametrizations.spectral_norm(nn.Linear(6, 6))
        self.norm = nn.InstanceNorm1d(2, track_running_stats=True)

    def branch(self, x):
        return self.norm(self.linear(x).view(-1, 2, 3)).view(-1, 6)

    def forward(self, x):
        return x + self.branch(x)


def test_buffers_of_a_norm_or_a_parametrization_change_once():
    torch.manual_seed(0)
    model = nn.Sequential(Normed()).double().train()
    swapped, other = swap_scheme(model, "heun", example=X), copy.deepcopy(model[0])
    found, slope = swapped(X), model[0].branch(X)
    torch.testing.assert_close(unswap(swapped).state_dict(), model.state_dict())
    # The weight is that of the first evaluation at both: one power iteration a step.
    with torch.no_grad():
        weight = model[0].eval().linear.weight
    second = model[0].train().norm(((X + slope) @ weight.T + model[0].linear.bias).view(-1, 2, 3)).view(-1, 6)
    torch.testing.assert_close(found, X + (slope + second) / 2)
    assert not torch.equal(other.linear.parametrizations.weight[0]._u, model[0].linear.parametrizations.weight[0]._u)


@pytest.mark.parametrize("wrap", [nn.utils.parametrizations.weight_norm, nn.utils.parametrizations.spectral_norm])
def test_weights_that_are_made_of_others_are_weights(wrap):
    torch.manual_seed(0)
    model = nn.Sequential(Smooth(), Smooth()).double().eval()
    for block in model:
        wrap(block.linear)
    torch.testing.assert_close(swap_scheme(model, "rk4", example=X)(X), rk4(model[1].branch, rk4(model[0].branch, X)))


# ----------------------------------------------------------------------------------------- nn.Sequential and others


class Loop(nn.Module):
    """Blocks in an nn.Sequential that is not called as a whole."""

    def __init__(self, how, layers=5):
        super().__init__()
        self.how, self.blocks = how, nn.Sequential(*[Smooth() for _ in range(layers)])

    def forward(self, x):
        if self.how == "whole":
            return self.blocks(x)
        if self.how == "slices":
            return self.blocks[2:](self.blocks[:2](x))
        for i, block in enumerate(self.blocks):
            x = block(x)
            if self.how == "early exit" and i == 2:
                break
        return x


@pytest.mark.parametrize("name", ["lm", "heun", "leapfrog"])
@pytest.mark.parametrize("how", ["slices", "loop", "early exit"])
def test_an_nn_sequential_that_is_not_called_as_a_whole(how, name):
    torch.manual_seed(0)
    model = Loop("whole").double()
    swapped = swap_scheme(model, name, example=X, coefficients=0.7 if name == "lm" else None)
    whole = swapped(X)
    swapped.how = how
    if how == "early exit":
        whole = swapped.blocks[:3](X)
    assert torch.equal(swapped(X), whole)


def test_hooks_see_the_first_evaluation():
    torch.manual_seed(0)
    model = Loop("whole").double()
    swapped, seen, inner = swap_scheme(model, "heun", example=X), [], []
    for block in swapped.blocks:
        block.register_forward_hook(lambda module, args, y: seen.append((args[0], y)))
        block.linear.register_forward_hook(lambda module, args, y: inner.append(y))
    swapped(X)
    u = X
    for block, (before, after), value in zip(model.blocks, seen, inner, strict=True):
        torch.testing.assert_close(before, u)
        torch.testing.assert_close(value, block.linear(u))
        torch.testing.assert_close(after, heun(block.branch, u))
        u = heun(block.branch, u)


def test_a_gradient_that_chains_do_not_have_changes_none():
    swapped = swap_scheme(Loop("whole").double(), "leapfrog", example=X)
    for name in ("reversible", "checkpoint"):
        with pytest.raises(FieldError, match=f"got gradient={name} for somebody else's model"):
            set_gradient(swapped, name)
    assert set_gradient(swapped, "direct") == 1


class Backwards(nn.Sequential):
    """A forward of its own over its children."""

    def forward(self, x):
        for block in reversed(list(self)):
            x = block(x)
        return self[-1](x)


def test_models_that_are_sequentials_have_the_children_that_they_had():
    torch.manual_seed(0)
    model = nn.Sequential(*[Smooth() for _ in range(3)], nn.Linear(6, 2)).double()
    for name in ("lm", "heun"):
        swapped = swap_scheme(model, name, example=X, coefficients=0.5 if name == "lm" else None)
        assert [type(child) for child in swapped] == [type(child) for child in model]
        assert len(swapped) == 4
        assert swapped[-1] is list(swapped.children())[-1]
        features = nn.Sequential(*list(swapped.children())[:-1])
        assert torch.equal(swapped[-1](features(X)), swapped(X))
        expected = lm([b.branch for b in model[:3]], X, 0.5) if name == "lm" else features(X)
        torch.testing.assert_close(features(X), expected)
    other = Backwards(Smooth(), nn.Linear(6, 6), Smooth()).double()
    found = swap_scheme(other, "euler", example=X)
    assert [chain.blocks for chain in swap_report(found).chains] == [("2",), ("0", "2")]
    assert torch.equal(found(X), other(X))


def test_batch_norms_alone_have_children_more():
    model = smooth_network(3, block=V2).train()
    swapped = swap_scheme(model, "heun", example=POINTS)
    for name, module in model.named_modules():
        more = dict(swapped.get_submodule(name).named_children()).keys() - dict(module.named_children()).keys()
        assert bool(more) == isinstance(module, nn.BatchNorm1d)
    own = {key: value.clone() for key, value in swapped.state_dict().items() if "odenets" in key}
    swapped(POINTS)
    assert any(not torch.equal(value, swapped.state_dict()[key]) for key, value in own.items())
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(swapped)).eval()
    torch.testing.assert_close(converted.state_dict(), swapped.state_dict())


# -------------------------------------------------------------------------------------------- writes and other paths


class Writes(nn.Module):
    """Writes into what it returns, by a call that returns nothing; or to a view of it; or by out=."""

    def __init__(self, how):
        super().__init__()
        self.linear, self.how = nn.Linear(6, 6), how

    def branch(self, x):
        return torch.tanh(self.linear(x))

    def after(self, y):
        if self.how == "item":
            y[:, 0] = 1
        elif self.how == "view":
            y[:, 1].fill_(2)
        else:
            torch.relu_(y)
        return y

    def forward(self, x):
        return self.after(x + self.branch(x))


@pytest.mark.parametrize("how", ["item", "view", "relu"])
def test_a_write_to_the_sum_is_an_activation(how):
    torch.manual_seed(0)
    model = nn.Sequential(Writes(how), Writes(how)).double()
    swapped = swap_scheme(model, "heun", example=X)
    assert swap_report(swapped).chains[0].activation
    assert torch.equal(swap_scheme(model, "euler", example=X)(X), model(X))
    u = X
    for block in model:
        u = block.after(heun(block.branch, u))
    torch.testing.assert_close(swapped(X), u)
    with pytest.raises(FieldError, match="follows its sum, and post_activation='refuse'"):
        swap_scheme(model, "heun", example=X, post_activation="refuse")


class Sums(nn.Module):
    """Sums in a loop; more or fewer of them in training; or a write into the state before its sum."""

    def __init__(self, training):
        super().__init__()
        self.linears, self.more = nn.ModuleList(nn.Linear(6, 6) for _ in range(3)), training

    def forward(self, x):
        for linear in self.linears[: self.more if self.training else 2]:
            x = x + linear(x)
        return x


@pytest.mark.parametrize("name", ["in_resnet", "heun", "lm"])
@pytest.mark.parametrize(
    ("sums", "error"), [(3, "once more than at the example, after 2 sums"), (1, "without the sum")]
)
def test_other_sums_than_at_the_example_are_found_out(sums, error, name):
    swapped = swap_scheme(nn.Sequential(Sums(sums), Sums(sums)).double(), name, example=X)
    swapped.eval()(X)
    with pytest.raises(FieldError, match=error):
        swapped.train()(X)


@pytest.mark.parametrize("sums", [1, 2, 3])
def test_under_euler_other_sums_are_those_of_the_original(sums):
    model = nn.Sequential(Sums(sums), Sums(sums)).double()
    assert torch.equal(swap_scheme(model, "euler", example=X).train()(X), model.train()(X))


class WritesFirst(Smooth):
    def forward(self, x):
        y = self.branch(x)
        if self.training:
            x.mul_(2)
        return x + y


def test_a_write_into_the_state_before_its_sum_is_found_out():
    model = nn.Sequential(WritesFirst()).double()
    assert torch.equal(swap_scheme(model, "euler", example=X).train()(X.clone()), model(X.clone()))
    with pytest.raises(FieldError, match="got a state that was written to after what is added"):
        swap_scheme(model, "heun", example=X).train()(X.clone())


class Overwrites(nn.Module):
    """Keeps the state before the last and writes to it."""

    def __init__(self):
        super().__init__()
        self.blocks, self.write = nn.ModuleList(Smooth() for _ in range(3)), False

    def forward(self, x):
        states = [x]
        for block in self.blocks:
            states.append(block(states[-1]))
            if self.write and len(states) == 3:
                states[1].zero_()
        return states[-1]


def test_a_write_to_what_the_scheme_goes_on_from_is_found_out():
    for name in ("lm", "lm3"):
        swapped = swap_scheme(Overwrites().double(), name, example=X)
        swapped(X)
        swapped.write = True
        with torch.no_grad(), pytest.raises(FieldError, match=f"one before it that {name} goes on from"):
            swapped(X)


class Precise(nn.Module):
    """The sum in full precision, the branch under the autocast around it."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def branch(self, x):
        return torch.tanh(self.linear(x)).float()

    def forward(self, x):
        h = self.branch(x)
        with torch.autocast("cpu", enabled=False):
            return x + h


def test_further_evaluations_have_the_precision_of_the_first():
    torch.manual_seed(0)
    model, x = nn.Sequential(Precise()), X.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, expected = swap_scheme(model, "heun", example=x)(x), heun(model[0].branch, x)
    assert torch.equal(found, expected)
    assert not torch.allclose(found, heun(model[0].branch, x), rtol=0, atol=1e-6)
