"""The solvers of z = G(z): solutions, convergence of each sample, failures, options."""

import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
import scipy.optimize
import torch

from odenets.stages import GMRES, Anderson, ConvergenceError, ConvergenceWarning, NewtonKrylov, SolverError
from odenets.stages.arnoldi import _orthogonalise
from odenets.stages.fixed_point import fixed_point

SOLVERS = {"Newton": NewtonKrylov(), "NewtonKrylov": NewtonKrylov(dense=0), "Anderson": Anderson()}
each = pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)


def random(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def van_der_pol(z):
    return torch.stack([z[:, 1], 1000 * (1 - z[:, 0] ** 2) * z[:, 1] - z[:, 0]], 1)


def robertson(z):
    a, b, c = z.unbind(1)
    first, third = -0.04 * a + 1e4 * b * c, 3e7 * b * b
    return torch.stack([first, -first - third, third], 1)


def laplacian(z, n):
    p = torch.nn.functional.pad(z.reshape(-1, n, n), (1, 1, 1, 1))
    near = p[:, 2:, 1:-1] + p[:, :-2, 1:-1] + p[:, 1:-1, 2:] + p[:, 1:-1, :-2]
    return (near - 4 * p[:, 1:-1, 1:-1]).reshape(z.shape)


@pytest.mark.parametrize("krylov", [3, 12, 40])
def test_gmres_against_dense_solve(krylov):
    # non-normal, so that restarts matter
    A = torch.eye(12, dtype=torch.float64) * 3 + 0.4 * random(5, 12, 12)
    b = random(5, 12, seed=1)
    x, report = GMRES(krylov=krylov).solve(lambda v: torch.einsum("sij,sj->si", A, v), b)
    torch.testing.assert_close(x, torch.linalg.solve(A, b), rtol=1e-10, atol=1e-10)
    assert bool((report.residual <= 1).all())


def test_gmres_breakdowns():
    # Eigenvector (exact after one product), zero right side, identity, and a singular but consistent system.
    A = torch.stack(
        [torch.diag(torch.tensor(d, dtype=torch.float64)) for d in ([2, 3, 5], [2, 3, 5], [1, 1, 1], [4, 0, 7])]
    )
    b = torch.tensor([[1.0, 0, 0], [0, 0, 0], [1, 2, 3], [1, 0, 1]], dtype=torch.float64)
    x, report = GMRES().solve(lambda v: torch.einsum("sij,sj->si", A, v), b)
    torch.testing.assert_close(
        x, torch.tensor([[0.5, 0, 0], [0, 0, 0], [1, 2, 3], [0.25, 0, 1 / 7]], dtype=torch.float64)
    )
    assert report.iterations.tolist() == [1, 0, 1, 2]


def test_gmres_of_an_inconsistent_system_keeps_the_best():
    # A = diag(2, 0), b = (1, 1): over c b, || b - A c b || is least at c = 1/2; the next direction adds nothing
    A = torch.tensor([[2.0, 0.0]], dtype=torch.float64)
    x, report = GMRES().iterate(lambda v: A * v, torch.ones(1, 2, dtype=torch.float64))
    torch.testing.assert_close(x, torch.full_like(x, 0.5))
    assert not bool(report.converged)


def test_gram_schmidt_of_a_vector_nearly_in_the_space():
    # one pass leaves a part of 1e-16 / 1e-10 in the space
    basis = torch.linalg.qr(random(2, 30, 6))[0].mT
    w = basis.sum(1) + 1e-10 * random(2, 30, seed=1)
    coefficients, rest, norm = _orthogonalise(basis, w)
    assert float(torch.einsum("skd,sd->sk", basis, rest / norm[:, None]).abs().max()) < 1e-14
    torch.testing.assert_close(torch.einsum("sk,skd->sd", coefficients, basis) + rest, w, rtol=0, atol=1e-14)


def test_gmres_stops_at_rounding():
    A = torch.eye(30, dtype=torch.float64) + 1e4 * torch.triu(random(30, 30).abs())
    _, report = GMRES(rtol=1e-18).solve(lambda v: v @ A.T, random(3, 30, seed=2))
    assert int(report.iterations.max()) < 1000


def test_gmres_says_which_system_is_singular():
    A = torch.tensor([[1.0, 2.0], [1.0, 0.0]], dtype=torch.float64)
    with pytest.raises(ConvergenceError, match=r"1 of 2 samples \(1\)") as caught:
        GMRES().solve(lambda v: A * v, torch.ones(2, 2, dtype=torch.float64))
    assert caught.value.report.converged.tolist() == [True, False]


@each
def test_linear_against_dense_solve(solver):
    M, b = 0.3 * random(8, 8), random(4, 8, seed=1)
    z, report = fixed_point(lambda z, M, b: z @ M.T + b, torch.zeros_like(b), (M, b), solver)
    exact = torch.linalg.solve(torch.eye(8, dtype=torch.float64) - M, b.T).T
    torch.testing.assert_close(z, exact, rtol=1e-8, atol=1e-8)
    assert bool(report.converged.all())
    assert f"{4} of {4} samples converged" in str(report)


@each
def test_kepler_equation_against_scipy(solver):
    # E = M + e sin E
    e, M = (
        torch.tensor([[0.1], [0.5], [0.8]], dtype=torch.float64),
        torch.tensor([[1.0], [2.0], [0.3]], dtype=torch.float64),
    )
    z, _ = fixed_point(lambda z, e, M: M + e * torch.sin(z), M, (e, M), solver)
    for found, a, m in zip(z.flatten(), e.flatten(), M.flatten(), strict=True):
        root = scipy.optimize.brentq(lambda E, a=a, m=m: E - float(m) - float(a) * math.sin(E), 0, 4, xtol=1e-14)
        assert float(found) == pytest.approx(root, abs=1e-9)


@pytest.mark.parametrize("h", [1e-3, 1.0, 100.0])
def test_stiff_backward_euler_van_der_pol(h):
    y = torch.tensor([[2.0, 0.0], [1.5, -1.0], [-2.0, 0.1]], dtype=torch.float64)
    z, _ = fixed_point(lambda z, y: y + h * van_der_pol(z), y, (y,))

    # v = (z - y_0) / h in the second equation leaves a cubic for z
    for (found, v), (start, speed) in zip(z.tolist(), y.tolist(), strict=True):
        m = 1000 * h
        cubic = np.roots([m, -m * start, 1 - m + h**2, -start * (1 - m) - h * speed])
        real = cubic[abs(cubic.imag) < 1e-9].real
        root = real[np.argmin(abs(real - found))]
        assert found == pytest.approx(root, abs=1e-9)
        assert v == pytest.approx((root - start) / h, abs=1e-8 / min(h, 1))


@pytest.mark.parametrize("h", [1e-2, 1.0, 1e4])
def test_stiff_backward_euler_robertson(h):
    y = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]], dtype=torch.float64)
    z, _ = fixed_point(lambda z, y: y + h * robertson(z), y, (y,), NewtonKrylov(atol=1e-14))

    def residual(v, start):
        first, third = -0.04 * v[0] + 1e4 * v[1] * v[2], 3e7 * v[1] ** 2
        return v - start - h * np.array([first, -first - third, third])

    for found, start in zip(z.numpy(), y.numpy(), strict=True):
        assert (found > 0).all()
        root = scipy.optimize.fsolve(residual, found * 1.01, args=(start,), xtol=1e-12)
        np.testing.assert_allclose(found, root, rtol=1e-7, atol=1e-12)


