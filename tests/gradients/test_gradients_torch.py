"""The gradient modes under torch's transforms: compile, func, forward mode, higher derivatives.

The oracle is autograd's own record of the same network, or a loop over what a transform batches.
"""

from functools import cache

import pytest
import torch
from helpers import batch, layers_of, loss
from modes import (
    CASES,
    COUPLED,
    EVERY_CASE,
    FIRST,
    KIND_CASES,
    OPTIONS,
    RECOMPUTING,
    REVERSIBLE,
    SCHEMES,
    assert_same,
    layers_for,
    make,
    output_and_gradients,
)
from torch import nn
from torch._dynamo.testing import CompileCounter, CompileCounterWithBackend
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, stack_module_state, vjp, vmap

from odenets import ODENet, StochasticDepth

#: float64 gradients of recomputed and undone states, against those of recorded ones
UNDONE = 1e-10
LEARNED = next(name for name, scheme in REVERSIBLE.items() if scheme.symbols)
PARTITIONED = next(name for name, scheme in REVERSIBLE.items() if scheme.components > 1)
SEVERAL_STAGES = next(name for name, s in REVERSIBLE.items() if s.components == 1 and len(s.modules) > 1)
TWO_FUNCTIONS = next(name for name, scheme in SCHEMES.items() if scheme.components == 1 and max(scheme.modules) > 0)

# What torch itself warns of the first time it differentiates forward.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated:DeprecationWarning")


@pytest.fixture
def fresh():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def compiling(test):
    """torch.compile from the start; it makes an instance of each autograd.Function, which torch itself warns of."""
    ignored = pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
    return pytest.mark.usefixtures("fresh")(ignored(test))


def compiled(net, backend="aot_eager"):
    return torch.compile(net, fullgraph=True, backend=backend)


# ------------------------------------------------------------------------------------------- gradients


@cache
def as_recorded(name, layers=None):
    """Output and gradients by autograd's record, for ``batch()``: the oracle of every mode."""
    return output_and_gradients(make(name, layers=layers), batch())


@pytest.mark.parametrize(("name", "mode"), EVERY_CASE)
def test_gradients_are_those_of_the_recorded_network(name, mode):
    x = batch()
    found, expected = output_and_gradients(make(name, mode), x), as_recorded(name)
    assert torch.equal(found[0], expected[0])
    assert_same(found, expected, UNDONE)


@pytest.mark.parametrize("gradient", OPTIONS, ids=str)
@pytest.mark.parametrize("name", REVERSIBLE)
def test_options_change_what_is_stored_and_not_the_gradient(name, gradient):
    x = batch()
    net = make(name, gradient, layers=9)
    assert_same(output_and_gradients(net, x), as_recorded(name, 9), UNDONE)
    assert net.stored.rerun + net.stored.undone >= 9


# --------------------------------------------------------------------------------------- torch.compile


@compiling
@pytest.mark.parametrize(("name", "mode"), CASES)
def test_compiled_in_one_graph(name, mode):
    # Direct: a step with and one without starting values; undone: more than one step in a segment.
    net = make(name, mode, layers_for(name, 1 if mode == "direct" else 2))
    x = batch()
    found = output_and_gradients(net, x, compiled(net))
    assert_same(found, output_and_gradients(net, x))


@compiling
@pytest.mark.parametrize("name", [LEARNED, PARTITIONED, SEVERAL_STAGES, TWO_FUNCTIONS])
def test_checkpoints_compiled_in_one_graph(name):
    net = make(name, "checkpoint", layers_for(name, 2))
    x = batch()
    found = output_and_gradients(net, x, compiled(net))
    assert_same(found, output_and_gradients(net, x))


@compiling
@pytest.mark.parametrize("dynamic", [None, True])
@pytest.mark.parametrize(("name", "mode"), [("lm", "reversible"), ("leapfrog", "reversible"), ("rk4", "checkpoint")])
def test_compiled_for_batches_of_every_size(name, mode, dynamic):
    """One trace more for a second size, which leaves the size open, as by "direct"."""
    net, counter = make(name, mode, layers=3, h=1.0), CompileCounterWithBackend("eager")
    call = torch.compile(net, fullgraph=True, backend=counter, dynamic=dynamic)
    output_and_gradients(net, batch(4, 6))
    graphs = []
    for size in (4, 7, 3, 11):
        x = batch(size, 6)
        expected = output_and_gradients(make(name, layers=3, h=1.0), x)
        assert_same(output_and_gradients(net, x, call), expected, UNDONE)
        graphs.append(counter.frame_count)
    assert graphs == ([1, 1, 1, 1] if dynamic else [1, 2, 2, 2])


