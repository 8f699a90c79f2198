"""What a network shows is what it does: assignments, and another scheme for blocks that are trained."""

import pytest
import torch
from torch import nn

import odenets


def blocks(layers=4, norm=False):
    torch.manual_seed(0)
    return [nn.Sequential(nn.Linear(3, 3), *[nn.BatchNorm1d(3)] * norm, nn.Tanh()) for _ in range(layers)]


def input_():
    return torch.randn(5, 3, generator=torch.Generator().manual_seed(1))


def test_step_size_that_is_assigned():
    """torchdiffeq 87: h can be set; by Euler u + h f(u), typed by hand, and by a network made with that h."""
    x = input_()
    for gradient in ("direct", "checkpoint"):
        fs = blocks()
        net = odenets.ODENet(fs, "euler", h=1.0, gradient=gradient)
        net(x)
        net.h = 0.25
        right = x
        for f in fs:
            right = right + 0.25 * f(right)
        torch.testing.assert_close(net(x), right)
        assert net.h == 0.25
        assert "h=0.25" in repr(net)
    net = odenets.ODENet(blocks(), "leapfrog", gradient="reversible")
    net.h = 0.25
    net(x).sum().backward()
    again = odenets.ODENet(blocks(), "leapfrog", h=0.25)
    again(x).sum().backward()
    assert torch.equal(net(x), again(x))
    torch.testing.assert_close(net.field.layers[0][0].weight.grad, again.field.layers[0][0].weight.grad)


@pytest.mark.parametrize("wrong", [True, "0.5", float("nan"), None, torch.tensor(0.5, requires_grad=True)])
def test_step_size_that_is_none(wrong):
    """Diffrax 244: what is no number is no step size, when it is given and when it is assigned."""
    net = odenets.ODENet(blocks(), "euler")
    with pytest.raises(odenets.OdenetsError, match="h"):
        net.h = wrong
    assert net.h == 1.0
    if isinstance(wrong, float):
        with pytest.raises(odenets.FieldError, match="h: got nan"):
            odenets.ODENet(blocks(), "euler", h=nn.Parameter(torch.tensor(wrong)))
    if wrong is not None and not isinstance(wrong, torch.Tensor):
        with pytest.raises(odenets.OdenetsError, match="h"):
            odenets.ODENet(blocks(), "euler", h=wrong)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("scheme", "rk4"),
        ("field", None),
        ("shortcut", nn.Identity()),
        ("program", None),
        ("starting_programs", []),
        ("coefficient_shape", (3,)),
        ("blocks", []),
        ("start", "rk4"),
        ("coefficients", None),
        ("coefficients", odenets.ODENet([nn.Linear(3, 3)] * 4, "lm").coefficients),
        ("steps", 3),
    ],
)
def test_what_a_network_was_compiled_from(name, value):
    """torchdiffeq 87: an assignment that would change the repr alone is refused, and says what to do."""
    net = odenets.ODENet(blocks(), "euler")
    with pytest.raises(odenets.FieldError, match="swap_scheme"):
        setattr(net, name, value)
    with pytest.raises(odenets.FieldError, match="solver"):
        net.solver = odenets.Anderson()  # of an explicit scheme
    with pytest.raises(AttributeError):
        net.scheme.name = "heun"
    with pytest.raises(odenets.FieldError, match=name):
        delattr(net, name)
    with pytest.raises(odenets.FieldError, match="expected a number"):
        net.h = nn.Parameter(torch.tensor(0.5))
    assert "scheme=euler" in repr(net)
    # A module in the place of another, as tools that convert models put it, is no other network.
    net = odenets.ODENet([nn.Linear(3, 5), nn.Linear(5, 5)], "euler", shortcut=nn.Linear(3, 5))
    net.shortcut = nn.Linear(3, 5, bias=False)
    net(input_()).sum().backward()
    assert net.shortcut.weight.grad is not None


def change(layers, how):
    one = nn.Linear(3, 3)
    match how:
        case "append":
            layers.append(one)
        case "extend":
            layers.extend([one])
        case "+=":
            layers += [one]
        case "insert":
            layers.insert(0, one)
        case "add_module":
            layers.add_module("4", one)
        case "setattr":
            setattr(layers, "4", one)
        case "pop":
            layers.pop(-1)
        case "del":
            del layers[1]
        case "slice":
            del layers[1:3]


