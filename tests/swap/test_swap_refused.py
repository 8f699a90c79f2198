"""Branches whose calls are hard to record or to make again: each is right, or an error that names it."""

from contextlib import suppress

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from odenets import FieldError, swap_report, swap_scheme

X = torch.randn(4, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


class Tripled(torch.autograd.Function):
    """tanh with a gradient that autograd would not find."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.tanh()

    @staticmethod
    def backward(ctx, bar):
        (x,) = ctx.saved_tensors
        return 3 * bar * (1 - x.tanh() ** 2)


class Numpy(torch.autograd.Function):
    """tanh by numpy, whose calls no mode sees."""

    @staticmethod
    def forward(ctx, x):
        y = torch.from_numpy(np.tanh(x.detach().numpy()))
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, bar):
        (y,) = ctx.saved_tensors
        return bar * (1 - y**2)


@torch.jit.script
def scripted(x):
    return torch.tanh(x)


@torch.library.custom_op("odenets_tests::tanh", mutates_args=())
def custom(x: torch.Tensor) -> torch.Tensor:
    return torch.tanh(x)


custom.register_autograd(
    lambda ctx, bar: bar * (1 - ctx.saved_tensors[0] ** 2),
    setup_context=lambda ctx, inputs, output: ctx.save_for_backward(output),
)


class Model(nn.Module):
    """Two steps x + b(g(a(x))), all of the same weights."""

    def __init__(self, g, **held):
        super().__init__()
        self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)
        self.register_buffer("kept", torch.zeros(8))
        self.seen, self.g = [], g

    def branch(self, x):
        return self.b(self.g(self, self.a(x)))

    def forward(self, x):
        for _ in range(2):
            x = x + self.branch(x)
        return x


def heun(f, u):
    for _ in range(2):
        slope = f(u)
        u = u + (slope + f(u + slope)) / 2
    return u


def statistic(self, x):
    self.kept.add_(x.detach().mean(0))
    return torch.tanh(x)


def listed(self, x):
    self.seen.append(x)
    return torch.tanh(self.seen[-1])


def without_gradient(self, x):
    with torch.no_grad():
        size = x.norm(dim=1, keepdim=True) + 1
    return x / size


def precise(self, x):
    with torch.autocast("cpu", torch.bfloat16):
        y = x.float() @ torch.eye(8)
    return y.double()


def made(self, x):
    new = torch.empty_like(x)
    new[:, :4], new[:, 4:] = x[:, 4:], x[:, :4]
    return new


RIGHT = {
    "autograd_function": lambda self, x: Tripled.apply(x),
    "numpy_function": lambda self, x: Numpy.apply(x),
    "custom_operator": lambda self, x: custom(x),
    "operator": lambda self, x: torch.ops.aten.tanh.default(x),
    "statistic": statistic,
    "list": listed,
    "without_gradient": without_gradient,
    "autocast": precise,
    "empty_like": made,
    "checkpoint": lambda self, x: checkpoint(torch.tanh, x, use_reentrant=False),
    "reentrant": lambda self, x: checkpoint(torch.tanh, x, use_reentrant=True),
    "detached": lambda self, x: torch.tanh(x.detach()) + x,
    "data": lambda self, x: torch.tanh(x.data) + x,
    "einsum": lambda self, x: torch.einsum("bi,bj->bi", x, x.tanh()),
}


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad:UserWarning")
@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("name", RIGHT)
def test_right(name, grad):
    torch.manual_seed(0)
    model = Model(RIGHT[name]).double()
    swapped = swap_scheme(model, "heun", example=X)
    with torch.set_grad_enabled(grad):
        found, expected = swapped(X), heun(model.branch, X)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    if not grad:
        return
    for one, y in ((swapped, found), (model, expected)):
        one.zero_grad()
        y.sin().sum().backward()
    for a, b in zip(swapped.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-9, atol=1e-12)


def read_buffer(self, x):
    self.kept.mul_(0.9).add_(x.detach().mean(0))
    return torch.tanh(x) + self.kept


def cached(self, x):
    self.kept.copy_(x.detach()[0])
    return torch.tanh(x) * self.kept.sum()


def row(x):
    return x.mean(0).topk(3)[1]


#: what the error says; all are found when the model runs
ERRORS = {
    "item": (lambda self, x: x * x.abs().max().item(), "a call of item that returned float"),
    "float": (lambda self, x: x * float(x.abs().max()), "that returned float"),
    "bool": (lambda self, x: x * 2 if (x - x.mean()).sum() > 1e-30 * x[0, 0] else -x, ""),
    "list": (
        lambda self, x: x * torch.tensor(x.mean(0).tolist(), dtype=x.dtype),
        "a call of tolist that returned list",
    ),
    "shape": (lambda self, x: x * x[x > 0].shape[0], "a call of __getitem__ that returned a tensor"),
    "length": (lambda self, x: x * len((x > 0).nonzero()), "a call of nonzero that returned a tensor"),
    "size": (lambda self, x: x * x.masked_select(x > 0).size(0), "a call of masked_select that returned a tensor"),
    "rows": (lambda self, x: sum((x for _ in x[x[:, 0] > 0]), x), "a call of __getitem__ that returned a tensor"),
    "parts": (lambda self, x: x * len(x[x > 0].split(2)), "a call of __getitem__ that returned a tensor"),
    "indices": (lambda self, x: torch.cat([x[x[:, 0] > 0], x[x[:, 0] <= 0]]), ""),
    "numpy_value": (lambda self, x: torch.tanh(x) * np.asarray(x.detach()).max(), "numpy|__array__"),
    "read_buffer": (read_buffer, "which reads what the branch wrote into a tensor that there was before"),
    "cached": (cached, "which reads what the branch wrote into a tensor that there was before"),
}


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("name", ERRORS)
def test_right_or_an_error_by_name(name, grad):
    torch.manual_seed(0)
    g, words = ERRORS[name]
    model = Model(g).double()
    with torch.set_grad_enabled(grad):
        assert torch.equal(swap_scheme(model, "euler", example=X)(X), model(X))
        model.kept.zero_()
        swapped = swap_scheme(model, "heun", example=X)
        if words:
            with pytest.raises(FieldError, match=f"(?s)({words}).*a scheme of one evaluation a step"):
                swapped(X)
            return
        with suppress(FieldError):
            torch.testing.assert_close(swapped(X), heun(model.branch, X), rtol=0, atol=1e-12)


UNSEEN = {
    "scripted": lambda self, x: scripted(x),
    "vmap": lambda self, x: torch.vmap(torch.tanh)(x),
    "grad": lambda self, x: torch.func.grad(lambda z: z.tanh().sum())(x),
}


@pytest.mark.parametrize("name", UNSEEN)
def test_calls_that_no_mode_sees_are_found_at_the_example(name):
    torch.manual_seed(0)
    model = Model(UNSEEN[name]).double()
    assert torch.equal(swap_scheme(model, "euler", example=X)(X), model(X))
    slopes = [model.branch(X)]
    u = X + slopes[0]
    torch.testing.assert_close(swap_scheme(model, "ab2", example=X)(X), u + 1.5 * model.branch(u) - 0.5 * slopes[0])
    with pytest.raises(FieldError, match="in a script or the like, whose calls cannot be seen"):
        swap_scheme(model, "heun", example=X)


def in_training(self, x):
    return scripted(x) if self.training else torch.tanh(x)


def test_calls_that_no_mode_sees_in_training_alone():
    torch.manual_seed(0)
    model = Model(in_training).double()
    with pytest.raises(FieldError, match="in a script or the like, whose calls cannot be seen"):
        swap_scheme(model, "heun", example=X)
    swapped = swap_scheme(model, "euler", example=X).train()
    assert torch.equal(swapped(X), model.train()(X))


class Away(nn.Module):
    """numpy between the state and the branch: nothing tells that the branch is made of it."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x):
        return x + self.linear(torch.from_numpy(np.tanh(x.detach().numpy())))


def test_a_branch_that_is_not_seen_to_be_made_of_the_state_is_no_sum():
    with pytest.raises(FieldError, match="without a residual block"):
        swap_scheme(Away().double(), "heun", example=X)


class Hidden(Away):
    """So in training alone."""

    def forward(self, x):
        y = torch.from_numpy(np.tanh(x.detach().numpy())) if self.training else torch.tanh(x)
        return x + self.linear(y)


def test_a_branch_that_is_not_seen_to_be_made_of_the_state_in_training_is_an_error():
    swapped = swap_scheme(Hidden().double(), "heun", example=X)
    swapped.eval()(X)
    with pytest.raises(FieldError, match="no recorded call that leads from the state"):
        swapped.train()(X)


class Overwritten(nn.Module):
    """A tensor that is written to after the branch has read it."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x):
        scale = torch.ones(8, dtype=x.dtype)
        with torch.no_grad():
            y = self.linear(x * scale)
            scale.mul_(2)
        return x + y


def test_a_tensor_that_is_written_to_after_it_was_read():
    model = Overwritten().double()
    assert torch.equal(swap_scheme(model, "euler", example=X)(X), model(X))
    with pytest.raises(FieldError, match="a tensor that was written to between mul, which read it, and the sum"):
        swap_scheme(model, "heun", example=X)(X)


class Views(nn.Module):
    """Writes through a view, which torch.compile does not tell."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def branch(self, x):
        h = self.linear(x)
        return torch.cat([2 * h[:, :4], h[:, 4:]], 1)

    def forward(self, x):
        h = self.linear(x)
        h[:, :4].mul_(2)
        return x + h


def test_writes_through_views_are_refused_under_compile():
    torch._dynamo.reset()
    model = Views().double()
    swapped = swap_scheme(model, "heun", example=X)
    slope = model.branch(X)
    torch.testing.assert_close(swapped(X), X + (slope + model.branch(X + slope)) / 2)
    with pytest.raises(Exception, match=r"writes through views under torch\.compile"):
        torch.compile(swapped, fullgraph=True, backend="eager")(X)
    torch._dynamo.reset()


class Dropping(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x):
        return x + F.dropout(self.linear(x), 0.5, self.training)


def test_masks_are_refused_under_compile():
    torch._dynamo.reset()
    swapped = swap_scheme(Dropping().double(), "heun", example=X).eval()
    torch.testing.assert_close(torch.compile(swapped, fullgraph=True, backend="eager")(X), swapped(X))
    torch._dynamo.reset()
    with pytest.raises(Exception, match=r"dropout, which draws random numbers under torch\.compile"):
        torch.compile(swapped.train(), fullgraph=True, backend="eager")(X)
    torch._dynamo.reset()


class Fails(Dropping):
    """In training at first."""

    fails = True

    def forward(self, x):
        if self.training and self.fails:
            raise RuntimeError("no")
        return super().forward(x)


def test_what_training_draws_is_unknown_where_the_example_failed_in_it():
    swapped = swap_scheme(Fails().double(), "heun", example=X).train()
    swapped.fails = False
    swapped(X)  # eagerly, what is drawn shows
    torch._dynamo.reset()
    with pytest.raises(Exception, match=r"failed at the example, and may draw random numbers under torch\.compile"):
        torch.compile(swapped, fullgraph=True, backend="eager")(X)
    torch._dynamo.reset()


def test_a_multistep_scheme_that_has_nothing_to_go_on_from_is_told():
    model = Dropping().double()
    with pytest.warns(UserWarning, match="ab2, which goes on from the step before, for chains of one step each"):
        swapped = swap_scheme(model, "ab2", example=X)
    assert torch.equal(swapped.eval()(X), model.eval()(X))


def test_the_report_lists_each_sum_with_its_line():
    torch.manual_seed(0)
    report = swap_report(swap_scheme(Model(RIGHT["operator"]).double(), "heun", example=X))
    assert [(one.module, one.chain, one.reason) for one in report.sums] == [("", 0, "")] * 2
    line = Model.forward.__code__.co_firstlineno + 2
    assert {(one.file, one.line) for one in report.sums} == {(__file__, line)}


def test_apply_of_functions_is_their_own_again():
    before = torch.autograd.Function.__dict__["apply"]
    swapped = swap_scheme(Model(RIGHT["autograd_function"]).double(), "heun", example=X)
    swapped(X)
    assert torch.autograd.Function.__dict__["apply"] is before


class Unpacks(nn.Module):
    """Attention's projections, taken apart by Python's unpacking, of which torch.compile shows no call."""

    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(4, 12)

    def forward(self, x):
        q, k, v = self.qkv(x).reshape(len(x), 3, 4).permute(1, 0, 2)
        return x + (q @ k.mT).softmax(-1) @ v


def test_unpacking_under_compile_is_refused_with_what_to_do():
    x = torch.randn(5, 4)
    swapped = swap_scheme(Unpacks(), "heun", example=x)
    swapped(x)
    torch._dynamo.reset()
    with pytest.raises(Exception, match=r"q, k, v = x: take x\.unbind\(0\)"):
        torch.compile(swapped, backend="eager", fullgraph=True)(x)