class Broken(nn.Module):
    """A block that torch.compile cannot take whole."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, u):
        y = self.linear(u)
        torch._dynamo.graph_break()
        return y.tanh()


@compiling
@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")
def test_what_has_been_measured_is_not_traced():
    """Where blocks break the graph a pass runs eagerly around them, and learns from each backward pass."""
    net, counter = ODENet([Broken() for _ in range(3)], "leapfrog", gradient="reversible"), CompileCounter()
    call, graphs = torch.compile(net, backend=counter), []
    for size in (4, 7, 3, 11, 5):
        output_and_gradients(net, batch(size, 6, dtype=torch.float32), call)
        graphs.append(counter.frame_count)
    assert net.stored.defect is not None
    assert graphs[1:] == [graphs[1]] * 4


@compiling
@pytest.mark.parametrize(("name", "mode"), [("lm", "reversible"), ("leapfrog", "reversible"), ("rk4", "checkpoint")])
def test_exported_for_batches_of_every_size(name, mode):
    net, sizes = make(name, mode, layers=3).eval(), torch.export.Dim("b", min=2, max=64)
    exported = torch.export.export(net, (batch(5, 6),), dynamic_shapes=({0: sizes},)).module()
    for size in (5, 9):
        x = batch(size, 6)
        found = output_and_gradients(net, x, exported)
        assert_same(found, output_and_gradients(make(name, layers=3), x))


# Torch's own, of the state that a compiled block is called with.
@compiling
@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")
def test_blocks_compiled_one_by_one_share_their_graphs():
    x, graphs = batch(), []
    for layers in (3, 5):
        torch._dynamo.reset()
        torch._dynamo.utils.counters.clear()
        net = make(FIRST, "reversible", layers=layers)
        expected = output_and_gradients(net, x)
        for block in net.field.layers:
            block.compile(backend="aot_eager")
        assert_same(output_and_gradients(net, x), expected)
        assert net.stored.undone > 0
        graphs.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    # At most: forward, run again, undone.
    assert graphs[0] == graphs[1] <= 3


@compiling
def test_compiled_by_inductor():
    # Learned coefficients, a starting step that is run again, steps that are undone.
    net = make(LEARNED, "reversible", layers=3)
    x = batch()
    expected = output_and_gradients(net, x)
    assert 0 < net.stored.undone < 3
    # Plain C++: to find out what vectors the machine has, torch compiles programs of its own, which takes 5 seconds.
    with torch._inductor.config.patch({"cpp.vec_isa_ok": False}):
        found = output_and_gradients(net, x, compiled(net, "inductor"))
    assert_same(found, expected)


@compiling
@pytest.mark.parametrize("mode", ["direct", "checkpoint", "reversible"])
def test_compiled_random_depth(mode):
    def build():
        torch.manual_seed(3)
        blocks = [nn.Sequential(nn.Linear(6, 6), nn.Tanh()) for _ in range(4)]
        return ODENet(StochasticDepth(blocks, [0.5] * 4), FIRST, gradient=mode).double().train()

    eager, traced = build(), build()
    call = compiled(traced)
    x = batch()
    seen = set()
    for seed in range(4):
        torch.manual_seed(seed)
        expected = output_and_gradients(eager, x)
        torch.manual_seed(seed)
        found = output_and_gradients(traced, x, call)
        assert_same(found, expected)
        seen.add(float(found[0].detach().sum()))
    assert len(seen) > 1


@compiling
@pytest.mark.parametrize(
    ("name", "mode", "training"),
    [
        (SEVERAL_STAGES, "reversible", True),
        (SEVERAL_STAGES, "checkpoint", True),
        (LEARNED, "reversible", True),
        (LEARNED, "reversible", False),
    ],
)
def test_compiled_batchnorm_updates_its_statistics(name, mode, training):
    def build():
        torch.manual_seed(3)
        blocks = layers_of(
            SCHEMES[name], 2, lambda: nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 6), nn.Tanh()).double()
        )
        return ODENet(blocks, SCHEMES[name], gradient=mode, h=0.5).train(training)

    eager, traced = build(), build()
    x = batch(8, 6)
    assert_same(output_and_gradients(traced, x, compiled(traced)), output_and_gradients(eager, x))
    assert_same(list(traced.buffers()), list(eager.buffers()))
    assert {int(b) for key, b in eager.named_buffers() if "tracked" in key} == {int(training)}


@compiling
def test_compiled_undoing_that_misses_raises():
    # Traced before any eager pass has measured: anchors by V^-1 alone, and a function that is far from small.
    torch.manual_seed(0)
    blocks = [nn.Sequential(nn.Linear(6, 6), nn.Tanh()) for _ in range(14)]
    for block in blocks:
        nn.init.normal_(block[0].weight, std=50.0)
    net = ODENet(blocks, FIRST, gradient="reversible")
    with pytest.raises(RuntimeError, match="missed their stored state"):
        output_and_gradients(net, batch(dtype=torch.float32), compiled(net))


@compiling
@pytest.mark.parametrize("mode", ["checkpoint", "reversible"])
def test_compiled_dropout_that_would_be_drawn_again_is_refused(mode):
    net = ODENet([nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.3)) for _ in range(3)], FIRST, gradient=mode)
    # Dynamo wraps it; without fullgraph the layers are run eagerly after a graph break, which is right.
    with pytest.raises(Exception, match=r"FieldError.*Dropout that draws random numbers under torch\.compile"):
        compiled(net)(batch(dtype=torch.float32))
    torch._dynamo.reset()
    net.eval()
    x = batch(dtype=torch.float32)
    torch.testing.assert_close(compiled(net)(x), net(x), rtol=1e-6, atol=1e-6)


# ------------------------------------------------------------------------------------------ torch.func


def functional(net):
    """The network's loss as a function of parameters and input, and its parameters."""
    parameters = {key: value.detach() for key, value in net.named_parameters()}
    return (lambda p, x: loss(functional_call(net, p, (x,)))), parameters


