"""Tensors, flags and scales that the passes of a network share with what is around it: each was once silently wrong."""

import numpy as np
import pytest
import torch
from helpers import batch, loss, residuals
from modes import FIRST, assert_same, make, output_and_gradients
from torch import nn
from torch.utils.checkpoint import checkpoint

from odenets import FieldError, NewtonKrylov, ODENet, ReversalError, TimeField

AGAIN = ["checkpoint", "reversible"]


class Injected(nn.Module):
    """tanh(W u + x) with the network's own input x."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(6, 6, dtype=torch.float64)
        self.register_buffer("x", None)

    def forward(self, t, u):
        return torch.tanh(self.linear(u) + self.x)


@pytest.mark.parametrize("mode", AGAIN)
def test_the_input_may_be_a_tensor_of_the_field(mode):
    def run(mode):
        f, x = Injected(), batch().requires_grad_()
        f.x = x
        y = ODENet(TimeField(f, 0, 1, 6), FIRST, gradient=mode)(x)
        return y, *torch.autograd.grad(loss(y), [x, *f.parameters()])

    assert_same(run(mode), run("direct"), 1e-10)


@pytest.mark.parametrize("mode", AGAIN)
def test_a_parameter_of_a_block_may_be_the_input(mode):
    def run(mode):
        blocks = residuals(5, 6)
        y = ODENet(blocks, FIRST, gradient=mode, h=0.5)(blocks[0].linear.weight)
        return y, *torch.autograd.grad(loss(y), [p for block in blocks for p in block.parameters()])

    assert_same(run(mode), run("direct"), 1e-10)


@pytest.mark.parametrize("mode", AGAIN)
def test_a_captured_tensor_that_comes_to_require_a_gradient_is_refused(mode):
    w = batch(6, 6, seed=2)
    net = ODENet(TimeField(lambda t, u: torch.tanh(u @ w), 0, 1, 6), FIRST, gradient=mode)
    assert net(batch().requires_grad_()).requires_grad
    w.requires_grad_()
    with pytest.raises(FieldError, match="a variable around a lambda"):
        net(batch().requires_grad_())


@pytest.mark.parametrize("mode", AGAIN)
def test_a_layer_that_is_replaced_is_looked_at_again(mode):
    class Closure(nn.Module):
        def __init__(self, w):
            super().__init__()
            self.held = [w]

        def forward(self, u):
            return torch.tanh(u @ self.held[0])

    net = make(FIRST, mode)
    assert net(batch()).requires_grad
    net.field.layers[3] = Closure(batch(6, 6, seed=2).requires_grad_())
    with pytest.raises(FieldError, match="layer 3 uses a tensor"):
        net(batch())


@pytest.mark.parametrize("mode", AGAIN)
def test_replicas_of_data_parallel_are_refused(mode):
    net = make(FIRST, mode)
    assert net(batch()).requires_grad
    with pytest.raises(FieldError, match="DistributedDataParallel"):
        net._replicate_for_data_parallel()(batch())


class Gated(nn.Module):
    def __init__(self, gate):
        super().__init__()
        self.linear, self.norm = nn.Linear(6, 6, dtype=torch.float64), nn.BatchNorm1d(6, dtype=torch.float64)
        self.gate = nn.Parameter(torch.full((6,), gate, dtype=torch.float64))

    def forward(self, u):
        return self.gate * torch.tanh(nn.functional.dropout(self.norm(self.linear(u)), 0.4, self.training))


@pytest.mark.parametrize("gate", [0.0, 1.0])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("mode", AGAIN)
def test_training_and_evaluation_are_those_of_the_forward_pass(mode, training, gate):
    def run(mode):
        torch.manual_seed(0)
        net = ODENet([Gated(gate) for _ in range(9)], FIRST, gradient=mode, h=0.3)
        net.train(training)
        torch.manual_seed(1)
        y = net(batch(16, 6))
        net.train(not training)
        found = torch.autograd.grad(loss(y), list(net.parameters()))
        assert all(module.training != training for module in net.modules())
        return y, *found, *net.buffers()

    assert_same(run(mode), run("direct"), 1e-9)


@pytest.mark.parametrize("mode", AGAIN)
def test_torchs_checkpoint_around_a_network(mode):
    net, x = make(FIRST, mode), batch().requires_grad_()
    inner = output_and_gradients(net, x)
    around = output_and_gradients(net, x, lambda x: checkpoint(net, x, use_reentrant=False))
    assert_same(around, inner)


@pytest.mark.parametrize("scale", [1.0, 1e3, 1e5])
def test_one_large_sample_does_not_hide_what_the_others_lose(scale):
    class F(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Parameter(torch.tensor(3.0)), nn.Parameter(torch.tensor(1.0))

        def forward(self, t, u):
            return -self.a * torch.tanh(self.b * u)

    x = batch(8, 4, dtype=torch.float32)
    x[0] *= scale
    f = F()
    nets = [ODENet(TimeField(f, 0.0, 4.0, 60), "leapfrog", gradient=mode) for mode in ("reversible", "direct")]
    found, expected = (torch.autograd.grad((net(x)[1:] ** 2).sum(), list(f.parameters())) for net in nets)
    assert max(((a - b).norm() / b.norm()).item() for a, b in zip(found, expected, strict=True)) < 1e-4


def test_a_pass_that_is_not_finite_leaves_no_trace():
    net = ODENet(residuals(40, 6, torch.float32), "leapfrog", h=0.1, gradient="reversible")
    x = batch(dtype=torch.float32)
    net(x).sum().backward()
    before = net.stored.states
    net(x * torch.nan).sum().backward()  # as autograd's own: not finite, for a GradScaler to skip
    assert next(net.parameters()).grad.isnan().all()
    net(x).sum().backward()
    assert net.stored.states == before


def test_a_miss_is_learned_from_though_another_pass_came_between():
    torch.manual_seed(0)
    net = ODENet([nn.Linear(6, 6, dtype=torch.float64) for _ in range(64)], "leapfrog", h=0.1, gradient="reversible")
    x = batch()
    net(x).sum().backward()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(20)
    y = net(x)
    net(x)
    with pytest.raises(ReversalError):
        y.sum().backward()
    net(x)
    net(x).sum().backward()


@pytest.mark.parametrize("mode", AGAIN)
def test_functions_that_only_move_the_entries_about_are_found_out(mode):
    class Rolled(nn.Module):
        def forward(self, x):
            return torch.roll(x, int(np.random.default_rng().integers(1, 6)), 1) - x

    net = ODENet([Rolled() for _ in range(12)], "leapfrog" if mode == "reversible" else "euler", gradient=mode)
    with pytest.raises(ReversalError, match="not the same function when called again"):
        net(batch().requires_grad_()).sum().backward()


def test_newton_does_not_stop_where_a_function_is_steep_and_flat_beside():
    net = ODENet(TimeField(lambda t, u: 1 - 0.5 * torch.tanh(1e6 * u) - u, 0.0, 1.0, 1), "backward_euler")
    # u = 1 - 1/2 - u
    torch.testing.assert_close(net(torch.zeros(1, 1)), torch.full((1, 1), 0.25), rtol=1e-4, atol=1e-4)


def test_implicit_states_of_no_dimension_and_of_no_samples():
    field = TimeField(lambda t, u: -u, 0.0, 1.0, 4)
    net = ODENet(field, "gauss2")
    torch.testing.assert_close(net(torch.tensor(1.0)), torch.tensor(0.36788), rtol=1e-4, atol=1e-4)
    assert net(torch.zeros(0, 3)).shape == (0, 3)


def test_batch_statistics_without_memory_couple_the_samples_too():
    torch.manual_seed(0)
    norm = {"track_running_stats": False, "dtype": torch.float64}
    blocks = [nn.Sequential(nn.Linear(6, 6, dtype=torch.float64), nn.BatchNorm1d(6, **norm), nn.Tanh())]
    net = ODENet(blocks * 2, "radau_iia2", h=0.3, solver=NewtonKrylov())
    assert net(batch(8, 6)).isfinite().all()
    assert all(len(report.converged) == 1 for _, report in net.reports)