def test_hundred_thousand_unknowns_without_a_matrix():
    # Backward Euler for the heat equation, h lambda_max = 125 * 8 = 1000; the discrete sine is an eigenvector.
    n, h = 316, 125.0
    s = torch.sin(math.pi * torch.arange(1, n + 1, dtype=torch.float64) / (n + 1))
    rough = torch.sin(math.pi * 200 * torch.arange(1, n + 1, dtype=torch.float64) / (n + 1))
    mu = [8 * math.sin(math.pi * k / (2 * (n + 1))) ** 2 for k in (1, 200)]
    smooth, fast = torch.outer(s, s).reshape(1, -1), torch.outer(rough, rough).reshape(1, -1)
    z, report = fixed_point(lambda z, y: y + h * laplacian(z, n), smooth + fast, (smooth + fast,))
    torch.testing.assert_close(z, smooth / (1 + h * mu[0]) + fast / (1 + h * mu[1]), rtol=1e-8, atol=1e-8)
    y = random(1, n * n).requires_grad_()
    z, report = fixed_point(lambda z, y: y + h * laplacian(z, n), y, (y,), NewtonKrylov(rtol=1e-6, atol=1e-6))
    z.sum().backward()
    assert bool(report.converged.all())
    # The Jacobian would have 10^10 entries; Krylov's method needs some root of its condition 1000 products a solve.
    assert report.products < 500