@pytest.mark.parametrize(("name", "mode"), EVERY_CASE)
def test_grad_of_a_functional_call(name, mode):
    net, x = make(name, mode), batch()
    function, parameters = functional(net)
    by_parameters, by_x = grad(function, (0, 1))(parameters, x)
    _, x_bar, *bars = as_recorded(name)
    assert_same([by_x, *by_parameters.values()], [x_bar, *bars], UNDONE)


@pytest.mark.parametrize(("name", "mode"), KIND_CASES)
def test_gradient_of_each_sample(name, mode):
    net, xs = make(name, mode), batch(4, 3, 6)
    function, parameters = functional(net)
    found = vmap(grad(function), (None, 0))(parameters, xs)
    each = [output_and_gradients(make(name), x)[2:] for x in xs]
    assert_same(list(found.values()), [torch.stack(own) for own in zip(*each, strict=True)], UNDONE)


@pytest.mark.parametrize(("name", "mode"), KIND_CASES)
def test_an_ensemble_of_networks(name, mode):
    nets, x = [make(name, mode, seed=seed) for seed in range(3)], batch()
    parameters, _ = stack_module_state(nets)
    parameters = {key: value.detach() for key, value in parameters.items()}
    function, _ = functional(nets[0])
    found = vmap(grad(function, (0, 1)), (0, None))(parameters, x)
    each = [output_and_gradients(make(name, seed=seed), x)[1:] for seed in range(3)]
    assert_same([found[1], *found[0].values()], [torch.stack(own) for own in zip(*each, strict=True)], UNDONE)


@pytest.mark.parametrize(("name", "mode"), EVERY_CASE)
def test_forward_mode(name, mode):
    # jvp against vjp of the recorded network: <w, J v> = <J^T w, v>, for input and parameters together.
    net, x, w = make(name, mode), batch(), batch(seed=1)
    _, parameters = functional(net)
    directions = {key: batch(*(p.shape or (1,)), seed=2).reshape(p.shape) for key, p in parameters.items()}
    moved = batch(seed=3)
    y, tangent = jvp(lambda p, x: functional_call(net, p, (x,)), (parameters, x), (directions, moved))
    recorded = make(name)
    expected, pull = vjp(lambda p, x: functional_call(recorded, p, (x,)), parameters, x)
    bars, x_bar = pull(w)
    assert torch.equal(y, expected)
    product = (x_bar * moved).sum() + sum((bars[key] * directions[key]).sum() for key in bars)
    torch.testing.assert_close((tangent * w).sum(), product, rtol=UNDONE, atol=UNDONE)


