"""Functions that torch.func refuses: with torch.autograd.grad inside, old autograd.Functions, custom operators."""

import pytest
import torch
from torch import nn

import odenets
from odenets.stages.dense import pushed

WAYS = [("rk4", "checkpoint"), ("leapfrog", "reversible"), ("rk4", odenets.Checkpoint(states=1))]


class Hamiltonian(nn.Module):
    """(dH/dp, -dH/dq) of the learned energy H = sum tanh(x W)^2, by autograd; ``detached`` always cuts x off."""

    def __init__(self, ask):
        super().__init__()
        self.w, self.ask = nn.Parameter(torch.linspace(-1, 1, 16, dtype=torch.double).reshape(2, 8)), ask

    def forward(self, t, x):
        with torch.enable_grad():
            x = self.ask(x)
            energy = torch.tanh(x @ self.w).square().sum()
            dq, dp = torch.autograd.grad(energy, x, create_graph=True)[0].chunk(2, 1)
        return torch.cat([dp, -dq], 1)


#: how such functions in the field make their input one to differentiate by
ASKS = {
    "if it is none yet": lambda x: x if x.requires_grad else x.detach().requires_grad_(),
    "in place": lambda x: x.requires_grad_(),
    "of a view": lambda x: (x if x.requires_grad else x.requires_grad_()).view_as(x),
}


def gradients(f, x, scheme, how, **options):
    net = odenets.ODENet(odenets.TimeField(f, 0.0, 1.0, 5), scheme, gradient=how, **options)
    return torch.autograd.grad(net(x).square().sum(), [x, *f.parameters()])


def state():
    return torch.tensor([[1.0, 0.5], [0.2, -0.3]], dtype=torch.double, requires_grad=True)


@pytest.mark.parametrize(("scheme", "how"), WAYS)
@pytest.mark.parametrize("ask", ASKS)
def test_gradient_of_an_energy(scheme, how, ask):
    """torchdiffeq 154 and 209, torchdyn 172: torch.autograd.grad inside f. Right is what "direct" gives."""
    found = gradients(Hamiltonian(ASKS[ask]), state(), scheme, how)
    right = gradients(Hamiltonian(ASKS[ask]), state(), scheme, "direct")
    torch.testing.assert_close(found, right, rtol=1e-10, atol=1e-12)


def by_hand(f, x):
    """The implicit midpoint rule by plain iteration, recorded by autograd."""
    for _ in range(5):
        k = f(0, x)
        for _ in range(60):
            k = f(0, x + 0.1 * k)
        x = x + 0.2 * k
    return x


@pytest.mark.parametrize("solver", [odenets.NewtonKrylov(), odenets.Anderson()], ids=["newton", "anderson"])
def test_gradient_of_an_energy_in_stages_to_be_solved_for(solver):
    """torchdiffeq 154 and 209, torchdyn 172, of an implicit scheme."""
    f, x = Hamiltonian(ASKS["if it is none yet"]), state()
    right = torch.autograd.grad(by_hand(f, x).square().sum(), [x, f.w])
    torch.testing.assert_close(
        gradients(f, x, "implicit_midpoint", "direct", solver=solver), right, rtol=1e-7, atol=1e-9
    )


def test_gradient_of_an_energy_in_the_adjoint_equation():
    """torchdiffeq 154: its odeint_adjoint takes such an f."""
    torchdiffeq = pytest.importorskip("torchdiffeq")
    f, x = Hamiltonian(ASKS["if it is none yet"]), state()
    times = torch.tensor([0.0, 1.0], dtype=torch.double)
    y = torchdiffeq.odeint_adjoint(f, x, times, rtol=1e-10, atol=1e-10)[1]
    right = torch.autograd.grad(y.square().sum(), [x, f.w])
    net = odenets.ODENet(odenets.TimeField(f, 0.0, 1.0, 60), "rk4", gradient="adjoint")
    torch.testing.assert_close(torch.autograd.grad(net(x).square().sum(), [x, f.w]), right, rtol=3e-6, atol=3e-6)


