"""Networks of implicit schemes under torch.compile: run eagerly, as a whole, or refused by name."""

import pytest
import torch
from torch import nn

import odenets

LAYERS = 10


@pytest.fixture(autouse=True)
def nothing_traced_before():
    torch._dynamo.reset()


def network(gradient="direct"):
    torch.manual_seed(0)
    return odenets.ODENet([nn.Linear(3, 3) for _ in range(LAYERS)], "backward_euler", h=0.1, gradient=gradient).double()


@pytest.mark.parametrize("gradient", ["direct", "checkpoint"])
def test_nothing_is_traced_for_each_step(gradient):
    """More than eight, and torch gives up. Of linear layers each step is a linear system."""
    net, x = network(gradient), torch.randn(4, 3, dtype=torch.float64)
    with torch._dynamo.config.patch(error_on_recompile=True):
        value = torch.compile(net, backend="eager")(x)
    value.sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    for layer in net.field.layers:
        matrix = torch.eye(3, dtype=torch.float64) - 0.1 * layer.weight
        x = torch.linalg.solve(matrix, (x + 0.1 * layer.bias).T).T
    torch.testing.assert_close(value, x, rtol=1e-7, atol=1e-9)


def test_one_graph_is_refused_by_name():
    net = network()
    with pytest.raises(torch._dynamo.exc.Unsupported, match="implicit_steps_run_eagerly"):
        torch.compile(net, backend="eager", fullgraph=True)(torch.randn(4, 3, dtype=torch.float64))


def test_an_export_without_dynamo_is_refused_by_the_solver():
    net = odenets.ODENet([nn.Linear(3, 3) for _ in range(3)], "implicit_midpoint").double()
    with pytest.raises(odenets.SolverError, match="graph"):
        torch.export.export(net, (torch.randn(4, 3, dtype=torch.float64),), strict=False)