@pytest.mark.parametrize(("name", "mode"), RECOMPUTING)
def test_dual_numbers(name, mode):
    def tangent(net):
        with torch.autograd.forward_ad.dual_level():
            dual = torch.autograd.forward_ad.make_dual(batch(), batch(seed=1))
            return torch.autograd.forward_ad.unpack_dual(net(dual)).tangent

    assert_same([tangent(make(name, mode))], [tangent(make(name))])


@pytest.mark.parametrize("outer", [jacfwd, jacrev])
@pytest.mark.parametrize("inner", [jacfwd, jacrev])
@pytest.mark.parametrize("mode", ["checkpoint", "reversible"])
@pytest.mark.parametrize("name", [LEARNED, PARTITIONED])
def test_hessians_by_either_mode(name, mode, inner, outer):
    net, recorded, x = make(name, mode), make(name), batch(1, 6)
    found = outer(inner(lambda x: loss(net(x))))(x)
    assert_same([found], [hessian(lambda x: loss(recorded(x)))(x)], UNDONE)


@pytest.mark.parametrize("mode", ["checkpoint", "reversible"])
def test_hessian_for_learned_coefficients(mode):
    x = batch()

    def second(net):
        function, parameters = functional(net)
        learned = {key: value for key, value in parameters.items() if key.startswith("coefficients")}
        assert learned
        found = hessian(lambda own: function(parameters | own, x))(learned)
        return [found[a][b] for a in learned for b in learned]

    assert_same(second(make(LEARNED, mode)), second(make(LEARNED)), UNDONE)


@pytest.mark.parametrize(("name", "mode"), RECOMPUTING)
def test_batched_vector_jacobian_products(name, mode):
    def rows(net):
        x = batch().requires_grad_()
        y = net(x)
        eye = torch.eye(y.numel(), dtype=y.dtype).reshape(-1, *y.shape)
        return torch.autograd.grad(y, [x, *net.parameters()], eye, is_grads_batched=True)

    assert_same(rows(make(name, mode)), rows(make(name)), UNDONE)


@pytest.mark.parametrize("randomness", ["same", "different"])
@pytest.mark.parametrize("mode", ["checkpoint", "reversible"])
def test_dropout_under_vmap(mode, randomness):
    def gradients(mode):
        torch.manual_seed(0)
        blocks = [nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Dropout(0.3)) for _ in range(4)]
        function, parameters = functional(ODENet(blocks, COUPLED, gradient=mode).double())
        torch.manual_seed(1)
        return list(vmap(grad(function), (None, 0), randomness=randomness)(parameters, batch(4, 3, 6)).values())

    assert_same(gradients(mode), gradients("direct"), UNDONE)


# ---------------------------------------------------------------------------------- higher derivatives


def second_derivatives(net, x):
    x = x.clone().requires_grad_()
    parameters = [x, *net.parameters()]
    first = torch.autograd.grad(loss(net(x)), parameters, create_graph=True)
    return torch.autograd.grad(sum(loss(g) for g in first), parameters)


@cache
def second_as_recorded(name, layers=None):
    """The same by autograd's record, for ``batch()``."""
    return second_derivatives(make(name, layers=layers), batch())


@pytest.mark.parametrize(("name", "mode"), [case for case in EVERY_CASE if case[1] != "direct"])
def test_second_derivatives(name, mode):
    assert_same(second_derivatives(make(name, mode), batch()), second_as_recorded(name), UNDONE)


@pytest.mark.parametrize("gradient", OPTIONS, ids=str)
def test_second_derivatives_with_options(gradient):
    net = make(LEARNED, gradient, layers=9)
    assert_same(second_derivatives(net, batch()), second_as_recorded(LEARNED, 9), UNDONE)


@pytest.mark.parametrize("mode", ["checkpoint", "reversible"])
def test_first_and_second_derivatives_by_differences(mode):
    net = make(LEARNED, mode, layers=3)
    parameters = {key: value.detach().requires_grad_() for key, value in net.named_parameters()}

    def function(x, *values):
        return functional_call(net, dict(zip(parameters, values, strict=True)), (x,))

    inputs = (batch(1, 6).requires_grad_(), *parameters.values())
    assert torch.autograd.gradcheck(function, inputs, check_forward_ad=True, check_batched_grad=True, fast_mode=True)
    assert torch.autograd.gradgradcheck(function, inputs, fast_mode=True)