@pytest.mark.parametrize("how", ["append", "extend", "+=", "insert", "add_module", "setattr", "pop", "del", "slice"])
def test_layers_that_come_and_go(how):
    """torchdiffeq 87: a layer that is put in never ran, one that is taken out was an IndexError at the next call."""
    x, net = input_(), odenets.ODENet(blocks(), "lm")
    several = odenets.ODENet([[nn.Linear(3, 3), nn.Linear(3, 3)] for _ in range(2)], "mpoly2")
    random = odenets.ODENet(odenets.StochasticDepth(blocks(), [0.5] * 4), "euler")
    for layers in (net.field.layers, random.field.layers.layers):
        before = list(layers)
        with pytest.raises(odenets.FieldError, match="another number of modules"):
            change(layers, how)
        assert list(layers) == before
    with pytest.raises(odenets.FieldError, match="another number of modules"):
        change(several.field.layers[0], "append" if how == "slice" else how.replace("add_module", "append"))
    net(x).sum().backward()


def test_lists_of_layers_that_are_replaced():
    """torchdiffeq 87: neither; a module in the place of one is what the network then runs."""
    x, net = input_(), odenets.ODENet(blocks(), "euler")
    with pytest.raises(odenets.FieldError, match="layers"):
        net.field.layers = nn.ModuleList(blocks(2))
    for wrong in (nn.ModuleList(blocks(2)), None):
        with pytest.raises(odenets.FieldError, match="a module that is called"):
            net.field.layers[3] = wrong
    net.field.layers[3] = nn.Identity()
    inner = x
    for f in net.field.layers:
        inner = inner + f(inner)
    torch.testing.assert_close(net(x), inner)
    assert len(net.field.layers[1:]) == 3


@pytest.mark.parametrize("gradient", ["direct", "checkpoint"])
def test_function_of_a_time_field_that_is_replaced(gradient):
    """torchdiffeq 166: another f runs, and gets its gradient; what is no function is refused where it is set."""

    class Decay(nn.Module):
        def __init__(self):
            super().__init__()
            self.rate = nn.Parameter(torch.tensor(2.0))

        def forward(self, t, x):
            return -self.rate * x

    x, h = torch.ones(2, 3), 0.25
    net = odenets.ODENet(odenets.TimeField(lambda t, x: -x, 0.0, 1.0, 4), "euler", gradient=gradient)
    torch.testing.assert_close(net(x), x * (1 - h) ** 4)
    net.field.f = Decay()
    out = net(x)
    torch.testing.assert_close(out, x * (1 - 2 * h) ** 4)
    out.sum().backward()
    torch.testing.assert_close(net.field.f.rate.grad, torch.tensor(-6 * 4 * h * (1 - 2 * h) ** 3))
    net.field.f = lambda t, x: -3 * x
    torch.testing.assert_close(net(x), x * (1 - 3 * h) ** 4)
    assert not list(net.parameters())
    with pytest.raises(odenets.FieldError, match="callable"):
        net.field.f = 3
    with pytest.raises(odenets.FieldError, match="reference"):
        net.field.reference = 2.0


@pytest.mark.parametrize("name", ["t0", "t1", "steps", "h"])
def test_what_a_time_field_was_made_of(name):
    """torchdiffeq 166: the same of a TimeField, whose step size follows from its times; and of the steps of layers."""
    field = odenets.TimeField(lambda t, x: -x, 0.0, 1.0, 4)
    with pytest.raises(odenets.FieldError, match=name):
        setattr(field, name, 2)
    with pytest.raises(odenets.FieldError, match=name):
        delattr(field, name)
    with pytest.raises(odenets.FieldError, match="steps"):
        odenets.ODENet(blocks(), "euler").field.steps = 2
    with pytest.raises(odenets.FieldError, match="TimeField"):
        odenets.ODENet(field, "euler").h = 0.5


