"""ODENet against loops written by hand."""

import copy
import math
import pickle

import pytest
import sympy
import torch
from helpers import count, residuals
from torch import nn

import odenets
from odenets import FieldError, ODENet, SchemeError, TimeField, multistep, runge_kutta, schemes
from odenets.net import default_starter

DTYPES = [torch.float32, torch.float64]
LAYERS = 6


def value_and_gradients(function, x, parameters):
    x = x.clone().requires_grad_()
    y = function(x)
    return [y, *torch.autograd.grad((y * torch.arange(y.numel(), dtype=y.dtype).view_as(y)).sum(), [x, *parameters])]


# Each loop is the formula of its source, with the plain residual step of Lu et al. (2018) first
# where the scheme needs history.


def euler_loop(fs, u, h, ks):
    for f in fs:
        u = u + f(u) if h == 1 else torch.add(u, f(u), alpha=h)
    return u


def midpoint_loop(fs, u, h, ks):
    for f in fs:
        u = u + h * f(u + h / 2 * f(u))
    return u


def heun_loop(fs, u, h, ks):
    for f in fs:
        slope = f(u)
        u = u + h / 2 * (slope + f(u + h * slope))
    return u


def kutta3_loop(fs, u, h, ks):
    for f in fs:
        k1 = f(u)
        k2 = f(u + h / 2 * k1)
        k3 = f(u - h * k1 + 2 * h * k2)
        u = u + h / 6 * (k1 + 4 * k2 + k3)
    return u


def rk4_loop(fs, u, h, ks):
    for f in fs:
        k1 = f(u)
        k2 = f(u + h / 2 * k1)
        k3 = f(u + h / 2 * k2)
        k4 = f(u + h * k3)
        u = u + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return u


def ab2_loop(fs, u, h, ks):
    before = fs[0](u)
    u = u + h * before
    for f in fs[1:]:
        now = f(u)
        u, before = u + h * (1.5 * now - 0.5 * before), now
    return u


def ab3_loop(fs, u, h, ks):
    slopes = []
    for f in fs:
        slopes.append(f(u))
        past = (slopes[-1], slopes[-1], slopes[-1]) if len(slopes) < 3 else slopes[-3:]
        u = u + h / 12 * (23 * past[2] - 16 * past[1] + 5 * past[0])
    return u


def leapfrog_loop(fs, u, h, ks):
    u, before = u + h * fs[0](u), u
    for f in fs[1:]:
        u, before = before + 2 * h * f(u), u
    return u


def zerosnet_loop(fs, u, h, ks):
    past = [u]
    for n, f in enumerate(fs):
        if n < 2:
            past.append(past[-1] + h * f(past[-1]))
        else:
            past.append((3 * past[-1] + 5 * past[-2] + past[-3] + 16 * h * f(past[-1])) / 9)
    return past[-1]


def lm_loop(fs, u, h, ks):
    u, before = torch.add(u, fs[0](u), alpha=h), u
    for f, k in zip(fs[1:], ks, strict=True):
        u, before = torch.add(torch.lerp(u, before, k), f(u), alpha=h), u
    return u


def momentum_loop(fs, x, h, ks):
    v = torch.zeros_like(x)
    for f in fs:
        v = 0.9 * v + 0.1 * f(x)
        x = x + h * v
    return x


LOOPS = {name.removesuffix("_loop"): loop for name, loop in list(globals().items()) if name.endswith("_loop")}


def test_every_scheme_has_a_loop():
    assert set(LOOPS) == set(schemes)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("h", [1.0, 0.3])
@pytest.mark.parametrize("name", schemes)
def test_equals_the_loop_forward_and_gradients(name, h, dtype):
    blocks = residuals(LAYERS, dtype=dtype)
    net = ODENet(blocks, name, h=h)
    x = torch.randn(4, 5, dtype=dtype)
    ks = list(net.coefficients.parameters())
    parameters = [p for block in blocks for p in block.parameters()] + ks
    found = value_and_gradients(net, x, parameters)
    expected = value_and_gradients(lambda u: LOOPS[name](blocks, u, h, ks), x, parameters)
    tolerance = 200 * torch.finfo(dtype).eps
    for a, b in zip(found, expected, strict=True):
        if name == "euler":
            assert torch.equal(a, b)
        assert torch.allclose(a, b, rtol=tolerance, atol=tolerance * b.abs().max().item())


