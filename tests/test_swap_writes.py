"""What blocks write to, keep alive, are given and return, where a scheme evaluates them more than once or goes on."""

import dataclasses
import gc
import weakref

import pytest
import torch
from swap_networks import V2, Smooth
from torch import nn
from torch.nn.utils import prune

import odenets
from odenets import FieldError, swap_report, swap_scheme
from odenets.swap.branch import BlockCall

X = torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def heun(f, u):
    slope = f(u)
    return u + (slope + f(u + slope)) / 2


class Loop(nn.Module):
    def __init__(self, *blocks):
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


def loop(block, layers=3, **options):
    torch.manual_seed(0)
    return Loop(*[block(**options) for _ in range(layers)]).double()


# ---------------------------------------------------------------------------- writes to what a scheme goes on from


class Halves(nn.Module):
    """Writes to what it has added; between its two sums, or after the last."""

    def __init__(self, where):
        super().__init__()
        self.one, self.two, self.where = nn.Linear(6, 6), nn.Linear(6, 6), where

    def forward(self, x):
        a = self.one(x)
        u = x + a
        if self.where == "view of the branch":
            a.detach()[0].mul_(0.5)
        elif self.where == "state":
            x.zero_()
        b = self.two(u)
        u = u + b
        if self.where == "last branch":
            b.mul_(0.5)
        return u


@pytest.mark.parametrize(
    ("where", "name"), [("view of the branch", "ab2"), ("last branch", "ab2"), ("state", "lm"), ("last branch", "ab3")]
)
def test_a_write_to_what_the_scheme_carries_is_found_out(where, name):
    swapped = swap_scheme(loop(Halves, where=where), name, example=X)
    with torch.no_grad(), pytest.raises(FieldError, match=f"which {name} goes on from"):
        swapped(X.clone())


def test_a_write_to_what_is_not_needed_any_more_is_none_of_ours():
    model, u = loop(Halves, where="last branch"), X
    assert torch.equal(swap_scheme(model, "euler", example=X)(X), model(X))
    for block in model.blocks:
        u = heun(block.two, heun(block.one, u))
    torch.testing.assert_close(swap_scheme(model, "heun", example=X)(X), u)


# ------------------------------------------------------------------------------------- writes during evaluations


class Collects(nn.Module):
    """Adds to a tensor that it made before its first sum, and reads it in the branch of the second."""

    def __init__(self, only_in_training=False):
        super().__init__()
        self.one, self.two, self.only_in_training = nn.Linear(6, 6), nn.Linear(6, 6), only_in_training

    def forward(self, x):
        total = torch.zeros((), dtype=x.dtype)
        x = x + torch.tanh(self.one(x))
        if self.training or not self.only_in_training:
            total += x.mean()
        return x + torch.tanh(self.two(x)) * (1 + total)


def test_a_tensor_that_is_written_to_across_sums():
    torch.manual_seed(0)
    model = nn.Sequential(Collects(), Collects()).double()
    assert torch.equal(swap_scheme(model, "euler", example=X)(X), model(X))
    with pytest.raises(FieldError, match="it writes, after a sum, into a tensor that it made before it, and heun"):
        swap_scheme(model, "heun", example=X)
    hidden = swap_scheme(nn.Sequential(Collects(True)).double(), "heun", example=X)
    for mode in (torch.enable_grad, torch.no_grad, torch.inference_mode):
        with mode(), pytest.raises(FieldError, match="got a forward that writes, after a sum"):
            hidden.train()(X)
    hidden.eval()(X)


class Average(Smooth):
    """A running mean that is a parameter, a plain tensor, or a buffer written to behind autograd's back."""

    def __init__(self, kind):
        super().__init__()
        if kind == "parameter":
            self.mean = nn.Parameter(torch.zeros(6, dtype=torch.float64), requires_grad=False)
        elif kind == "data":
            self.register_buffer("mean", torch.zeros(6, dtype=torch.float64))
        else:
            self.mean = torch.zeros(6, dtype=torch.float64)
        self.kind, self.only_in_training = kind, False

    def forward(self, x):
        h = self.branch(x)
        if self.training or not self.only_in_training:
            (self.mean.data if self.kind == "data" else self.mean).mul_(0.9).add_(h.detach().mean(0))
        return x + h


@pytest.mark.parametrize("kind", ["parameter", "tensor"])
def test_writes_that_cannot_be_put_back_are_refused(kind):
    model = loop(Average, kind=kind)
    with pytest.raises(FieldError, match=r"forward writes into Average\.mean.*register_buffer"):
        swap_scheme(model, "euler", example=X)
    assert not model.blocks[0].mean.any()
    for block in model.blocks:
        block.only_in_training = True
    for name in ("euler", "heun"):
        swapped = swap_scheme(model, name, example=X).train()
        if name == "heun":
            with pytest.raises(FieldError, match=r"writes into Average\.mean, which it would do at each evaluation"):
                swapped(X)
        else:
            swapped(X)
            torch.testing.assert_close(swapped.blocks[0].mean, model.blocks[0].branch(X).mean(0))


