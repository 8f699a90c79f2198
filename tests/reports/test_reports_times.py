"""Times: large ones, and those that are to be learned."""

import math

import pytest
import torch
from torch import nn

import odenets

START, OMEGA = 1.7e9, 2.0  # seconds since 1970


def wave(t, x):
    """cos(omega (t - start)), whatever x is."""
    return torch.cos(OMEGA * (t - START)) * torch.ones_like(x)


def time_network(f, times, steps, scheme, gradient="direct", **options):
    return odenets.ODENet(odenets.TimeField(f, *times, steps), scheme, gradient=gradient, **options)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("shape", [(2, 3), (3,), ()])
def test_large_times(dtype, shape):
    """stochrare 22: times in float32. The integral of the wave from START to START + 1 is sin(omega)/omega."""
    seen = []

    def f(t, x):
        seen.append((t.dtype, t.dim(), x.dtype))
        return wave(t, x)

    y = time_network(f, (START, START + 1), 20, "rk4")(torch.zeros(shape, dtype=dtype))
    right = torch.full(shape, math.sin(OMEGA) / OMEGA, dtype=dtype)
    torch.testing.assert_close(y, right, rtol=1e-5 if dtype != torch.bfloat16 else 3e-2, atol=0)
    assert set(seen) == {(torch.float64, 0, dtype)}


@pytest.mark.parametrize(
    ("scheme", "gradient"),
    [("rk4", "checkpoint"), ("leapfrog", "reversible"), ("implicit_midpoint", "direct"), ("rk4", "adjoint")],
)
def test_gradients_at_large_times(scheme, gradient):
    """stochrare 22, of every way to gradients: d/dw of the integral of w cos(omega (t - start))."""

    class Wave(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.ones(()))

        def forward(self, t, x):
            return self.w * wave(t, x)

    f = Wave()
    net = time_network(f, (START, START + 1), 40, scheme, gradient)
    net(torch.zeros(2, 3)).mean().backward()
    torch.testing.assert_close(f.w.grad, torch.tensor(math.sin(OMEGA) / OMEGA), rtol=1e-3, atol=0)


