"""Newton's iteration with the matrices of small systems: what it finds, what it takes, and when it is not taken."""

import numpy as np
import pytest
import scipy.optimize
import torch
from torch import nn

from odenets import Anderson, ConvergenceError, NewtonKrylov, ODENet, TimeField
from odenets.stages.dense import pushed
from odenets.stages.fixed_point import fixed_point

# The stability functions of Hairer & Wanner (1996), IV.3 and IV.5
STABILITY = {
    "backward_euler": lambda z: 1 / (1 - z),
    "trapezoid": lambda z: (1 + z / 2) / (1 - z / 2),
    "gauss2": lambda z: (1 + z / 2 + z**2 / 12) / (1 - z / 2 + z**2 / 12),
    "radau_iia2": lambda z: (1 + z / 3) / (1 - 2 * z / 3 + z**2 / 6),
    "radau_iia3": lambda z: (1 + 2 * z / 5 + z**2 / 20) / (1 - 3 * z / 5 + 3 * z**2 / 20 - z**3 / 60),
}


def random(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", STABILITY)
def test_a_linear_problem_takes_one_matrix_and_is_the_stability_function(name):
    # u' = K u, K = Q diag(eigenvalues) Q^T: the step multiplies each eigenvector by R(h eigenvalue)
    eigenvalues = torch.tensor([-1e5, -30.0, -1.0, 0.5], dtype=torch.float64)
    Q, x, h = torch.linalg.qr(random(4, 4))[0], random(3, 4, seed=1), 0.25
    linear = nn.Linear(4, 4, bias=False, dtype=torch.float64)
    with torch.no_grad():
        linear.weight.copy_(Q @ torch.diag(eigenvalues) @ Q.T)
    net = ODENet([linear] * 3, name, h=h)
    exact = x @ Q @ torch.diag(STABILITY[name](h * eigenvalues) ** 3) @ Q.T
    torch.testing.assert_close(net(x), exact, rtol=1e-8, atol=1e-8)
    for _, report in net.reports:
        assert (report.matrices, report.products) == (1, 0)
        assert int(report.iterations.max()) <= 2


def test_a_step_of_radau_on_van_der_pol_against_scipy():
    x, h = np.array([[2.0, 0.0], [1.5, -0.6]]), 0.05

    def f(u):
        return np.array([u[1], 100 * (1 - u[0] ** 2) * u[1] - u[0]])

    def stages(Y, u):
        first, second = Y.reshape(2, 2)
        return np.concatenate(
            [
                first - u - h * (5 / 12 * f(first) - 1 / 12 * f(second)),
                second - u - h * (3 / 4 * f(first) + 1 / 4 * f(second)),
            ]
        )

    field = TimeField(lambda t, u: torch.stack([u[:, 1], 100 * (1 - u[:, 0] ** 2) * u[:, 1] - u[:, 0]], 1), 0.0, h, 1)
    net = ODENet(field, "radau_iia2")
    found = net(torch.tensor(x))
    for row, u in zip(found.detach().numpy(), x, strict=True):
        root = scipy.optimize.fsolve(stages, np.tile(u, 2), args=(u,), xtol=1e-13)
        np.testing.assert_allclose(row, root[2:], rtol=1e-8, atol=1e-9)
    assert net.reports[0][1].products == 0


def test_a_matrix_is_kept_while_it_is_good_enough():
    b = random(4, 3)

    def matrices(weight):
        z, report = fixed_point(lambda z: b - weight * z**3, torch.zeros_like(b))
        torch.testing.assert_close(z + weight * z**3, b, rtol=1e-9, atol=1e-9)
        return report.matrices, int(report.iterations.max())

    one, several = matrices(1e-3)
    assert one == 1
    assert several > 2
    assert matrices(10.0)[0] > 1


def test_the_matrices_and_krylov_find_the_same_and_the_report_tells_them_apart():
    W, b = 0.4 * random(6, 6), random(5, 6, seed=1)

    def solved(solver):
        w, c = W.clone().requires_grad_(), b.clone().requires_grad_()
        z, report = fixed_point(lambda z, w, c: torch.tanh(z @ w.T) + c, torch.zeros_like(b), (w, c), solver)
        return [z.detach(), *torch.autograd.grad(z.square().sum(), (w, c))], report

    by_matrix, report = solved(NewtonKrylov(dense=6))
    by_products, other = solved(NewtonKrylov(dense=5))
    for one, two in zip(by_matrix, by_products, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-8, atol=1e-8)
    assert report.matrices > 0 == report.products
    assert other.products > 0 == other.matrices
    assert str(report).endswith(f"0 Jacobian-vector products, {report.matrices} Jacobian matrices")


@pytest.mark.parametrize("solver", [NewtonKrylov(rtol=1e-12), Anderson(rtol=1e-12)], ids=lambda s: type(s).__name__)
def test_samples_that_are_coupled_against_the_promise_get_no_wrong_derivative(solver):
    # G mixes the rows, which per_sample=True denies: z = b + M z / 5 over both rows at once
    M, b = random(2, 2), random(2, 1, seed=1)
    exact = torch.linalg.inv(torch.eye(2, dtype=torch.float64) - 0.2 * M)

    def solve(b):
        return fixed_point(lambda z, b: b + 0.2 * M @ z, torch.zeros_like(b), (b,), solver)[0]

    torch.testing.assert_close(solve(b), exact @ b, rtol=1e-9, atol=1e-9)
    bar = random(2, 1, seed=2)
    torch.testing.assert_close(torch.func.jvp(solve, (b,), (bar,))[1], exact @ bar, rtol=1e-9, atol=1e-9)
    with pytest.raises(ConvergenceError, match="per_sample=False if the function couples samples"):
        torch.func.vjp(solve, b)[1](bar)


@pytest.mark.parametrize(("dtype", "stiffness"), [(torch.float64, 1e11), (torch.float32, 1e6)])
def test_stiff_samples_that_are_coupled_against_the_promise_are_not_said_to_have_converged(dtype, stiffness):
    # z + K (z_1 + z_2) (1, 1) = (1, -1): what differs between the samples is not stiff, and each one's matrix is
    b, z = torch.tensor([[1.0], [-1.0]], dtype=dtype), torch.tensor([[0.3], [0.1]], dtype=dtype)
    with pytest.raises(ConvergenceError, match="per_sample=False if the function couples samples"):
        fixed_point(lambda z: b - stiffness * z.sum(0).expand_as(z), z)
    found, _ = fixed_point(lambda z: b - stiffness * z.sum(0).expand_as(z), z, (), NewtonKrylov(per_sample=False))
    torch.testing.assert_close(found, b)


class Square(torch.autograd.Function):
    """Has no rule for vmap."""

    @staticmethod
    def forward(x):
        return x * x

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, bar):
        return 2 * ctx.saved_tensors[0] * bar