def test_a_buffer_that_is_written_to_through_data_changes_once():
    model = loop(Average, kind="data")
    swapped = swap_scheme(model, "rk4", example=X)
    assert not swapped.blocks[0].mean.any()
    swapped(X)
    torch.testing.assert_close(swapped.blocks[0].mean, model.blocks[0].branch(X).mean(0))


class Tells(Smooth):
    """Adds to a tensor, and appends to a list, that it is given."""

    def forward(self, x, total=None, seen=None):
        h = self.branch(x)
        if total is not None:
            total += h.detach().sum()
        if seen is not None:
            seen.append(h)
        return x + h


def test_arguments_are_written_to_once_or_not_at_all():
    torch.manual_seed(0)
    block, total, seen = Tells().double(), X.new_zeros(()), []
    swapped = {name: swap_scheme(block, name, example=(X, total, seen)) for name in ("euler", "heun")}
    assert (float(total), seen) == (0, [])
    swapped["euler"](X, total, seen)
    torch.testing.assert_close(total, block.branch(X).sum())
    assert len(seen) == 1
    with pytest.raises(FieldError, match=r"writes into an argument, or a tensor in a container, of shape \(\)"):
        swapped["heun"](X, total)
    swapped["heun"](X, None, seen)
    assert len(seen) == 2
    with pytest.raises(FieldError, match="a forward that changes a list"):
        swap_scheme(block, "heun", example=X, gradient="checkpoint")(X, None, [])


