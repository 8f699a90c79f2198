"""torch.jit.trace of networks that have not run, and what torchdiffeq does not solve."""

import warnings

import pytest
import torch
from torch import nn

import odenets


def network(scheme, gradient="direct", first=nn.Identity, norm=False):
    torch.manual_seed(0)
    norms = [nn.BatchNorm1d(4)] * norm
    return odenets.ODENet(
        [nn.Sequential(first(), nn.Linear(4, 4), *norms) for _ in range(3)], scheme, gradient=gradient
    ).eval()


def traced(net, x):
    with warnings.catch_warnings():
        # Of torch itself, that it will be given up; of what is read off a shape.
        warnings.simplefilter("ignore")
        return torch.jit.trace(net, x)


@pytest.mark.parametrize(
    ("scheme", "gradient"), [("rk4", "direct"), ("lm", "direct"), ("rk4", "checkpoint"), ("leapfrog", "reversible")]
)
@pytest.mark.parametrize("first", [nn.Identity, lambda: nn.ReLU(inplace=True)], ids=["pure", "writes into its input"])
@pytest.mark.parametrize("ran", [False, True])
def test_trace(scheme, gradient, first, ran):
    """nni 5134, transformers 25163: torch traces twice and compares, whether the network has run before or not."""
    net, x = network(scheme, gradient, first), torch.linspace(-1, 1, 8).reshape(2, 4)
    if ran:
        net(x)
    assert torch.equal(traced(net, x)(x + 1), net(x + 1))


def test_trace_of_a_time_field():
    """nni 5134: the first call finds out what times f takes."""
    net = odenets.ODENet(odenets.TimeField(lambda t, x: t.cos() * x, 0.0, 1.0, 4), "rk4")
    x = torch.ones(2, 4)
    assert torch.equal(traced(net, x)(x + 1), net(x + 1))


@pytest.mark.parametrize(("scheme", "norm"), [("implicit_midpoint", False), ("rk4", True)])
def test_trace_that_is_refused(scheme, norm):
    """Transformers 25163: what a trace cannot hold (iterations, statistics of further stages) is refused by name."""
    with pytest.raises(odenets.OdenetsError, match="trace"):
        traced(network(scheme, norm=norm), torch.ones(2, 4))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("scheme", "gradient"),
    [("euler", "direct"), ("rk4", "direct"), ("rk4", "checkpoint"), ("lm", "reversible"), ("tsit5", "direct")],
)
@pytest.mark.filterwarnings("ignore:.*:UserWarning")  # torch's own, of the graph that linearize folds
def test_linearize(scheme, gradient, dtype):
    """Pytorch 124550: torch.func.linearize folds what does not depend on the tangent, and takes it for leaves."""
    net, x = network(scheme, gradient).to(dtype), torch.linspace(-1, 1, 8, dtype=dtype).reshape(2, 4)
    value, push = torch.func.linearize(net, x)
    torch.testing.assert_close((value, push(x + 1)), torch.func.jvp(net, (x,), (x + 1,)))


def test_linearize_of_what_is_solved_for():
    """Pytorch 124550: a graph cannot hold iterations, whatever traces it."""
    with pytest.raises(odenets.SolverError, match=r"torch\.func\.jvp"):
        torch.func.linearize(network("implicit_midpoint"), torch.ones(2, 4))


@pytest.mark.parametrize("dense", [64, 0], ids=["dense", "products"])
def test_forward_over_reverse_of_stages_run_again(dense):
    """Functorch 592: jvp of vjp with implicit steps that are run again, as with those that are recorded."""

    def curvature(gradient):
        net = network("implicit_midpoint", gradient).double()
        net.solver = odenets.NewtonKrylov(dense=dense)
        x = torch.linspace(-1, 1, 8, dtype=torch.double).reshape(2, 4)

        def slope(x):
            value, pull = torch.func.vjp(lambda x: net(x).tanh(), x)
            return pull(torch.ones_like(value))[0]

        return torch.func.jvp(slope, (x,), (x + 1,))

    torch.testing.assert_close(curvature("checkpoint"), curvature("direct"), rtol=1e-10, atol=1e-12)


class Decay(nn.Module):
    """-rate x: stiff, and growing by exp(rate) backwards in time."""

    def __init__(self, rate):
        super().__init__()
        self.rate = nn.Parameter(torch.tensor(rate))

    def forward(self, t, x):
        return -self.rate * x


@pytest.mark.parametrize(("rate", "dtype"), [(1.0, torch.float16), (1e5, torch.float32)])
def test_adjoint_that_torchdiffeq_does_not_solve(rate, dtype):
    """torchdiffeq 27, 184 and 255: its AssertionError "underflow in dt" in low precision and on stiff problems."""
    f = Decay(rate).to(dtype)
    net = odenets.ODENet(odenets.TimeField(f, 0.0, 1.0, 4), "euler" if rate == 1 else "rk4", gradient="adjoint")
    with torch.no_grad():
        start = torch.ones(2, 3, dtype=dtype)
    loss = net(start.requires_grad_()).sum()
    with pytest.raises(odenets.AdjointError, match="checkpoint"):
        loss.backward()


@pytest.mark.parametrize(("rate", "dtype"), [(1e4, torch.float64), (1.0, torch.bfloat16)])
@pytest.mark.parametrize("method", ["dopri5", "dopri8"])
def test_adjoint_that_takes_steps_without_end(rate, dtype, method):
    """torchdiffeq 27 and 255: neither an error nor a result within minutes, on stiff problems and in low precision."""
    options = odenets.Adjoint(method=method, rtol=1e-10, atol=1e-10, max_evaluations=300)
    field = odenets.TimeField(Decay(rate).to(dtype), 0.0, 1.0, 4)
    net = odenets.ODENet(field, "backward_euler" if rate > 1 else "rk4", gradient=options)
    loss = net(torch.ones(2, 3, dtype=dtype, requires_grad=True)).sum()
    with pytest.raises(odenets.AdjointError, match=r"300 evaluations \(max_evaluations\)|underflow"):
        loss.backward()
    with pytest.raises(odenets.FieldError, match="max_evaluations"):
        odenets.Adjoint(max_evaluations=0)