def test_euler_is_bit_equal_on_images():
    torch.manual_seed(1)
    blocks = [nn.Sequential(nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1)) for _ in range(4)]
    net = ODENet(blocks, "euler")
    x = torch.randn(3, 8, 6, 6)
    parameters = list(net.parameters())
    for a, b in zip(
        value_and_gradients(net, x, parameters),
        value_and_gradients(lambda u: euler_loop(blocks, u, 1, []), x, parameters),
        strict=True,
    ):
        assert torch.equal(a, b)


# Tensor operations a step of the shortest form we could write by hand, f's own not counted.
# rk4, kutta3, heun: one fused multiply-add per nonzero coefficient; momentum: lerp and add.
SHORTEST = {"euler": 1, "midpoint": 2, "heun": 3, "kutta3": 6, "rk4": 7}
SHORTEST |= {"ab2": 2, "ab3": 3, "leapfrog": 1, "zerosnet": 4, "lm": 2, "momentum": 2}


@pytest.mark.parametrize("h", [1.0, 0.3])
@pytest.mark.parametrize("name", schemes)
def test_no_more_operations_than_by_hand(name, h):
    u = torch.randn(4, 5)
    fs = [nn.Tanh()] * 12  # one operation an evaluation
    longer, shorter = ODENet(fs, name, h=h), ODENet(fs[:-1], name, h=h)
    a_step = count(longer, u) - count(shorter, u)
    assert a_step - schemes[name].stages == SHORTEST[name]


@pytest.mark.parametrize("name", ["euler", "lm"])
def test_whole_network_takes_as_many_operations_as_its_loop(name):
    fs = [nn.Tanh()] * LAYERS
    net = ODENet(fs, name)
    u = torch.randn(4, 5)
    ks = list(net.coefficients.parameters())
    assert count(net, u) == count(lambda x: LOOPS[name](fs, x, 1, ks), u)


@pytest.mark.parametrize("name", schemes)
def test_gradcheck(name):
    net = ODENet(residuals(4, width=3), name)
    x = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    parameters = list(net.parameters())
    assert torch.autograd.gradcheck(lambda x, *_: net(x), (x, *parameters))


@pytest.mark.parametrize("name", schemes)
def test_neither_input_nor_parameters_are_written_to(name):
    net = ODENet(residuals(LAYERS), name)
    x = torch.randn(4, 5, dtype=torch.float64)
    before = x.clone(), copy.deepcopy(net.state_dict())
    first = net(x)
    assert torch.equal(x, before[0])
    assert all(torch.equal(a, before[1][key]) for key, a in net.state_dict().items())
    assert torch.equal(net(x), first)


def test_a_function_may_return_its_input_or_the_same_tensor_twice():
    # Were a row summed in place into f's output, the second use would be wrong.
    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.value = torch.ones(3)

        def forward(self, x):
            return self.value

    blocks = [Constant() for _ in range(4)]
    for name in schemes:
        ODENet(blocks, name)(torch.zeros(3))
        assert all(torch.equal(block.value, torch.ones(3)) for block in blocks)
    torch.testing.assert_close(ODENet([nn.Identity()] * 3, "rk4")(torch.ones(1)), torch.full((1,), (65 / 24) ** 3))


# ------------------------------------------------------------------------- learnable coefficients


