"""Gradients of every scheme and mode against plain autograd, at 64 layers and at 1,000; what they store and cost.

The oracle is autograd's own record of the same steps. Blocks are smooth: with ReLU a state that
differs in its last digit flips masks, and gradients jump by 1e-4 in float32.
"""

from functools import cache

import pytest
import torch
from helpers import Residual, blocks_for, explicit_schemes
from torch import nn

from odenets import (
    Checkpoint,
    Direct,
    FieldError,
    ODENet,
    ReversalError,
    Reversible,
    SchemeError,
    TimeField,
    mccallum_foster,
    schemes,
    set_gradient,
)
from odenets.models import cifar_resnet
from odenets.zoo import as_scheme

EXPLICIT = explicit_schemes()
LAYERS = 64
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4}
REVERSIBLE = [name for name in EXPLICIT if schemes[name].reversible]
LEARNED = [name for name in REVERSIBLE if schemes[name].symbols]
ONE_STEP = [name for name in EXPLICIT if schemes[name].carried == 1 and schemes[name].V[0, 0] == 1]
COUPLED = [name for name in ONE_STEP if schemes[name].digits is None and not schemes[name].linear_only]


def gradients(net, x):
    """The output and, of a random projection of it, the gradients of input, weights and coefficients, as vectors."""
    x = x.clone().requires_grad_()
    y = net(x)
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64).to(y.dtype)
    names, parameters = zip(*net.named_parameters(), strict=True)
    found = torch.autograd.grad((y * weights).sum(), (x, *parameters))
    groups = {"input": [found[0]], "weights": [], "coefficients": []}
    for name, value in zip(names, found[1:], strict=True):
        groups["coefficients" if name.startswith("coefficients.") else "weights"].append(value.flatten())
    return y, {key: torch.cat([v.flatten() for v in values]) for key, values in groups.items() if values}


def errors(net, oracle, x):
    """Relative error of each group; the outputs must be equal to the bit."""
    return compared(gradients(net, x), gradients(oracle, x))


def compared(found, expected):
    """The same of what ``gradients`` has given."""
    (y, found), (expected_y, expected) = found, expected
    assert torch.equal(y, expected_y)
    return {key: ((found[key] - value).norm() / value.norm()).item() for key, value in expected.items()}


def pair(scheme, dtype, gradient, layers=LAYERS, h=0.1):
    """The same network with plain autograd and with ``gradient``."""
    nets = [ODENet(blocks_for(scheme, layers, 6, dtype), scheme, h=h, gradient=mode) for mode in ("direct", gradient)]
    nets[1].load_state_dict(nets[0].state_dict())
    return nets


@cache
def recorded(name, dtype):
    """Weights, output and gradients by plain autograd at 64 layers: the oracle of every gradient mode."""
    net = ODENet(blocks_for(name, LAYERS, 6, dtype), name, h=0.1)
    return net.state_dict(), gradients(net, random_state(dtype))


