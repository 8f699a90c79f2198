"""What blocks write to, keep alive, are given and return, where a scheme evaluates them more than once or goes on."""

import gc

import pytest
import torch
from swap_networks import V2, Smooth
from torch import nn

import odenets
from odenets import FieldError, swap_report, swap_scheme
from odenets.swap.calls import Call
from odenets.swap.replay import Tape

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


def test_a_tensor_that_is_written_to_across_sums_and_read():
    """It would have to hold something else at each stage of the second sum."""
    torch.manual_seed(0)
    for block in (Collects().double(), Collects(True).double()):
        assert torch.equal(swap_scheme(block, "euler", example=X)(X), block(X))
        swapped = swap_scheme(block, "heun", example=X)
        for mode in (torch.enable_grad, torch.no_grad, torch.inference_mode):
            with mode(), pytest.raises(FieldError, match="got mul, which reads what the branch wrote into a tensor"):
                swapped.train()(X)


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


def test_an_example_that_would_change_a_parameter_is_refused():
    model = loop(Average, kind="parameter")
    with pytest.raises(FieldError, match=r"forward writes into blocks\.0\.mean.*register_buffer"):
        swap_scheme(model, "euler", example=X)
    for block in model.blocks:
        block.only_in_training = True
    report = str(swap_report(swap_scheme(model, "euler", example=X)))
    assert "the pass at the example failed in training" in report


@pytest.mark.parametrize("name", ["euler", "heun"])
def test_a_tensor_that_a_branch_writes_is_written_once_a_step(name):
    model = loop(Average, kind="tensor")
    swapped = swap_scheme(model, name, example=X).train()
    assert not model.blocks[0].mean.any()
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


@pytest.mark.parametrize("name", ["euler", "heun"])
def test_arguments_are_written_to_once(name):
    torch.manual_seed(0)
    block, total, seen = Tells().double(), X.new_zeros(()), []
    swapped = swap_scheme(block, name, example=(X, total, seen))
    assert (float(total), seen) == (0, [])
    swapped(X, total, seen)
    torch.testing.assert_close(total, block.branch(X).sum())
    assert len(seen) == 1
    torch.testing.assert_close(seen[0], block.branch(X))


class InPlace(nn.Module):
    """Its sum is made in what is added, which has the dtype of autocast."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x):
        h = self.linear(x)
        h += x
        return h


@pytest.mark.parametrize("name", ["euler", "lm", "heun"])
def test_sums_in_place_have_the_dtype_that_they_had(name):
    model, x = loop(InPlace).float(), X.float()
    swapped = swap_scheme(model, name, example=x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, expected = swapped(x), model(x)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, expected) == (name == "euler")


# --------------------------------------------------------------------------------------------------- kept alive


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x):
        x = x + torch.tanh(self.one(x)) / 4
        return x + torch.tanh(self.two(x)) / 4


@pytest.mark.parametrize("name", ["heun", "lm", "ab2"])
def test_no_call_outlives_its_graph(name):
    def calls():
        return {id(o) for o in gc.get_objects() if type(o) in (Call, Tape)}

    swapped, before = swap_scheme(loop(Two), name, example=X), calls()
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