def test_one_parameter_per_symbol_and_layer_drawn_as_the_paper_does():
    torch.manual_seed(0)
    net = ODENet(residuals(200), "lm")
    ks = torch.stack(list(net.coefficients.parameters()))
    assert ks.shape == (199,)
    assert ks.min() >= -0.1
    assert ks.max() <= 0
    assert ks.mean().item() == pytest.approx(-0.05, abs=0.01)
    assert ks.std().item() == pytest.approx(0.1 / math.sqrt(12), abs=0.005)
    assert net.coefficients_at(0) == {}
    assert list(net.coefficients_at(3)) == ["k"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_coefficients_take_the_blocks_dtype(dtype):
    net = ODENet(residuals(3, dtype=dtype), "lm")
    assert {p.dtype for p in net.coefficients.parameters()} == {dtype}
    assert net(torch.randn(2, 5, dtype=dtype)).dtype == dtype


def test_one_coefficient_per_channel():
    blocks = [nn.Conv2d(4, 4, 3, padding=1, dtype=torch.float64) for _ in range(3)]
    net = ODENet(blocks, "lm", coefficient_shape=(4, 1, 1))
    ks = [net.coefficients_at(n)["k"] for n in (1, 2)]
    assert [k.shape for k in ks] == [(4, 1, 1)] * 2
    x = torch.randn(2, 4, 5, 5, dtype=torch.float64)
    u, before = x + blocks[0](x), x
    for f, k in zip(blocks[1:], ks, strict=True):
        u, before = (1 - k) * u + k * before + f(u), u
    torch.testing.assert_close(net(x), u)


def test_an_expression_in_several_symbols():
    # A consistent two-step family: a = [1 - p q, p q], b = [1 + p q], whatever p and q are.
    p, q = sympy.symbols("p q", real=True)
    scheme = multistep("family", a=[1 - p * q, p * q], b=[1 + p * q], init={"p": (0.2, 0.2), "q": (0.5, 0.5)})
    assert scheme.order == 1
    fs = residuals(4)
    net = ODENet(fs, scheme)
    assert {name for name, _ in net.coefficients.named_parameters()} == {f"{s}_{n}" for s in "pq" for n in (1, 2, 3)}
    x = torch.randn(2, 5, dtype=torch.float64)
    u, before = x + fs[0](x), x
    for f in fs[1:]:
        u, before = 0.9 * u + 0.1 * before + 1.1 * f(u), u
    torch.testing.assert_close(net(x), u)
    net(x).sum().backward()
    assert all(parameter.grad is not None for parameter in net.coefficients.parameters())


def test_parameter_groups_exempt_the_coefficients_from_decay():
    net = ODENet(residuals(4), "lm")
    groups = odenets.parameter_groups(net, weight_decay=1e-2)
    assert [group["weight_decay"] for group in groups] == [1e-2, 0.0]
    assert {id(p) for p in groups[1]["params"]} == {id(p) for p in net.coefficients.parameters()}
    assert sum(len(group["params"]) for group in groups) == len(list(net.parameters()))
    assert len(odenets.parameter_groups(ODENet(residuals(2), "rk4"), 1e-2)) == 1
    # With all gradients zero only the decayed parameters move.
    before = [p.detach().clone() for p in net.coefficients.parameters()]
    (net(torch.randn(2, 5, dtype=torch.float64)) * 0).sum().backward()
    torch.optim.SGD(groups, lr=1.0).step()
    assert all(torch.equal(a, b) for a, b in zip(before, net.coefficients.parameters(), strict=True))


def test_lm_at_k_zero_is_euler():
    blocks = residuals(LAYERS)
    net = ODENet(blocks, "lm")
    for p in net.coefficients.parameters():
        nn.init.zeros_(p)
    x = torch.randn(4, 5, dtype=torch.float64)
    assert torch.equal(net(x), ODENet(blocks, "euler")(x))


# -------------------------------------------------------------------------------- modules, state


@pytest.mark.parametrize("name", schemes)
def test_deepcopy_pickle_and_state_dict(name):
    net = ODENet(residuals(LAYERS), name)
    x = torch.randn(4, 5, dtype=torch.float64)
    other = ODENet(residuals(LAYERS, seed=9), name)
    other.load_state_dict(net.state_dict())
    for again in (copy.deepcopy(net), pickle.loads(pickle.dumps(net)), other):
        assert torch.equal(again(x), net(x))


def test_autocast_to_bfloat16():
    net = ODENet(residuals(LAYERS, dtype=torch.float32), "lm")
    momentum = ODENet(residuals(LAYERS, dtype=torch.float32), "momentum")
    x = torch.randn(4, 5)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.allclose(net(x), net(x), atol=0)
        y, z = net(x.bfloat16()), momentum(x)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), net(x), rtol=0.1, atol=0.1)
    torch.testing.assert_close(z.float(), momentum(x), rtol=0.1, atol=0.1)


@pytest.mark.parametrize("name", schemes)
def test_batchnorm_statistics_are_updated_once_a_step(name):
    blocks = [nn.Sequential(nn.BatchNorm1d(5), nn.Linear(5, 5)) for _ in range(3)]
    net = ODENet(blocks, name)
    x = torch.randn(16, 5)
    net.train()(x)
    assert [block[0].num_batches_tracked.item() for block in blocks] == [1, 1, 1]
    counts = [value for key, value in net.state_dict().items() if "num_batches_tracked" in key]
    assert len(counts) == net.evaluations  # a set per stage
    assert all(count == 1 for count in counts)
    # the first stage's are the module's own: those of u_0 itself
    torch.testing.assert_close(blocks[0][0].running_mean, 0.1 * x.mean(0))


@pytest.mark.parametrize("name", schemes)
def test_evaluation_sees_what_training_saw(name):
    # With momentum 1 the running statistics are those of the last batch (but for n/(n-1) in the
    # variance), so that batch must come out the same in evaluation, whatever the number of stages.
    blocks = [nn.Sequential(nn.Linear(5, 5), nn.BatchNorm1d(5, momentum=1.0), nn.Tanh()) for _ in range(4)]
    net = ODENet(blocks, name).double()
    x = torch.randn(50_000, 5, dtype=torch.float64)
    trained = net.train()(x)
    torch.testing.assert_close(net.eval()(x), trained, rtol=1e-3, atol=1e-3)