@pytest.mark.parametrize("inplace", [False, True])
def test_other_scheme_of_a_network(inplace):
    """torchdiffeq 87: swap_scheme of an ODENet; LM with k = 0 is the plain residual network that it was, to the bit."""
    x, net = input_(), odenets.ODENet(blocks(), "euler", h=0.5, gradient="checkpoint")
    before, weights = net(x), list(net.parameters())
    other = odenets.swap_scheme(net, "lm", coefficients=0, inplace=inplace)
    assert (other is net) == inplace
    assert torch.equal(other(x), before)
    assert (other.scheme.name, str(other.gradient), other.h) == ("lm", "checkpoint", 0.5)
    assert [name for name, _ in other.named_parameters()][-3:] == [f"coefficients.k_{n}" for n in (1, 2, 3)]
    assert all(torch.equal(a, b) for a, b in zip(other.parameters(), weights, strict=False))
    assert inplace or net.scheme.name == "euler"
    # By hand: u_{n+1} = (1 - k) u_n + k u_{n-1} + h f(u_n) from a plain first step.
    odenets.swap_scheme(other, "lm", coefficients={"k": 0.25}, inplace=True)
    f = other.field.layers
    last, u = x, x + 0.5 * f[0](x)
    for n in (1, 2, 3):
        last, u = u, 0.75 * u + 0.25 * last + 0.5 * f[n](u)
    torch.testing.assert_close(other(x), u)
    other(x).sum().backward()
    assert all(p.grad is not None for p in other.parameters())


def test_other_scheme_of_a_model():
    """torchdiffeq 87: of every ODENet in a model, by the same word as for foreign models, with all its weights."""
    torch.manual_seed(0)
    model, x = odenets.models.cifar_resnet(14).eval(), torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        before = model(x)
        lm = odenets.swap_scheme(model, "lm", coefficients=0)
        assert torch.equal(lm(x), before)
        assert {net.scheme.name for net in lm.modules() if isinstance(net, odenets.ODENet)} == {"lm"}
        back = odenets.swap_scheme(lm, "euler")
        assert torch.equal(back(x), before)
    assert list(back.state_dict()) == list(model.state_dict())


def test_statistics_of_stages_are_kept():
    """torchdiffeq 87: BatchNorm statistics of the stages that both schemes have; others start with the first's."""
    net, x = odenets.ODENet(blocks(2, norm=True), "heun"), input_()
    net(x)
    trained = {key: value.clone() for key, value in net.state_dict().items() if "running_mean" in key}
    other = odenets.swap_scheme(net, "rk4")
    assert all(torch.equal(other.state_dict()[key], value) for key, value in trained.items())
    means = [statistics.norms[0].running_mean for statistics in other.field.statistics.values()]
    assert len(means) == 6
    assert not any(torch.equal(mean, torch.zeros(3)) for mean in means)


@pytest.mark.parametrize(
    ("scheme", "options", "match"),
    [
        ("verlet", {}, "module"),
        ("rk4", {"coefficients": 0}, "symbols"),
        ("rk4", {"gradient": "reversible"}, "reversible"),
        ("nope", {}, "nope"),
    ],
)
def test_scheme_that_does_not_fit(scheme, options, match):
    """torchdiffeq 87: then it is refused, and nothing has changed."""
    net, x = odenets.ODENet(blocks(), "euler"), input_()
    before = net(x)
    with pytest.raises(odenets.OdenetsError, match=match):
        odenets.swap_scheme(net, scheme, inplace=True, **options)
    assert torch.equal(net(x), before)


def test_blocks_beside_an_odenet_are_not_passed_over_in_silence():
    """An example asks for blocks to be found, which only a model without ODENets has done."""

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.f = nn.Linear(4, 4)

        def forward(self, x):
            return x + self.f(x)

    x = torch.randn(2, 4)
    own = odenets.ODENet([nn.Linear(4, 4) for _ in range(3)], "euler")
    model = nn.Sequential(own, nn.Sequential(Block(), Block()))
    with pytest.raises(odenets.FieldError, match="expected none: these alone are swapped"):
        odenets.swap_scheme(model, "lm", example=x)
    model[1] = odenets.swap_scheme(model[1], "lm", example=x, coefficients=0)
    both = odenets.swap_scheme(model, "lm", coefficients=0)
    assert both[0].scheme.name == "lm"
    torch.testing.assert_close(both(x), nn.Sequential(own, nn.Sequential(*model[1]))(x))


def test_other_scheme_in_evaluation():
    """torchdiffeq 87: every module of the network is in the mode that it was in, those that are new as well."""
    net = odenets.ODENet(blocks(norm=True), "euler").eval()
    net.field.layers[1].train()
    other = odenets.swap_scheme(net, "rk4")
    assert [m.training for m in other.field.layers[1].modules()] == [True] * 4
    rest = {name: m for name, m in other.named_modules() if ".1" not in name and "1_" not in name}
    assert [name for name, m in rest.items() if m.training] == []
    assert "field.statistics.0_0_1.norms" in rest
