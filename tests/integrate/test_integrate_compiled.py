"""Solves inside of functions under torch.compile, which leaves them as they are, and grids in one graph."""

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend

from odenets import (
    AdaptiveODENet,
    ODENet,
    TimeField,
    odeint,
    odeint_adjoint,
    odeint_dense,
    odeint_event,
    solve,
)

F64 = torch.float64
TIMES = torch.linspace(0, 1, 4, dtype=F64)

# torch.compile looks at the .grad of what it is given.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")


class Field(nn.Module):
    """tanh(W u) cos t."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3).to(F64)
        self.net = [AdaptiveODENet(TimeField(self, 0, 1))]  # in a list: it is no module of this one

    def forward(self, t, u):
        return torch.tanh(self.layer(u)) * torch.cos(t)


def event(f, u):
    t, y = odeint_event(lambda t, y: 1 + 0 * y, u, TIMES[0], event_fn=lambda t, y: y.sum() - u.sum() - 1)
    return y[-1] * t


WAYS = {
    "ab2, of a closure": lambda f, u: solve(lambda t, x: f(t, x) + u, u, (0, 1), "ab2", steps=9).y[-1],
    "dopri5": lambda f, u: solve(f, u, (0, 1), dense=True)(0.5),
    "odeint": lambda f, u: odeint(f, u, TIMES)[-1],
    "odeint_adjoint": lambda f, u: odeint_adjoint(f, u, TIMES)[-1],
    "odeint_dense": lambda f, u: odeint_dense(f, u, TIMES[0], TIMES[-1])(TIMES[1]),
    "odeint_event": event,
    "AdaptiveODENet": lambda f, u: f.net[0](u),
}


@pytest.fixture
def compiler():
    torch._dynamo.reset()
    yield CompileCounterWithBackend("eager")
    torch._dynamo.reset()


@pytest.mark.parametrize("way", WAYS)
def test_a_solve_is_left_as_it_is(way, compiler):
    f = Field()

    def whole(u):
        return torch.sin(WAYS[way](f, u.cos()))

    compiled = torch.compile(whole, backend=compiler)
    for n in (2, 3, 4):
        known = compiler.frame_count
        u = torch.randn(n, 3, dtype=F64, requires_grad=True)
        found, right = ([y, *_gradients(y, u, f)] for y in (compiled(u), whole(u)))
        torch.testing.assert_close(found, right, rtol=1e-12, atol=1e-14)
    # What is around the solve was traced for the first size and then for any.
    assert compiler.frame_count == known
    with pytest.raises(torch._dynamo.exc.Unsupported, match="a_solve_runs_eagerly"):
        torch.compile(whole, backend="eager", fullgraph=True)(u)


def _gradients(y, u, f):
    return torch.autograd.grad(y.sum(), [u, *f.parameters()], materialize_grads=True)


@pytest.mark.parametrize("scheme", ["rk4", "ab2"])
def test_a_network_is_a_grid_in_one_graph(scheme, compiler):
    f, u = Field(), torch.randn(2, 3, dtype=F64)
    net = torch.compile(ODENet(TimeField(f, 0, 1, 4), scheme), backend=compiler, fullgraph=True)
    torch.testing.assert_close(net(u), solve(f, u, (0, 1), scheme, steps=4).y[-1], rtol=1e-12, atol=1e-14)
    assert compiler.frame_count == 1
