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
    assert "scheme=euler" in repr(net)
    # A module in the place of another, as tools that convert models put it, is no other network.
    net = odenets.ODENet([nn.Linear(3, 5), nn.Linear(5, 5)], "euler", shortcut=nn.Linear(3, 5))
    net.shortcut = nn.Linear(3, 5, bias=False)
    net(input_()).sum().backward()
    assert net.shortcut.weight.grad is not None


@pytest.mark.parametrize("name", ["t0", "t1", "steps"])
def test_what_a_time_field_was_made_of(name):
    """torchdiffeq 166: the same of a TimeField, whose step size follows from its times; and of the steps of layers."""
    field = odenets.TimeField(lambda t, x: -x, 0.0, 1.0, 4)
    with pytest.raises(odenets.FieldError, match=name):
        setattr(field, name, 2)
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