def test_evaluations_and_text():
    assert ODENet(residuals(5), "rk4").evaluations == 20
    assert ODENet(residuals(5), "ab3").evaluations == 5
    assert ODENet(residuals(5), "ab3", start="rk4").evaluations == 2 * 4 + 3
    assert "scheme=lm, steps=5, h=1" in repr(ODENet(residuals(5), "lm"))


def test_stages_that_nothing_needs_are_not_evaluated():
    # First-same-as-last with an embedded estimate: the last stage serves the estimate only.
    bosh3 = runge_kutta(
        "bosh3",
        A=[[0, 0, 0, 0], ["1/2", 0, 0, 0], [0, "3/4", 0, 0], ["2/9", "1/3", "4/9", 0]],
        b=["2/9", "1/3", "4/9", 0],
    )
    assert ODENet(residuals(1), bosh3).evaluations == 3
    assert bosh3.order == 3


def test_starters():
    layers, time = ODENet(residuals(4), "ab3").field, TimeField(lambda t, u: u, 0, 1, 4)
    assert default_starter(schemes["ab3"], layers).name == "euler"
    assert default_starter(schemes["ab3"], time).order == 2
    x = torch.randn(3, 5, dtype=torch.float64)
    blocks = residuals(1)
    assert torch.equal(ODENet(blocks, "lm", start="rk4")(x), ODENet(blocks, "rk4")(x))


# ------------------------------------------------------------------------------------- bad input


class Widens(nn.Module):
    def forward(self, x):
        return torch.cat([x, x], -1)


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: ODENet([], "euler"), FieldError, "empty"),
        (lambda: ODENet(nn.Tanh(), "euler"), FieldError, "list with one"),
        (lambda: ODENet([torch.tanh], "euler"), FieldError, "expected nn.Modules"),
        (lambda: ODENet(residuals(2), "eulr"), odenets.UnknownSchemeError, "did you mean 'euler'"),
        (lambda: ODENet(residuals(2), "euler", h=0), SchemeError, "step size"),
        (lambda: ODENet(residuals(2), "euler", h=math.nan), SchemeError, "step size"),
        (lambda: ODENet(residuals(2), runge_kutta("be", [[1]], [1])), None, "diagonally implicit"),
        (lambda: ODENet(residuals(2), "lm", coefficient_shape=4), FieldError, "coefficient_shape"),
        (lambda: ODENet(residuals(2), "lm", coefficient_shape=(0,)), FieldError, "coefficient_shape"),
        (lambda: ODENet(residuals(2), "lm", start="lm"), SchemeError, "one-step scheme"),
        (lambda: ODENet(residuals(2), "euler", steps=3), TypeError, "steps"),
        (lambda: TimeField(3, 0, 1, 4), FieldError, "callable"),
        (lambda: TimeField(torch.add, 0, 1, 0), FieldError, "at least 1"),
        (lambda: TimeField(torch.add, 0, 1, 2.5), FieldError, "at least 1"),
        (lambda: TimeField(torch.add, 1, 1, 4), FieldError, "different finite times"),
        (lambda: TimeField(torch.add, 0, math.inf, 4), FieldError, "different finite times"),
        (lambda: ODENet(TimeField(torch.add, 0, 1, 4), "euler", h=0.1), FieldError, "its step size is"),
        (lambda: ODENet(TimeField(torch.add, 0, 1, 4), "euler", shortcut=nn.Tanh()), FieldError, "shortcut"),
        (lambda: ODENet([nn.Tanh(), Widens()], "rk4")(torch.ones(2, 3)), FieldError, r"layer 1: got .*\(2, 6\)"),
        (lambda: ODENet([Widens()], "lm", shortcut=nn.Tanh())(torch.ones(2, 3)), FieldError, "from its shortcut"),
        (lambda: ODENet(residuals(2), "euler")(torch.ones(2, 5, dtype=torch.int64)), FieldError, "floating-point"),
        (lambda: ODENet(residuals(2), "euler")([1.0]), FieldError, "floating-point"),
        (lambda: ODENet(residuals(2), "euler")(torch.ones(2, 5, device="meta")), FieldError, "on meta"),
    ],
)
def test_bad_input(build, error, message):
    with pytest.raises(error or SchemeError, match=message):
        build()
