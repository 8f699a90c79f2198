"""ODENet as a module: what it costs, its coefficients, statistics, state and errors.

That it computes what the formulas say is in test_zoo_steps.py.
"""

import copy
import math
import pickle

import pytest
import sympy
import torch
from helpers import blocks_for, count, explicit_schemes, flat, layers_of, residuals
from loops_multistep import LOOPS as MULTISTEP
from loops_runge_kutta import LOOPS as RUNGE_KUTTA
from torch import nn

import odenets
from odenets import FieldError, ODENet, SchemeError, TimeField, multistep, schemes
from odenets.passes.starting import default_starter
from odenets.program.program import Evaluate
from odenets.scheme import families

LAYERS = 6
EXPLICIT = explicit_schemes()


def test_euler_is_bit_equal_on_images():
    torch.manual_seed(1)
    blocks = [nn.Sequential(nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1)) for _ in range(4)]
    net = ODENet(blocks, "euler")
    found, expected = torch.randn(2, 3, 8, 6, 6).unbind()
    expected = found.clone().requires_grad_()
    found = found.requires_grad_()
    for x, y in ((found, net(found)), (expected, RUNGE_KUTTA["euler"](blocks, expected, 1, None))):
        x.value, x.gradients = y, torch.autograd.grad(y.square().sum(), [x, *net.parameters()])
    assert torch.equal(found.value, expected.value)
    assert all(torch.equal(a, b) for a, b in zip(found.gradients, expected.gradients, strict=True))


# Tensor operations a step of the shortest form we could write by hand, f's own not counted: one fused
# multiply-add for each nonzero coefficient of a tableau or of a multistep formula, ...
SHORTEST = {"euler": 1, "midpoint": 2, "heun": 3, "ralston2": 3, "kutta3": 6, "heun3": 4, "ralston3": 5, "rk4": 7}
SHORTEST |= {"rk38": 10, "bosh3": 5, "fehlberg45": 14, "cash_karp": 19, "dopri5": 20, "tsit5": 21, "dop853": 58}
SHORTEST |= {"bs5": 27, "vern6": 29, "vern7": 37, "vern8": 58, "vern9": 76, "dopri8": 68, "rkf78": 54, "rkc2_6": 21}
SHORTEST |= {f"ab{k}": k for k in range(1, 7)} | {f"nystrom{k}": k for k in range(3, 6)}
SHORTEST |= {f"pece{k}": 2 * k + 1 for k in range(1, 5)} | {"nystrom2": 1, "leapfrog": 1, "zerosnet": 4}
# ... fewer where a row contains an earlier one (Shu-Osher form; ssprk104 takes 15 in Ketcheson's two registers, one of
# which is no stage), a lerp where two factors sum to 1, an addition for each flow of a splitting.
SHORTEST |= {"ssprk22": 3, "ssprk33": 5, "ssprk43": 5, "ssprk54": 11, "ssprk104": 17, "picard2": 2, "fractal2": 3}
SHORTEST |= {"rock4_8": 20}
SHORTEST |= {"momentum": 2, "alf": 3, "reversible_heun": 4, "symplectic_euler": 2, "verlet": 3, "yoshida4": 7}
SHORTEST |= {"lm": 2, "way2": 2}
STAGE_IS_SLOPE = {"poly2": 1, "mpoly2": 1, "poly3": 2}  # h f itself is evaluated at: a product more each, but for h = 1


def test_every_explicit_scheme_without_coefficients_is_counted():
    fixed = {name for name in EXPLICIT if not schemes[name].symbols}
    assert set(SHORTEST) | set(STAGE_IS_SLOPE) == fixed | {"lm"}


@pytest.mark.parametrize("h", [1.0, 0.3])
@pytest.mark.parametrize("name", [*SHORTEST, *STAGE_IS_SLOPE])
def test_no_more_operations_than_by_hand(name, h):
    u = torch.randn(4, 6)
    layers = schemes[name].starting_values + 3
    # a function of one operation
    longer, shorter = (ODENet(layers_of(name, n, nn.Tanh), name, h=h) for n in (layers, layers - 1))
    a_step = count(longer, u) - count(shorter, u) - longer.program.evaluations
    by_hand = SHORTEST.get(name) or STAGE_IS_SLOPE[name] * (1 if h == 1 else 2) + 1
    assert a_step == by_hand


