"""What swapped blocks are given, what they return and keep, and what the example did not show."""

import dataclasses
import weakref

import pytest
import torch
from swap_networks import V2, Smooth
from test_swap_writes import Loop, Two, X, heun, loop
from torch import nn
from torch.nn.utils import prune

from odenets import FieldError, swap_report, swap_scheme


class Broadcasts(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def branch(self, x):
        return self.linear(x.mean(0, keepdim=True))

    def forward(self, x):
        return x + self.branch(x)


def test_a_branch_may_broadcast_to_the_state():
    model, u = loop(Broadcasts), X
    for block in model.blocks:
        u = heun(block.branch, u)
    assert torch.equal(swap_scheme(model, "euler", example=X)(X), model(X))
    torch.testing.assert_close(swap_scheme(model, "heun", example=X)(X), u)


class Masked(Smooth):
    def forward(self, x, mask=None):
        return x + self.branch(x if mask is None else x * mask)


def test_the_state_is_known_by_its_parameter():
    torch.manual_seed(0)
    block, mask = Masked().double(), torch.rand_like(X)
    expected = heun(lambda u: block.branch(u * mask), X)
    for example in ((X, mask), {"x": X, "mask": mask}, {"mask": mask, "x": X}):
        swapped = swap_scheme(block, "heun", example=example)
        for found in (swapped(X, mask), swapped(X, mask=mask), swapped(mask=mask, x=X)):
            torch.testing.assert_close(found, expected)


@dataclasses.dataclass
class Output:
    number: int
    hidden: torch.Tensor


class Dataclass(Smooth):
    def forward(self, x):
        return Output(3, x + self.branch(x))


def test_a_block_may_return_a_dataclass():
    torch.manual_seed(0)
    block = Dataclass().double()
    torch.testing.assert_close(swap_scheme(block, "heun", example=X)(X).hidden, heun(block.branch, X))


class Frozen(Smooth):
    @torch.no_grad()
    def forward(self, x):
        return x + self.branch(x)


def test_a_block_without_gradients_is_not_one_under_activation_checkpointing():
    torch.manual_seed(0)
    model = Loop(Frozen(), Smooth()).double()
    assert torch.equal(swap_scheme(model, "euler", example=X)(X), model(X))
    found = swap_scheme(model, "heun", example=X)(X)
    torch.testing.assert_close(found, heun(model.blocks[1].branch, heun(model.blocks[0].branch, X)))
    found.sum().backward()


class OwnInput(Smooth):
    def forward(self, x):
        x += self.branch(x)
        return x


class Reused(Smooth):
    def forward(self, x):
        x.add_(self.branch(x))
        return x


@pytest.mark.parametrize("block", [OwnInput, Reused])
@pytest.mark.parametrize("name", ["euler", "heun", "lm", "ab2"])
def test_a_sum_may_be_written_into_its_state(block, name):
    """Also where that is used again, under its old name."""
    model, u, before, slope = loop(block), X, None, None
    for one in model.blocks:
        last, slope, old = slope, one.branch(u), u
        if name == "heun":
            u = heun(one.branch, u)
        elif name == "lm" and before is not None:
            u = 0.7 * u + 0.3 * before + slope
        elif name == "ab2" and last is not None:
            u = u + 1.5 * slope - 0.5 * last
        else:
            u = u + slope
        before = old
    swapped, x = swap_scheme(model, name, example=X, coefficients=0.3 if name == "lm" else None), X.clone()
    with torch.no_grad():
        found = swapped(x)
    torch.testing.assert_close(found, u)
    assert found is x  # as of the original


def test_lazy_modules_are_called_first():
    with pytest.raises(FieldError, match="call the model once before"):
        swap_scheme(nn.Sequential(nn.LazyLinear(6), Smooth()), "euler", example=X)


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
def test_weights_that_hooks_make():
    model, u = loop(Smooth), X
    for block in model.blocks:
        nn.utils.weight_norm(block.linear)
        prune.random_unstructured(block.linear, "bias", 0.3)
    model(X)  # they are tensors with a graph now
    for block in model.blocks:
        u = heun(block.branch, u)
    torch.testing.assert_close(swap_scheme(model, "heun", example=X)(X), u)


def test_blocks_found_in_inference_mode_are_the_same():
    class Scaled(Loop):
        def forward(self, x):
            for block in self.blocks:
                x = block(x)
                x.mul_(0.5)
            return x

    model = Scaled(Smooth(), Smooth()).double()
    with torch.inference_mode():
        report = swap_report(swap_scheme(model, "heun", example=X.clone()))
    assert [len(chain.blocks) for chain in report.chains] == [1, 1]


@pytest.mark.parametrize("name", ["ab2", "heun", "lm"])
def test_inference_mode_counts_writes(name):
    swapped = swap_scheme(loop(Smooth), name, example=X)
    with torch.no_grad():
        expected = swapped(X)
    with torch.inference_mode():
        assert torch.equal(swapped(X.clone()), expected)
        if name != "heun":
            u = swapped.blocks[0](X.clone())
            u.mul_(0.5)
            with pytest.raises(FieldError, match="a state that was written to"):
                swapped.blocks[1](u)


def test_statistics_that_are_assigned_are_copies():
    model = loop(V2, width=6)
    swapped = swap_scheme(model, "heun", example=X)
    swapped.load_state_dict(model.state_dict(), assign=True)
    swapped.train()(X)
    counts = [int(b) for key, b in swapped.named_buffers() if key.endswith("num_batches_tracked")]
    assert counts == [1] * 6


class Sized(Smooth):
    def forward(self, x, size):
        return x + self.branch(x).view(size)


def test_a_size_is_no_cache():
    torch.manual_seed(0)
    block = Sized().double()
    torch.testing.assert_close(swap_scheme(block, "heun", example=(X, X.shape))(X, X.shape), heun(block.branch, X))


class Shares(Smooth):
    """Two modules with one buffer, written to by the first and read by the second."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(6))
        self.other = nn.Module()
        self.other.register_buffer("mean", self.mean)

    def forward(self, x):
        self.mean.copy_(x.detach().mean(0))
        return x + (self.branch(x) + self.other.mean)


def test_a_buffer_that_a_branch_writes_and_reads_is_refused_at_further_stages():
    torch.manual_seed(0)
    block = Shares().double()
    block.other.mean = block.mean
    assert torch.equal(swap_scheme(block, "euler", example=X)(X), block(X))
    with pytest.raises(FieldError, match=r"got \w+, which reads what the branch wrote into a tensor"):
        swap_scheme(block, "heun", example=X)(X)


class Keeps(Smooth):
    """Keeps tensors with a graph, which copy.deepcopy refuses."""

    def forward(self, x):
        h = self.branch(x)
        self.seen, self.by_name = [h], {"h": (h,)}
        return x + h


def test_models_that_keep_tensors_with_a_graph_are_copied():
    model = loop(Keeps)
    model(X)
    assert torch.equal(swap_scheme(model, "euler", example=X)(X), model(X))


def test_a_block_that_is_left_out_breaks_the_history():
    swapped = swap_scheme(loop(Smooth), "lm", example=X)
    with pytest.raises(FieldError, match="no layer drop"):
        swapped.blocks[2](swapped.blocks[0](X))


class Wide(nn.Module):
    """Tells, at its second sum, whether what its first branch has computed is still there."""

    def __init__(self):
        super().__init__()
        self.alive = []
        self.up, self.down, self.two = nn.Linear(6, 60), nn.Linear(60, 6), nn.Linear(6, 6)

    def forward(self, x):
        h = torch.tanh(self.up(x))
        ref, x = weakref.ref(h), x + self.down(h)
        del h
        self.alive.append(ref() is not None)
        return x + self.two(x)


def test_what_a_branch_computes_is_not_kept_for_later_sums():
    swapped = swap_scheme(loop(Wide), "heun", example=X)
    with torch.no_grad():
        swapped(X)
    for block in swapped.blocks:
        assert block.alive == [False]


class Gated(nn.Module):
    """Two sums; given a gate, or in training, the second branch uses what the first has computed."""

    def __init__(self, training=False):
        super().__init__()
        self.one, self.two, self.in_training = nn.Linear(6, 6), nn.Linear(6, 6), training

    def forward(self, x, gate=None):
        h = torch.tanh(self.one(x))
        x = x + h
        m = torch.tanh(self.two(x))
        return x + (m if gate is None and not (self.in_training and self.training) else m * h)


@pytest.mark.parametrize("name", ["euler", "heun"])
def test_a_branch_may_use_what_one_before_it_has_computed(name):
    """Also where the example did not show it."""
    torch.manual_seed(0)
    for block, args in ((Gated().double(), (X, X)), (Gated(True).double().train(), (X,))):
        h = torch.tanh(block.one(X))
        if name == "euler":
            u = X + h
            expected = u + torch.tanh(block.two(u)) * h
        else:
            u = heun(lambda x, f=block.one: torch.tanh(f(x)), X)
            expected = heun(lambda x, f=block.two, h=h: torch.tanh(f(x)) * h, u)
        swapped = swap_scheme(block, name, example=X)
        swapped.eval()(X)
        torch.testing.assert_close(swapped.train()(*args), expected)


class Doubles(nn.Module):
    """Writes, after its sum and activation, into a tensor that it made before."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x):
        w = torch.sigmoid(self.two(x))
        u = torch.relu(x + torch.tanh(self.one(x)) * w)
        w.mul_(2)
        return u, w


def test_a_write_after_the_sum_is_done_once():
    torch.manual_seed(0)
    block = Doubles().double()
    slope = torch.tanh(block.one(X)) * torch.sigmoid(block.two(X))
    second = torch.tanh(block.one(X + slope)) * torch.sigmoid(block.two(X + slope))
    with torch.no_grad():
        u, w = swap_scheme(block, "heun", example=X)(X)
    torch.testing.assert_close(u, torch.relu(X + (slope + second) / 2))
    torch.testing.assert_close(w, 2 * torch.sigmoid(block.two(X)))


def test_global_hooks_see_values():
    torch.manual_seed(0)
    swapped, seen = swap_scheme(Two().double(), "heun", example=X), []
    handle = nn.modules.module.register_module_forward_hook(lambda module, args, y: seen.append(y))
    try:
        swapped(X)
    finally:
        handle.remove()
    assert len(seen) == 3  # two layers and the block, once each
    assert all(y.abs().max() > 0 for y in seen)


class OwnInput(nn.Module):
    """Writes its sum into the state that it is given."""

    def __init__(self):
        super().__init__()
        self.f = nn.Linear(4, 4)

    def forward(self, x):
        x += torch.tanh(self.f(0.7 * x))
        return x


@pytest.mark.parametrize("name", ["lm", "ab2", "heun"])
def test_states_made_in_inference_mode_are_written_to(name):
    model, x = nn.Sequential(*[OwnInput() for _ in range(4)]), torch.randn(3, 4)
    swapped = swap_scheme(model, name, example=x)
    with torch.no_grad():
        right = swapped(x.clone())
    with torch.inference_mode():
        assert torch.equal(swapped(x.clone()), right)