class InPlace(nn.Module):
    """Its sum is made in what is added, which has the dtype of autocast."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x):
        h = self.linear(x)
        h += x
        return h


@pytest.mark.parametrize("mode", ["direct", "checkpoint"])
@pytest.mark.parametrize("whole", [False, True])
def test_sums_in_place_have_the_dtype_that_they_had(whole, mode):
    model, x = loop(InPlace).float(), X.float()
    model = nn.Sequential(*model.blocks) if whole else model
    swapped = swap_scheme(model, "euler", example=x, gradient=mode)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, expected = swapped(x), model(x)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, expected)


# --------------------------------------------------------------------------------------------------- kept alive


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x):
        x = x + torch.tanh(self.one(x)) / 4
        return x + torch.tanh(self.two(x)) / 4


@pytest.mark.parametrize(
    ("name", "mode"), [("heun", "direct"), ("lm", "checkpoint"), ("heun", "checkpoint"), ("backward_euler", "direct")]
)
def test_no_call_outlives_its_graph(name, mode):
    def calls():
        return {id(o) for o in gc.get_objects() if type(o) is BlockCall}

    swapped, before = swap_scheme(loop(Two), name, example=X, gradient=mode), calls()
    for _ in range(2):
        swapped(X).sum().backward()
        swapped(X)
    gc.collect()
    assert calls() <= before
    assert not odenets.net.networks(swapped)[0].history.sessions


# --------------------------------------------------------------------------------------------------- statistics


def test_statistics_of_an_original_are_those_of_all_stages():
    torch.manual_seed(0)
    trained = loop(V2, width=6)
    for _ in range(20):
        trained(3 * X + 5)
    swapped = swap_scheme(loop(V2, width=6), "heun", example=X)
    swapped.load_state_dict(trained.state_dict())
    assert torch.equal(swapped.eval()(X), swap_scheme(trained, "heun", example=X).eval()(X))


def test_a_norm_that_blocks_share_has_statistics_of_all_of_them():
    torch.manual_seed(0)
    model = loop(V2, width=6)
    for block in model.blocks:
        block.norm = model.blocks[0].norm
    swapped, other = (swap_scheme(model, "heun", example=X) for _ in range(2))
    swapped.float().double()(2 * X)
    other.load_state_dict(swapped.state_dict())
    assert torch.equal(other.eval()(X), swapped.eval()(X))


# --------------------------------------------------------------------------------------- arguments and outputs


class Broadcasts(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def branch(self, x):
        return self.linear(x.mean(0, keepdim=True))

    def forward(self, x):
        return x + self.branch(x)


@pytest.mark.parametrize("mode", ["direct", "checkpoint"])
def test_a_branch_may_broadcast_to_the_state(mode):
    model, u = loop(Broadcasts), X
    for block in model.blocks:
        u = heun(block.branch, u)
    assert torch.equal(swap_scheme(model, "euler", example=X, gradient=mode)(X), model(X))
    torch.testing.assert_close(swap_scheme(model, "heun", example=X, gradient=mode)(X), u)


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


def test_blocks_that_write_into_their_input_are_left_alone():
    with pytest.raises(FieldError, match="its sum is written into its own input"):
        swap_scheme(loop(OwnInput), "euler", example=X)


def test_lazy_modules_are_called_first():
    with pytest.raises(FieldError, match="call the model once before"):
        swap_scheme(nn.Sequential(nn.LazyLinear(6), Smooth()), "euler", example=X)


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
@pytest.mark.parametrize("mode", ["direct", "checkpoint"])
def test_weights_that_hooks_make(mode):
    model, u = loop(Smooth), X
    for block in model.blocks:
        nn.utils.weight_norm(block.linear)
        prune.random_unstructured(block.linear, "bias", 0.3)
    model(X)  # they are tensors with a graph now
    for block in model.blocks:
        u = heun(block.branch, u)
    torch.testing.assert_close(swap_scheme(model, "heun", example=X, gradient=mode)(X), u)


def test_blocks_found_in_inference_mode_are_the_same():
    class Scaled(Loop):
        def forward(self, x):
            for block in self.blocks:
                x = block(x)
                x.mul_(0.5)
            return x

    model = Scaled(Smooth(), Smooth()).double()
    with torch.inference_mode():
        report = swap_report(swap_scheme(model, "ab2", example=X.clone()))
    assert [len(chain.blocks) for chain in report.chains] == [1, 1]


@pytest.mark.parametrize("name", ["ab2", "heun", "lm"])
def test_inference_mode_counts_writes(name):
    swapped = swap_scheme(loop(Smooth), name, example=X)
    with torch.no_grad():
        expected = swapped(X)
    with torch.inference_mode():
        assert torch.equal(swapped(X.clone()), expected)
        block = swap_scheme(Tells().double(), "heun", example=X)
        with pytest.raises((FieldError, RuntimeError), match=r"writes into an argument|Inplace update to inference"):
            block(X, X.new_zeros(()))
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


def test_a_buffer_that_modules_share_is_one():
    torch.manual_seed(0)
    block = Shares().double()
    block.other.mean = block.mean
    found = swap_scheme(block, "heun", example=X)(X)
    slope = block.branch(X) + X.mean(0)
    torch.testing.assert_close(found, X + (slope + block.branch(X + slope) + (X + slope).mean(0)) / 2)


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


@pytest.mark.parametrize(("name", "mode"), [("heun", "direct"), ("euler", "checkpoint")])
def test_a_value_that_the_example_did_not_use_again_is_not_made_up(name, mode):
    torch.manual_seed(0)
    for block, args in ((Gated().double(), (X, X)), (Gated(True).double().train(), (X,))):
        swapped = swap_scheme(block, name, example=X, gradient=mode)
        swapped.eval()(X)
        with pytest.raises(FieldError, match=r"used in (mul|__mul__), after a sum, what it had computed before it"):
            swapped.train()(*args)


class Stashes(Smooth):
    """Keeps, after its sum, what it has added."""

    def forward(self, x):
        h = self.branch(x)
        x = x + h * 1.0
        self.kept = h
        return x


@pytest.mark.parametrize(("name", "mode"), [("euler", "checkpoint"), ("implicit_midpoint", "direct")])
def test_what_is_kept_after_the_sum_is_not_hollow(name, mode):
    for model in (loop(Stashes), nn.Sequential(*loop(Stashes).blocks)):
        with pytest.raises(FieldError, match=r"changes Stashes\.kept"):
            swap_scheme(model, name, example=X, gradient=mode)(X)
        swapped = swap_scheme(model, "heun", example=X)
        swapped(X)
        first = next(m for m in swapped.modules() if isinstance(m, Stashes))
        torch.testing.assert_close(first.kept, first.branch(X))


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
    with torch.no_grad():
        torch.testing.assert_close(swap_scheme(block, "ab2", example=X)(X)[1], 2 * torch.sigmoid(block.two(X)))
    for where in ("stages", "project"):
        with pytest.raises(FieldError, match="into a tensor that it made before it"):
            swap_scheme(block, "heun", example=X, post_activation=where)


def test_global_hooks_see_values():
    torch.manual_seed(0)
    swapped, seen = swap_scheme(Two().double(), "heun", example=X), []
    handle = nn.modules.module.register_module_forward_hook(lambda module, args, y: seen.append(y))
    try:
        swapped(X)
    finally:
        handle.remove()
    assert len(seen) > 4
    assert all(y.abs().max() > 0 for y in seen)