@pytest.mark.parametrize("name", ["euler", "lm"])
def test_whole_network_takes_as_many_operations_as_its_loop(name):
    fs = [nn.Tanh()] * LAYERS
    net = ODENet(fs, name)
    u = torch.randn(4, 5)
    ks = [net.coefficients_at(n) for n in range(LAYERS)]
    loop = (RUNGE_KUTTA | MULTISTEP)[name]
    assert count(net, u) == count(lambda x: loop(fs, x, 1, ks), u)


@pytest.mark.parametrize("name", EXPLICIT)
def test_neither_input_nor_parameters_are_written_to(name):
    net = ODENet(blocks_for(name, LAYERS), name)
    x = torch.randn(4, 6, dtype=torch.float64)
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
            self.value = torch.ones(2, 4)

        def forward(self, x):
            return self.value[:, : x.shape[1]]

    for name in EXPLICIT:
        blocks = layers_of(name, LAYERS, Constant)
        ODENet(blocks, name)(torch.zeros(2, 4))
        assert all(torch.equal(block.value, torch.ones(2, 4)) for block in flat(blocks))
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


@pytest.mark.parametrize("name", EXPLICIT)
def test_deepcopy_pickle_and_state_dict(name):
    net = ODENet(blocks_for(name, LAYERS), name)
    x = torch.randn(4, 6, dtype=torch.float64)
    other = ODENet(blocks_for(name, LAYERS, seed=9), name)
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


def normalised(name, layers, **options):
    """Blocks with BatchNorm, on a state of width 6."""
    width = 6 // schemes[name].components
    return layers_of(
        name, layers, lambda: nn.Sequential(nn.BatchNorm1d(width, **options), nn.Linear(width, width), nn.Tanh())
    )


@pytest.mark.parametrize("name", EXPLICIT)
def test_batchnorm_statistics_are_updated_once_a_step(name):
    blocks = normalised(name, 3)
    net = ODENet(blocks, name)
    x = torch.randn(16, 6)
    net.train()(x)
    assert {block[0].num_batches_tracked.item() for block in flat(blocks)} == {1}
    counts = [value for key, value in net.state_dict().items() if "num_batches_tracked" in key]
    assert len(counts) == net.evaluations  # a set per stage
    assert all(count == 1 for count in counts)
    first = next(item for item in net.program.instructions if isinstance(item, Evaluate))
    if first.source < schemes[name].components:
        # The step's first evaluation is at u_0 itself, or at a half of it: the module's own statistics are those.
        at = x.chunk(schemes[name].components, 1)[first.source]
        own = flat(blocks[:1])[first.module][0].running_mean
        torch.testing.assert_close(own, 0.1 * at.mean(0))


# One scheme for each way in which layers are visited
VISITS = {
    (s.starting_values > 0, s.needs_slope, s.modules, s.components): name
    for name in EXPLICIT
    if len((s := schemes[name]).modules) < 7
}