def random_state(dtype, width=6, samples=4):
    return torch.randn(samples, width, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("gradient", ["checkpoint", Checkpoint(states=5), "reversible"])
@pytest.mark.parametrize("name", EXPLICIT)
def test_every_scheme_at_64_layers(name, gradient, dtype):
    if gradient == "reversible" and name not in REVERSIBLE:
        with pytest.raises(SchemeError, match="checkpoint"):
            ODENet(blocks_for(name, 2), name, gradient=gradient)
        return
    weights, expected = recorded(name, dtype)
    net = ODENet(blocks_for(name, LAYERS, 6, dtype), name, h=0.1, gradient=gradient)
    net.load_state_dict(weights)
    found = compared(gradients(net, random_state(dtype)), expected)
    assert max(found.values()) < TOLERANCE[dtype]
    assert ("coefficients" in found) == bool(schemes[name].symbols)


@cache
def coupled(name):
    return mccallum_foster(schemes[name])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", COUPLED)
def test_every_one_step_scheme_by_the_reversible_coupling(name, dtype):
    scheme = coupled(name)
    assert scheme.reversible
    # Errors grow alike whatever scheme is coupled: one of them is tried at 1,000 layers, below.
    oracle, net = pair(scheme, dtype, "reversible", layers=24)
    assert max(errors(net, oracle, random_state(dtype)).values()) < TOLERANCE[dtype]
    # The weights of vern6, up to 172, cancel: in float32 undoing is seen to leave too much, and no step is undone.
    assert net.stored.undone > 0 or (name, dtype) == ("vern6", torch.float32)


# As trained (Lu et al.: a sawtooth per stage, beyond -1 in the last layers), near 0, and far from both.
PROFILES = {
    "sawtooth": [0.5 - 0.7 * (n % 21) / 20 for n in range(60)] + [-0.5, -0.9, -1.05, -1.2],
    "near 0": [1e-9 * (-3.0) ** (n % 12) for n in range(LAYERS)],
    "exactly 0": [0.0] * LAYERS,
    "one half": [0.5] * LAYERS,
    "midpoint rule": [1.0] * LAYERS,
    "-0.9": [-0.9] * LAYERS,
}


def set_coefficients(nets, values):
    with torch.no_grad():
        for net in nets:
            for name, parameter in net.coefficients.named_parameters():
                parameter.fill_(values[int(name.rsplit("_", 1)[1])])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", LEARNED)
def test_trained_coefficients(name, profile, dtype):
    nets = pair(name, dtype, "reversible")
    set_coefficients(nets, PROFILES[profile])
    x = random_state(dtype)
    try:
        found = errors(nets[1], nets[0], x)
    except ReversalError:
        found = errors(nets[1], nets[0], x)  # what has been measured moves the anchors
    assert max(found.values()) < TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_one_coefficient_per_channel_is_judged_by_the_worst(dtype):
    nets = []
    for mode in ("direct", "reversible"):
        net = ODENet(blocks_for("lm", LAYERS, 4, dtype), "lm", h=0.1, gradient=mode, coefficient_shape=(4,))
        with torch.no_grad():
            for parameter in net.coefficients.parameters():
                parameter.copy_(torch.tensor([0.9, 1.0, -0.8, 1e-3]))
        nets.append(net)
    assert max(errors(nets[1], nets[0], random_state(dtype, 4)).values()) < TOLERANCE[dtype]
    # An error grows a thousandfold a step: all are run again, in eight segments of eight.
    assert (nets[1].stored.undone, nets[1].stored.states) == (0, 7)


@pytest.mark.parametrize("scheme", ["leapfrog", mccallum_foster(schemes["heun"])], ids=["leapfrog", "heun"])
def test_a_thousand_layers_in_float32(scheme):
    deep = pair(scheme, torch.float32, "reversible", 1000, 0.01)
    assert max(errors(deep[1], deep[0], random_state(torch.float32)).values()) < 1e-4
    shallow = pair(scheme, torch.float32, "reversible", 250, 0.04)[1]
    carried = as_scheme(scheme).carried
    for net in (shallow, deep[1]):
        # Each stored state is what the scheme carries, whatever the depth; activations are not kept at all.
        assert kept(net, random_state(torch.float32)) <= (net.stored.states + 2) * carried
    assert deep[1].stored.states <= 3


def kept(net, x):
    """States that autograd holds after a forward pass: saved tensors of x's size, those of one storage counted once."""
    found = set()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: found.add((t.data_ptr(), t.shape)) or t, lambda t: t):
        y = net(x.clone().requires_grad_())
    assert y.requires_grad
    return sum(shape == x.shape for _, shape in found)


def test_anchors_are_whole_states():
    # Were only the first carried value an anchor, a segment that starts in the middle would miss its velocity.
    oracle, net = pair("momentum", torch.float32, "reversible")
    assert max(errors(net, oracle, random_state(torch.float32)).values()) < 1e-4
    assert 1 <= net.stored.states < LAYERS // 4
    assert net.stored.undone == LAYERS


@pytest.mark.parametrize("tolerance", [1e-4, 1e-3])
def test_anchors_follow_the_tolerance(tolerance):
    oracle, net = pair("momentum", torch.float32, Reversible(tolerance=tolerance))
    assert max(errors(net, oracle, random_state(torch.float32)).values()) < tolerance
    strict = pair("momentum", torch.float32, Reversible(tolerance=tolerance / 10))[1]
    net(random_state(torch.float32))
    strict(random_state(torch.float32))
    assert strict.stored.states > net.stored.states


def test_a_wrong_reversal_raises_and_the_next_pass_is_right():
    torch.manual_seed(0)
    blocks = [nn.Linear(6, 6, dtype=torch.float64) for _ in range(LAYERS)]
    oracle, net = (ODENet(blocks, "leapfrog", h=0.1, gradient=mode) for mode in ("direct", "reversible"))
    x = random_state(torch.float64)
    assert net(x).requires_grad  # anchors are placed for these weights,
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(20)  # for which states, and errors on the way back, grow far faster
    with pytest.raises(ReversalError, match=r"steps \d+ to \d+, undone, missed"):
        gradients(net, x)
    before = net.stored.states
    for _ in range(5):
        try:
            found = errors(net, oracle, x)
            break
        except ReversalError:
            continue
    assert max(found.values()) < 1e-10
    assert net.stored.states > before