@pytest.mark.parametrize("join", [lambda t, x: t.expand(len(x), 1), lambda t, x: t.reshape(1, 1).repeat(len(x), 1)])
def test_time_that_is_joined_with_the_state(join):
    """stochrare 22: f that puts t into a float32 layer goes on to work; where float32 loses it, that is an error."""

    class Joined(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.linear = nn.Linear(4, 3)

        def forward(self, t, x):
            return torch.tanh(self.linear(torch.cat([x, join(t, x)], 1)))

    x = torch.zeros(2, 3)
    y = time_network(Joined(), (0.0, 1.0), 4, "rk4")(x)
    double = time_network(Joined().double(), (0.0, 1.0), 4, "rk4")(x.double())
    torch.testing.assert_close(y, double.float())
    with pytest.raises(odenets.FieldError, match="float64"):
        time_network(Joined(), (START, START + 1), 4, "rk4")(x)


WAYS = [("rk4", "direct"), ("rk4", "checkpoint"), ("leapfrog", "reversible"), ("implicit_midpoint", "direct")]


@pytest.mark.parametrize(("scheme", "gradient"), WAYS)
@pytest.mark.parametrize("which", ["t0", "t1"])
@pytest.mark.parametrize("kind", [lambda x: x.requires_grad_(), nn.Parameter, lambda x: nn.Parameter(x)[None] * 1.0])
def test_time_that_is_learned(scheme, gradient, which, kind):
    """torchdiffeq 87 and 166, diffrax 244: the gradient for t0 and t1. Right is the network's difference quotient."""

    def f(t, x):
        return torch.sin(3 * t) * x.cos()

    def value(t0, t1):
        return time_network(f, (t0, t1), 6, scheme, gradient)(torch.ones(2, 2, dtype=torch.double)).sum()

    times = {"t0": 0.1, "t1": 1.2}
    end = kind(torch.tensor(times[which], dtype=torch.double))
    net = time_network(f, {**times, which: end}.values(), 6, scheme, gradient)
    loss = net(torch.ones(2, 2, dtype=torch.double)).sum()
    plain = value(**times)
    torch.testing.assert_close(loss, plain, rtol=0, atol=0)
    (found,) = torch.autograd.grad(loss, end)
    ahead, behind = (value(**{**times, which: times[which] + d}) for d in (1e-5, -1e-5))
    torch.testing.assert_close(found.reshape(()), (ahead - behind) / 2e-5, rtol=1e-5, atol=1e-6)
    assert isinstance(end, nn.Parameter) == (end is dict(net.named_parameters()).get(f"field.{which}"))


def test_end_of_exponential_decay():
    """torchdiffeq 87: d/dt1 of exp(-t1) is -exp(-t1), after a training step as well."""
    end = nn.Parameter(torch.tensor(1.0))
    net = time_network(lambda t, x: -x, (0.0, end), 20, "rk4")
    net(torch.ones(1, 1)).sum().backward()
    torch.testing.assert_close(end.grad, torch.tensor(-math.exp(-1)), rtol=1e-5, atol=0)
    with torch.no_grad():
        end.fill_(2.0)
    torch.testing.assert_close(net(torch.ones(1, 1)).item(), math.exp(-2), rtol=1e-5, atol=0)
    assert net.h == 0.1
    assert "t1=2.0" in repr(net)


@pytest.mark.parametrize(
    ("scheme", "gradient"), [*WAYS, ("lm", "checkpoint"), ("momentum", "direct"), ("ab4", "direct")]
)
def test_step_size_that_is_learned(scheme, gradient):
    """Diffrax 244: h of layers. Right is the difference quotient of the network in h."""

    def network(h):
        torch.manual_seed(0)
        blocks = [nn.Sequential(nn.Linear(3, 3), nn.Tanh()).double() for _ in range(5)]
        return odenets.ODENet(blocks, scheme, h=h, gradient=gradient)

    x, h = torch.ones(2, 3, dtype=torch.double), nn.Parameter(torch.tensor(0.5, dtype=torch.double))
    net = network(h)
    loss = net(x).sum()
    torch.testing.assert_close(loss, network(0.5)(x).sum(), rtol=0, atol=0)
    loss.backward()
    ahead, behind = (network(0.5 + d)(x).sum().item() for d in (1e-5, -1e-5))
    torch.testing.assert_close(h.grad.item(), (ahead - behind) / 2e-5, rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        h.fill_(0.25)
    torch.testing.assert_close(net(x), network(0.25)(x), rtol=1e-9, atol=1e-12)
    assert net.h == 0.25
    with pytest.raises(odenets.FieldError, match="h"):
        net.h = 0.5


def test_step_size_that_is_learned_in_a_layer_that_changes_the_shape():
    """Diffrax 244: u_1 = P(u_0) + h f_0(u_0), h typed by hand."""
    torch.manual_seed(0)
    f, g, p, h = nn.Linear(3, 5), nn.Linear(5, 5), nn.Linear(3, 5), nn.Parameter(torch.tensor(0.5))
    x = torch.ones(2, 3)
    (found,) = torch.autograd.grad(odenets.ODENet([f, g], "euler", h=h, shortcut=p)(x).sum(), h)
    u = p(x) + h * f(x)
    (right,) = torch.autograd.grad((u + h * g(u)).sum(), h)
    torch.testing.assert_close(found, right)


def test_learned_times_that_are_refused():
    """torchdiffeq 166: where a time or a step size has no gradient, it is refused by name."""
    end = nn.Parameter(torch.tensor(1.0))
    with pytest.raises(odenets.FieldError, match="adjoint"):
        time_network(lambda t, x: -x, (0.0, end), 4, "rk4", "adjoint")
    with pytest.raises(odenets.FieldError, match="one"):
        odenets.TimeField(lambda t, x: -x, 0.0, nn.Parameter(torch.ones(2)), 4)
    with pytest.raises(odenets.FieldError, match="noise"):
        odenets.ODENet(odenets.AdditiveNoise([nn.Linear(2, 2)], 0.1), "euler", h=end)
    with pytest.raises(odenets.FieldError, match="TimeField"):
        time_network(lambda t, x: -x, (0.0, 1.0), 4, "rk4", h=end)
    for wrong in (True, "1", b"1", torch.tensor(True), [1.0], None, 1j):
        with pytest.raises(odenets.FieldError, match="t1"):
            odenets.TimeField(lambda t, x: -x, 0.0, wrong, 4)