@pytest.mark.parametrize("name", VISITS.values())
def test_evaluation_sees_what_training_saw(name):
    # With momentum 1 the running statistics are those of the last batch (but for n/(n-1) in the
    # variance), so that batch must come out the same in evaluation, whatever the number of stages.
    net = ODENet(normalised(name, 4, momentum=1.0), name).double()
    x = torch.randn(20_000, 6, dtype=torch.float64)
    trained = net.train()(x)
    torch.testing.assert_close(net.eval()(x), trained, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("layers", [2, 3, 6])
def test_all_history_lm(layers):
    fs = residuals(layers)
    scheme, start = families.all_history_lm(layers)
    net = ODENet(fs, scheme, start=start)
    names = [name for name, _ in net.coefficients.named_parameters()]
    assert len(names) == layers * (layers - 1) // 2  # layer n has n of them
    x = torch.randn(2, 5, dtype=torch.float64)
    past = [x]
    for n, f in enumerate(fs):
        own = net.coefficients_at(n)
        ks = [own["k" if layers == 2 else f"k{j}"] for j in range(1, n + 1)]
        older = sum(k * u for k, u in zip(ks, past[-2::-1], strict=True))
        past.append((1 - sum(ks)) * past[-1] + older + f(past[-1]))
    torch.testing.assert_close(net(x), past[-1])
    net(x).sum().backward()
    assert all(p.grad is not None for p in net.coefficients.parameters())


def test_a_batchnorm_used_twice_in_a_block_keeps_its_statistics():
    norm = nn.BatchNorm1d(5)
    net = ODENet([nn.Sequential(norm, nn.Linear(5, 5), norm)], "rk4")
    own = norm.running_mean
    for _ in range(3):
        net(torch.randn(8, 5))
    assert norm.running_mean is own
    counts = {int(value) for key, value in net.state_dict().items() if "num_batches_tracked" in key}
    assert counts == {6}


def test_update_bn_reaches_the_statistics_of_all_stages():
    torch.manual_seed(0)
    net = ODENet([nn.Sequential(nn.Linear(5, 5), nn.BatchNorm1d(5), nn.Tanh()) for _ in range(2)], "rk4")
    x = torch.randn(4000, 5)
    for _ in range(50):
        net.train()(x)
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(2)
    torch.optim.swa_utils.update_bn([x] * 5, net)
    torch.testing.assert_close(net.eval()(x), net.train()(x), rtol=1e-2, atol=1e-2)


def test_a_field_belongs_to_one_network():
    field = ODENet(residuals(2), "rk4").field
    with pytest.raises(FieldError, match="belongs to a network already"):
        ODENet(field, "euler")
    ODENet(copy.deepcopy(residuals(2)), "euler")


@pytest.mark.parametrize("h", [1.0, 0.1])
@pytest.mark.parametrize("name", EXPLICIT)
def test_a_low_precision_function_does_not_lower_the_state(name, h):
    class Half(nn.Module):
        def forward(self, x):
            return (0.1 * x).bfloat16()

    functions = max(schemes[name].modules) + 1
    net = ODENet([[Half() for _ in range(functions)]] * 3, name, h=h)
    assert net(torch.ones(2, 4)).dtype == torch.float32


@pytest.mark.parametrize("h", [1.0, 0.1])
@pytest.mark.parametrize("name", [name for name in EXPLICIT if schemes[name].symbols])
def test_vmap_over_the_coefficients(name, h):
    net = ODENet(residuals(4), name, h=h)
    x = torch.randn(2, 5, dtype=torch.float64)
    ks = {f"coefficients.{key}": torch.rand(3, dtype=torch.float64) for key, _ in net.coefficients.named_parameters()}
    found = torch.func.vmap(lambda values: torch.func.functional_call(net, values, (x,)))(ks)
    expected = [torch.func.functional_call(net, {key: v[i] for key, v in ks.items()}, (x,)) for i in range(3)]
    torch.testing.assert_close(found, torch.stack(expected))


def test_evaluations_and_text():
    assert ODENet(residuals(5), "rk4").evaluations == 20
    assert ODENet(residuals(5), "ab3").evaluations == 5
    assert ODENet(residuals(5), "ab3", start="rk4").evaluations == 2 * 4 + 3
    assert "scheme=lm, steps=5, h=1" in repr(ODENet(residuals(5), "lm"))


def test_stages_that_nothing_needs_are_not_evaluated():
    # First-same-as-last with an embedded estimate: the last stage serves the estimate only.
    assert ODENet(residuals(1), "bosh3").evaluations == 3
    assert ODENet(residuals(1), "dopri5").evaluations == 6


def test_starters():
    layers, time = ODENet(residuals(4), "ab3").field, TimeField(lambda t, u: u, 0, 1, 4)
    assert default_starter(schemes["ab3"], layers).name == "euler"
    assert default_starter(schemes["ab3"], time).order == 3
    x = torch.randn(3, 5, dtype=torch.float64)
    blocks = residuals(1)
    assert torch.equal(ODENet(blocks, "lm", start="rk4")(x), ODENet(blocks, "rk4")(x))


# ------------------------------------------------------------------------------------- bad input


K = sympy.Symbol("k", real=True)
# LM that carries k u_{n-1} instead of u_{n-1}; Adams-Bashforth 2 for u' = f + g; a node that is learned.
SCALED_LM = odenets.Scheme("scaled", [[0]], [[1, 0]], [[1], [0]], [[1 - K, 1], [K, 0]])
ADDITIVE_AB2 = odenets.Scheme(
    "additive",
    [[0, 0], [0, 0]],
    [[1, 0, 0], [1, 0, 0]],
    [["3/2", "3/2"], [1, 0], [0, 1]],
    [[1, "-1/2", "-1/2"], [0] * 3, [0] * 3],
    modules=(0, 1),
    functions=((0, 0), (0, 0)),
)
MOVING_NODE = odenets.runge_kutta("moving", [[0, 0], [K, 0]], [1 - 1 / (2 * K), 1 / (2 * K)], init={"k": (0.5, 0.5)})


def test_a_learned_node_runs_in_layers():
    (f,) = residuals(1)
    x = torch.randn(2, 5, dtype=torch.float64)
    torch.testing.assert_close(ODENet([f], MOVING_NODE)(x), x + f(x + 0.5 * f(x)))


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
        (lambda: ODENet(residuals(4), "lm3", start=[schemes["euler"]] * 2), FieldError, "of which 0 carry"),
        (lambda: ODENet(residuals(4), "lm", start=[]), FieldError, "got 0 schemes"),
        (lambda: ODENet(3, "euler"), FieldError, "got 3"),
        (lambda: ODENet(residuals(2), "euler", h="x"), FieldError, "expected a finite number"),
        (lambda: TimeField(torch.add, "a", 1, 4), FieldError, "expected a finite number"),
        (lambda: ODENet([nn.LSTM(3, 3)], "euler")(torch.ones(2, 3)), FieldError, "got an output of type tuple"),
        (
            lambda: ODENet([nn.Linear(8, 8)] * 3, "lm", coefficient_shape=(5, 1, 1))(torch.ones(2, 8)),
            FieldError,
            "expected one that broadcasts",
        ),
        (
            lambda: ODENet([nn.Linear(8, 8)] * 3, "lm", coefficient_shape=(3,))(torch.ones(2, 8)),
            FieldError,
            "expected one that broadcasts",
        ),
        (lambda: ODENet(residuals(2), SCALED_LM), SchemeError, "start from"),
        (lambda: ODENet([residuals(2)] * 3, ADDITIVE_AB2), SchemeError, "starting steps of 2 functions"),
        (lambda: ODENet(TimeField(torch.add, 0, 1, 4), MOVING_NODE)(torch.ones(1)), FieldError, "fixed times"),
        (lambda: ODENet(residuals(2), "mpoly2"), FieldError, r"got 1 module\(s\), expected 2"),
        (lambda: ODENet([residuals(2)], "euler"), FieldError, r"got 2 module\(s\), expected 1"),
        (lambda: ODENet(residuals(2), "rk4", start="eulr"), odenets.UnknownSchemeError, "did you mean 'euler'"),
        (lambda: ODENet(TimeField(torch.add, 0, 1, 4), "way2"), FieldError, "one of f"),
        (lambda: ODENet([residuals(2)], "verlet")(torch.ones(2, 5)), FieldError, "equal parts"),
        (lambda: ODENet(residuals(2), "euler", h=math.nan), FieldError, "expected a finite number"),
        (lambda: ODENet(residuals(2), "rk4", solver=odenets.Anderson()), FieldError, "which is explicit"),
        (lambda: ODENet(residuals(2), "gauss2", solver="newton"), FieldError, "expected NewtonKrylov"),
        (lambda: ODENet(residuals(2), "gauss2", gradient="reversible"), SchemeError, "undone explicitly"),
        (lambda: ODENet(residuals(2), "rk4", gradient="reversible"), SchemeError, "mccallum_foster"),
        (lambda: ODENet(residuals(2), "rk4", gradient="adjoint"), FieldError, "expected a TimeField"),
        (lambda: ODENet(residuals(2), "rk4", gradient="backprop"), FieldError, "expected one of direct"),
        (lambda: odenets.Checkpoint(states=0), FieldError, "at least 1"),
        (lambda: odenets.Reversible(tolerance=0), FieldError, "positive"),
        (lambda: odenets.Adjoint(method="rk5"), FieldError, "torchdiffeq refuses"),
        (lambda: odenets.Adjoint(rtol=-1), FieldError, "positive"),
        (lambda: ODENet(residuals(2), "mpoly2"), FieldError, "layer 0: got 1 module.* expected 2"),
        (lambda: ODENet(TimeField(torch.add, 0, 1, 4), "fractal2"), FieldError, "2 functions a step"),
        (lambda: ODENet(blocks_for("verlet", 2), "verlet")(torch.ones(2, 5)), FieldError, "2 equal parts"),
        (lambda: ODENet(residuals(2), "lm", coefficient_shape=4), FieldError, "coefficient_shape"),
        (lambda: ODENet(residuals(2), "lm", coefficient_shape=(0,)), FieldError, "coefficient_shape"),
        (lambda: ODENet(residuals(2), "lm", start="lm"), SchemeError, "one-step scheme"),
        (lambda: ODENet(residuals(2), "euler", steps=3), TypeError, "steps"),
        (lambda: TimeField(3, 0, 1, 4), FieldError, "callable"),
        (lambda: TimeField(torch.add, 0, 1, 0), FieldError, "at least 1"),
        (lambda: TimeField(torch.add, 0, 1, 2.5), FieldError, "at least 1"),
        (lambda: TimeField(torch.add, 1, 1, 4), FieldError, "different finite times"),
        (lambda: TimeField(torch.add, 0, math.inf, 4), FieldError, "expected a finite number"),
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
