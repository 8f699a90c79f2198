"""What blocks change in themselves, and what is around them: containers, threads, other passes, other writers."""

import copy

import pytest
import torch
from swap_networks import V2, Smooth, smooth_network
from torch import nn

from odenets import FieldError, set_gradient, swap_report, swap_scheme, unswap
from odenets.net.networks_in_model import networks

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


@pytest.mark.parametrize(("name", "mode"), [("heun", "checkpoint"), ("euler", "checkpoint"), ("trapezoid", "direct")])
def test_what_a_block_keeps_is_refused_where_it_would_be_lost(name, mode):
    model = nn.ModuleList(Remembers() for _ in range(2)).double()
    model.forward = lambda x: model[1](model[0](x))
    swapped = swap_scheme(model[0], name, example=X, gradient=mode)
    with pytest.raises(FieldError, match=r"changes Remembers\.aux.*gradient='direct'"):
        swapped(X)
    assert not swapped.seen
    assert not swapped.mean.any()
    with torch.no_grad():
        if mode == "checkpoint":
            swapped(X)
            assert len(swapped.seen) == 1


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
    # The second stage starts from what the first has left.
    torch.testing.assert_close(found, X + (slope + model[0].branch(X + slope)) / 2)
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
@pytest.mark.parametrize("how", ["whole", "slices", "loop", "early exit"])
def test_an_nn_sequential_that_is_not_called_as_a_whole(how, name):
    torch.manual_seed(0)
    model = Loop("whole").double()
    value = 0.7 if name == "lm" else None
    swapped = {m: swap_scheme(model, name, example=X, gradient=m, coefficients=value) for m in ("direct", "checkpoint")}
    found = []
    for one in swapped.values():
        one.how = how
        y = one(X)
        found.append([y, *torch.autograd.grad(y.sin().sum(), list(one.parameters()), allow_unused=True)])
    for a, b in zip(*found, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b)
    if name != "leapfrog":
        return
    undone = swap_scheme(model, name, example=X, gradient="reversible")
    undone.how = how
    if how == "whole":
        torch.testing.assert_close(undone(X), found[0][0])
    else:
        with pytest.raises(FieldError, match=r"a call of a block by itself with gradient='reversible'"):
            undone(X)


def test_hooks_on_blocks_see_their_inputs_and_outputs():
    torch.manual_seed(0)
    model = Loop("whole").double()
    outputs = []
    for mode in ("direct", "checkpoint"):
        swapped, seen = swap_scheme(model, "heun", example=X, gradient=mode), []
        for block in swapped.blocks:
            block.register_forward_hook(lambda module, args, y, seen=seen: seen.append((args[0], y)))
        swapped(X)
        outputs.append(seen)
    u = X
    for block, *pairs in zip(model.blocks, *outputs, strict=True):
        for before, after in pairs:
            torch.testing.assert_close(before, u)
            torch.testing.assert_close(after, heun(block.branch, u))
        u = heun(block.branch, u)
    swapped = swap_scheme(model, "leapfrog", example=X, gradient="reversible")
    swapped.blocks[1].register_forward_hook(lambda *_: None)
    with pytest.raises(FieldError, match="no hooks on the blocks"):
        swapped(X)


def test_the_gradient_may_be_set_later():
    torch.manual_seed(0)
    swapped = swap_scheme(Loop("whole").double(), "leapfrog", example=X)
    expected = torch.autograd.grad(swapped(X).sin().sum(), list(swapped.parameters()))
    for mode in ("reversible", "checkpoint", "direct"):
        assert set_gradient(swapped, mode) == 1
        found = torch.autograd.grad(swapped(X).sin().sum(), list(swapped.parameters()))
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b)
        assert f"gradient {mode}" in str(swap_report(swapped))


def test_a_gradient_that_one_chain_does_not_allow_changes_none():
    blocks = nn.Sequential(Smooth(), Smooth()), nn.Sequential(Writes("relu"), Writes("relu"))
    swapped = swap_scheme(nn.Sequential(blocks[0], nn.Linear(6, 6), blocks[1]).double(), "leapfrog", example=X)
    assert len(networks(swapped)) == 2
    with pytest.raises(FieldError, match=r"2\.0: got gradient=reversible.*cannot be undone"):
        set_gradient(swapped, "reversible")
    assert [str(net.gradient) for net in networks(swapped)] == [str(networks(swapped)[1].gradient)] * 2
    assert "gradient direct" in str(swap_report(swapped))


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
    assert swap_report(found).chains[0].blocks == ("0",)
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
    with pytest.raises(FieldError, match="cannot be undone"):
        swap_scheme(model, "leapfrog", example=X, gradient="reversible")


class Sums(nn.Module):
    """Sums in a loop; more or fewer of them in training; or a write into the state before its sum."""

    def __init__(self, training):
        super().__init__()
        self.linears, self.more = nn.ModuleList(nn.Linear(6, 6) for _ in range(3)), training

    def forward(self, x):
        for linear in self.linears[: self.more if self.training else 2]:
            x = x + linear(x)
        return x


@pytest.mark.parametrize(("name", "mode"), [("euler", "direct"), ("heun", "direct"), ("lm", "checkpoint")])
@pytest.mark.parametrize(
    ("sums", "error"), [(3, "once more than at the example, after 2 sums"), (1, "without the sum")]
)
def test_other_sums_than_at_the_example_are_found_out(sums, error, name, mode):
    swapped = swap_scheme(nn.Sequential(Sums(sums), Sums(sums)).double(), name, example=X, gradient=mode)
    swapped.eval()(X)
    with pytest.raises(FieldError, match=error):
        swapped.train()(X)


class WritesFirst(Smooth):
    def forward(self, x):
        y = self.branch(x)
        if self.training:
            x.mul_(2)
        return x + y


def test_a_write_into_the_state_before_its_sum_is_found_out():
    swapped = swap_scheme(nn.Sequential(WritesFirst()).double(), "euler", example=X)
    with pytest.raises(FieldError, match="wrote into its state before it added to it"):
        swapped.train()(X.clone())


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