class OldTanh(torch.autograd.Function):
    """tanh as an autograd.Function of the old style."""

    @staticmethod
    def forward(ctx, x):
        y = torch.tanh(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, bar):
        (y,) = ctx.saved_tensors
        return bar * (1 - y * y)


@torch.library.custom_op("odenets_reports::tanh", mutates_args=())
def custom_tanh(x: torch.Tensor) -> torch.Tensor:
    return torch.tanh(x)


custom_tanh.register_autograd(
    lambda ctx, bar: bar * (1 - ctx.saved_tensors[0] ** 2),
    setup_context=lambda ctx, inputs, output: ctx.save_for_backward(output),
)


class Once(OldTanh):
    """A backward that is a kernel: its results are not recorded."""

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, bar):
        (y,) = ctx.saved_tensors
        return bar * (1 - y * y)


class Activated(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.linear, self.function = nn.Linear(4, 4, dtype=torch.double), function

    def forward(self, x):
        return self.function(self.linear(x))


def of(function, scheme, how="direct", **options):
    torch.manual_seed(0)
    return odenets.ODENet([Activated(function) for _ in range(3)], scheme, h=0.5, gradient=how, **options)


def first_and_second(net, seed=1, second=True):
    x = torch.randn(3, 4, dtype=torch.double, generator=torch.Generator().manual_seed(seed)).requires_grad_()
    inputs = [x, *net.parameters()]
    first = torch.autograd.grad(net(x).square().sum(), inputs, create_graph=second)
    if not second:
        return first
    return [*first, *torch.autograd.grad(sum(g.square().sum() for g in first), inputs)]


FUNCTIONS = {"old style": OldTanh.apply, "custom operator": custom_tanh}
#: what the solver does with matrices as well as with products alone
SOLVERS = {"newton": odenets.NewtonKrylov(), "anderson": odenets.Anderson()}


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(("scheme", "how"), [("rk4", "checkpoint"), ("leapfrog", "reversible")])
def test_second_derivatives_of_functions_that_torch_func_refuses(function, scheme, how):
    """flash-attention 2071, pytorch 168393: create_graph. Right is what torch.tanh gives by autograd's own record."""
    found = first_and_second(of(FUNCTIONS[function], scheme, how))
    torch.testing.assert_close(found, first_and_second(of(torch.tanh, scheme)), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_stages_of_functions_that_torch_func_refuses(function, solver):
    """flash-attention 2071, pytorch 168393: implicit schemes, first and second derivatives."""
    found = first_and_second(of(FUNCTIONS[function], "implicit_midpoint", solver=SOLVERS[solver]))
    right = first_and_second(of(torch.tanh, "implicit_midpoint", solver=SOLVERS[solver]))
    torch.testing.assert_close(found, right, rtol=1e-7, atol=1e-8)


def test_stages_of_a_function_that_is_differentiable_once():
    """flash-attention 2071: Anderson needs no more. The Jacobian-vector products of NewtonKrylov do, and say so."""
    right = first_and_second(of(torch.tanh, "implicit_midpoint"), second=False)
    found = first_and_second(of(Once.apply, "implicit_midpoint", solver=odenets.Anderson()), second=False)
    torch.testing.assert_close(found, right, rtol=1e-7, atol=1e-8)
    z = torch.zeros(1, 4, dtype=torch.double)
    with torch.no_grad(), pytest.raises(odenets.SolverError, match="Anderson"):
        pushed(Once.apply, z)(z + 1)


def test_adjoint_of_a_function_that_torch_func_refuses():
    """flash-attention 2071: gradient="adjoint"."""

    class Field(nn.Module):
        def __init__(self, function):
            super().__init__()
            torch.manual_seed(0)
            self.f = Activated(function)

        def forward(self, t, x):
            return self.f(x)

    def gradients_of(function):
        net = odenets.ODENet(odenets.TimeField(Field(function), 0.0, 1.0, 4), "rk4", gradient="adjoint")
        return first_and_second(net, second=False)

    torch.testing.assert_close(gradients_of(OldTanh.apply), gradients_of(torch.tanh))