def test_or_the_steps_are_run_again():
    torch.manual_seed(0)
    blocks = [nn.Linear(6, 6, dtype=torch.float64) for _ in range(LAYERS)]
    modes = ("direct", Reversible(on_failure="rerun"))
    oracle, net = (ODENet(blocks, "leapfrog", h=0.1, gradient=mode) for mode in modes)
    x = random_state(torch.float64)
    assert net(x).requires_grad
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(20)
    assert max(errors(net, oracle, x).values()) < 1e-13
    assert net.stored.defect > 1e-11  # it would have been wrong
    with pytest.raises(FieldError, match="'raise' or 'rerun'"):
        Reversible(on_failure="ignore")


class Counting(nn.Module):
    """A residual function that counts its evaluations."""

    def __init__(self, width, dtype=torch.float64):
        super().__init__()
        self.f, self.calls = Residual(width, dtype), 0

    def forward(self, x):
        self.calls += 1
        return self.f(x)


@pytest.mark.parametrize("gradient", ["checkpoint", Checkpoint(states=1), Checkpoint(states=4), "reversible"])
def test_as_many_evaluations_as_reported(gradient):
    torch.manual_seed(0)
    blocks = [Counting(6) for _ in range(20)]
    net = ODENet(blocks, "leapfrog", h=0.1, gradient=gradient)
    x = random_state(torch.float64)
    net(x).sum().backward()  # the first pass also looks for captured tensors, and rehearses
    for block in blocks:
        block.calls = 0
    net(x).sum().backward()
    assert sum(block.calls for block in blocks) == 20 + net.stored.rerun + net.stored.undone
    if gradient in ("checkpoint", "reversible"):
        assert net.stored.rerun + net.stored.undone == 20  # each once more
    if gradient == Checkpoint(states=1):
        assert net.stored.rerun == 20 + 20 * 19 // 2


def test_nothing_is_stored_without_gradients():
    net = pair("leapfrog", torch.float64, "reversible")[1]
    x = random_state(torch.float64)
    with torch.no_grad():
        y = net(x)
    assert net.stored is None
    assert torch.equal(net(x), y)
    assert net.stored.states == 1
    with torch.inference_mode():
        assert torch.equal(net(x), y)


@pytest.mark.parametrize("gradient", ["checkpoint", "reversible"])
def test_a_function_of_time_and_its_captured_tensors(gradient):
    class F(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.linear = nn.Linear(4, 4, dtype=torch.float64)

        def forward(self, t, u):
            return torch.tanh(self.linear(u)) * torch.cos(t)

    oracle, net = (ODENet(TimeField(F(), 0, 3, 30), "leapfrog", gradient=mode) for mode in ("direct", gradient))
    assert max(errors(net, oracle, random_state(torch.float64, 4)).values()) < 1e-12
    weight = torch.randn(4, 4, dtype=torch.float64, requires_grad=True)
    net = ODENet(TimeField(lambda t, u: u @ weight, 0, 1, 4), "leapfrog", gradient=gradient)
    with pytest.raises(FieldError, match="neither its parameter nor its buffer"):
        net(random_state(torch.float64, 4).requires_grad_())


def test_the_report_is_readable():
    net = ODENet(blocks_for("leapfrog", 8), "leapfrog", h=0.1, gradient="reversible")
    assert net.stored is None
    net(random_state(torch.float64)).sum().backward()
    text = str(net.stored)
    assert text.startswith("8 steps, 1 states stored between them; in the backward pass 7 steps undone, 1 run again")
    assert "gradient=reversible" in repr(net)
    assert "gradient=checkpoint(3)" in repr(ODENet(blocks_for("rk4", 2), "rk4", gradient=Checkpoint(states=3)))


def test_set_in_a_whole_network_or_not_at_all():
    model = cifar_resnet(14, "leapfrog")
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    model.eval()
    expected = torch.autograd.grad(model(x).square().sum(), list(model.parameters()))
    assert set_gradient(model, "reversible") == 3
    found = torch.autograd.grad(model(x).square().sum(), list(model.parameters()))
    assert {str(net.gradient) for net in model.modules() if isinstance(net, ODENet)} == {"reversible"}
    # Two layers a stage, of which the one that changes the shape is taken plainly.
    assert [net.stored.steps for net in model.modules() if isinstance(net, ODENet)] == [2, 1, 1]
    # ReLU: a mask that flips shows
    for a, b in zip(found, expected, strict=True):
        assert (a - b).norm() < 1e-3 * b.norm()
    mixed = nn.ModuleList([ODENet(blocks_for("leapfrog", 2), "leapfrog"), ODENet(blocks_for("rk4", 2), "rk4")])
    with pytest.raises(SchemeError, match="rk4"):
        set_gradient(mixed, "reversible")
    assert [net.gradient for net in mixed] == [Direct(), Direct()]
    with pytest.raises(FieldError, match="without an ODENet"):
        set_gradient(nn.Linear(2, 2), "checkpoint")