def test_a_function_that_cannot_be_batched_is_taken_row_by_row():
    # z = z^2 / 4 + 1/2 where the roots are 2 -+ sqrt 2
    z, report = fixed_point(lambda z: Square.apply(z) / 4 + 0.5, torch.zeros(2, 3, dtype=torch.float64))
    torch.testing.assert_close(z, torch.full_like(z, 2 - 2**0.5), rtol=1e-9, atol=1e-9)
    assert report.matrices > 0


def test_inference_mode_goes_without_matrices():
    b = random(3, 2)
    with torch.inference_mode():
        z, report = fixed_point(lambda z, b: 0.5 * torch.cos(z) + b, torch.zeros_like(b), (b,))
    torch.testing.assert_close(z, 0.5 * torch.cos(z) + b, rtol=1e-9, atol=1e-9)
    assert report.matrices == 0


class Once(Square):
    """Cannot be differentiated twice, but forwards."""

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, bar):
        return 2 * ctx.saved_tensors[0] * bar

    @staticmethod
    def jvp(ctx, tangent):
        return 2 * ctx.saved_tensors[0] * tangent


@pytest.mark.parametrize("function", [torch.square, Once.apply], ids=["twice", "once"])
def test_products_with_the_jacobian(function):
    # G = M z^2, G_z v = 2 M (z v)
    M, z, v = random(3, 3), random(2, 3, seed=1), random(2, 3, seed=2)
    product = pushed(lambda z: function(z) @ M.T, z)
    for _ in range(2):
        torch.testing.assert_close(product(v), 2 * (z * v) @ M.T, rtol=1e-12, atol=1e-12)
    assert not pushed(torch.ones_like, z)(v).any()