def test_anderson_beats_plain_iteration_and_agrees_with_newton():
    M, b = random(6, 6), random(3, 6, seed=1)
    M = 0.95 * M / torch.linalg.matrix_norm(M, 2)
    z, count = torch.zeros_like(b), 0
    while float((torch.tanh(z @ M.T + b) - z).abs().max()) > 1e-10:
        z, count = torch.tanh(z @ M.T + b), count + 1
    fast, report = fixed_point(lambda z: torch.tanh(z @ M.T + b), torch.zeros_like(b), (), Anderson())
    newton, _ = fixed_point(lambda z: torch.tanh(z @ M.T + b), torch.zeros_like(b), (), NewtonKrylov())
    assert int(report.iterations.max()) < 0.7 * count
    torch.testing.assert_close(fast, newton, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(fast, z, rtol=1e-8, atol=1e-8)


def test_anderson_without_memory_is_the_damped_iteration():
    solver = Anderson(memory=0, damping=0.5, max_iterations=3, on_failure="flag")
    with pytest.warns(ConvergenceWarning, match="Anderson"):
        z, report = fixed_point(torch.cos, torch.zeros(1, 1, dtype=torch.float64), (), solver)
    x = 0.0
    for _ in range(3):
        x = 0.5 * x + 0.5 * math.cos(x)
    assert z.item() == pytest.approx(x, abs=1e-15)
    assert report.evaluations == 4


@each
def test_each_sample_converges_by_itself(solver):
    # cos has a fixed point (Dottie's number), z + 1 has none, a constant is found at once
    kind = torch.tensor([[0.0], [1.0], [2.0]], dtype=torch.float64)

    def G(z, kind):
        return torch.where(kind == 0, torch.cos(z), torch.where(kind == 1, z + 1, torch.ones_like(z)))

    zero = torch.zeros_like(kind)
    with pytest.raises(ConvergenceError, match=r"1 of 3 samples \(1\)") as caught:
        fixed_point(G, zero, (kind,), solver)
    assert caught.value.report.converged.tolist() == [True, False, True]
    assert bool(pickle.loads(pickle.dumps(caught.value)).report.converged[0])
    with pytest.warns(ConvergenceWarning, match="smaller step h"):
        z, report = fixed_point(G, zero, (kind,), replace(solver, on_failure="flag"))
    assert report.converged.tolist() == [True, False, True]
    alone, _ = fixed_point(torch.cos, zero[:1], (), solver)
    assert z[0].item() == alone.item()  # bitwise: frozen while the others went on
    assert z[0].item() == pytest.approx(0.7390851332151607, abs=1e-9)
    assert report.iterations[2] < report.iterations[0]


@each
def test_no_real_fixed_point_is_named(solver):
    with pytest.raises(ConvergenceError, match="tolerance"):
        fixed_point(lambda z: z.exp() + 1, torch.zeros(1, 1, dtype=torch.float64), (), solver)


@each
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_nan_is_named_and_does_not_loop(solver, bad):
    values = torch.tensor([[0.5], [bad]], dtype=torch.float64)
    with pytest.raises(ConvergenceError, match="NaN or infinite for 1 of them") as caught:
        fixed_point(lambda z, v: 0.5 * z + v, torch.zeros(2, 1, dtype=torch.float64), (values,), solver)
    assert caught.value.report.finite.tolist() == [True, False]
    assert caught.value.report.iterations[1] <= 1


@each
def test_coupled_samples_need_one_system(solver):
    def G(z):
        return 0.6 * torch.tanh(z.flip(0)) + torch.tensor([[1.0], [2.0]], dtype=torch.float64)

    z, report = fixed_point(G, torch.zeros(2, 1, dtype=torch.float64), (), replace(solver, per_sample=False))
    root = scipy.optimize.fsolve(lambda v: v - 0.6 * np.tanh(v[::-1]) - [1, 2], [0, 0], xtol=1e-13)
    np.testing.assert_allclose(z.numpy()[:, 0], root, atol=1e-8)
    assert report.converged.shape == (1,)


@each
def test_a_warm_guess_needs_fewer_iterations(solver):
    b = random(2, 3)
    z, cold = fixed_point(lambda z: 0.5 * torch.cos(z) + b, torch.zeros_like(b), (), solver)
    _, warm = fixed_point(lambda z: 0.5 * torch.cos(z) + b, z + 1e-4, (), solver)
    again, none = fixed_point(lambda z: 0.5 * torch.cos(z) + b, z, (), solver)
    assert 0 < int(warm.iterations.max()) < int(cold.iterations.max())
    assert int(none.iterations.max()) <= 1
    torch.testing.assert_close(again, z, rtol=0, atol=1e-9)


@each
def test_float32(solver):
    b = random(3, 4, dtype=torch.float32)
    z, _ = fixed_point(lambda z: 0.5 * torch.cos(z) + b, torch.zeros_like(b), (), solver)
    exact, _ = fixed_point(lambda z: 0.5 * torch.cos(z) + b.double(), torch.zeros_like(b).double(), (), solver)
    assert z.dtype == torch.float32
    torch.testing.assert_close(z.double(), exact, rtol=1e-5, atol=1e-5)


def test_float32_stiff_where_rounding_keeps_the_residual_up():
    # z - G(z) rounds at 6e-8 * 8e4 times z, hundreds of tolerances
    exact = random(1, 64)
    y = (exact - 1e4 * laplacian(exact, 8)).float()
    z, report = fixed_point(lambda z: y + 1e4 * laplacian(z, 8), torch.zeros_like(y))
    assert bool(report.converged.all())
    A = torch.eye(64, dtype=torch.float64) - 1e4 * laplacian(torch.eye(64, dtype=torch.float64), 8)
    torch.testing.assert_close(z.double(), torch.linalg.solve(A, y.double().T).T, rtol=1e-5, atol=1e-5)


def test_autocast_is_off():
    M = 0.3 * random(8, 8, dtype=torch.float32)
    b = random(2, 8, seed=1, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z, _ = fixed_point(lambda z, M: z @ M.T + b, b, (M,))
    assert z.dtype == torch.float32
    torch.testing.assert_close(z, torch.linalg.solve(torch.eye(8) - M, b.T).T, rtol=1e-4, atol=1e-4)


def test_no_samples():
    z, report = fixed_point(torch.cos, torch.zeros(0, 3, dtype=torch.float64))
    assert z.shape == (0, 3)
    assert str(report).startswith("0 of 0")


@pytest.mark.parametrize(
    ("make", "options", "match"),
    [
        (NewtonKrylov, {"rtol": 0}, "rtol: got 0"),
        (NewtonKrylov, {"atol": math.nan}, "atol: got nan"),
        (NewtonKrylov, {"max_iterations": 0}, "max_iterations: got 0"),
        (NewtonKrylov, {"krylov": 2.5}, r"krylov: got 2\.5"),
        (NewtonKrylov, {"restarts": -1}, "restarts: got -1"),
        (NewtonKrylov, {"backtracks": True}, "backtracks: got True"),
        (NewtonKrylov, {"dense": -1}, "dense: got -1"),
        (NewtonKrylov, {"forcing": 1.0}, r"forcing: got 1\.0"),
        (NewtonKrylov, {"adjoint": 3}, "adjoint: got 3"),
        (Anderson, {"memory": -1}, "memory: got -1"),
        (Anderson, {"damping": 1.5}, r"damping: got 1\.5"),
        (Anderson, {"regularisation": -1e-3}, "regularisation: got"),
        (Anderson, {"per_sample": 1}, "per_sample: got 1"),
        (Anderson, {"on_failure": "ignore"}, "on_failure: got 'ignore'"),
        (GMRES, {"rtol": 2}, "rtol: got 2"),
        (GMRES, {"atol": -1.0}, "atol: got"),
        (GMRES, {"krylov": 0}, "krylov: got 0"),
    ],
)
def test_bad_options(make, options, match):
    with pytest.raises(SolverError, match=match):
        make(**options)


def test_bad_arguments():
    z = torch.zeros(2, 3, dtype=torch.float64)
    for guess in (z[0], z.bfloat16(), z.long(), [0.0]):
        with pytest.raises(SolverError, match="guess: got"):
            fixed_point(torch.cos, guess)
    with pytest.raises(SolverError, match="tensors: got"):
        fixed_point(lambda z, b: z, z, (1.0,))
    with pytest.raises(SolverError, match="solver: got"):
        fixed_point(torch.cos, z, (), "newton")
    for wrong in (lambda z: z[:1], lambda z: z.float(), lambda z: (z,)):
        with pytest.raises(SolverError, match=r"G\(z\): got"):
            fixed_point(wrong, z)
    w = z.clone().requires_grad_()
    with pytest.raises(SolverError, match="not among the tensors"):
        fixed_point(lambda z: torch.cos(z) + w, z)
    with torch.no_grad():
        assert not fixed_point(lambda z: torch.cos(z) + w, z)[0].requires_grad
