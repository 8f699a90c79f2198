"""Derivatives of the solution of z = G(z, tensors), of any order, in either mode."""

from dataclasses import replace

import pytest
import torch

from odenets.stages import GMRES, Anderson, ConvergenceError, NewtonKrylov, SolverError
from odenets.stages.fixed_point import fixed_point

TIGHT = {
    "Newton": NewtonKrylov(rtol=1e-13, atol=1e-13),
    # with the adjoint equations by GMRES
    "Anderson": Anderson(rtol=1e-13, atol=1e-13, dense=0),
}
each = pytest.mark.parametrize("solver", TIGHT.values(), ids=TIGHT)
S, D = 2, 3


def inputs():
    generator = torch.Generator().manual_seed(0)
    W = 0.5 * torch.randn(D, D, dtype=torch.float64, generator=generator)
    return W, torch.randn(S, D, dtype=torch.float64, generator=generator)


def G(z, W, b):
    return torch.tanh(z @ W.T + b)


def solution(solver):
    return lambda W, b: fixed_point(G, torch.zeros(S, D, dtype=torch.float64), (W, b), solver)[0]


def by_hand(z, W, bar):
    """tanh' = 1 - z^2 at z = tanh(W z + b): lambda = (I - diag(1 - z^2) W)^-T bar, b-bar = (1 - z^2) lambda."""
    slope = 1 - z**2
    J = slope[:, :, None] * W
    adjoint = torch.linalg.solve((torch.eye(D, dtype=torch.float64) - J).mT, bar)
    return (slope * adjoint).T @ z, slope * adjoint


@each
def test_gradient_against_the_implicit_function_theorem(solver):
    W, b = (x.requires_grad_() for x in inputs())
    z = solution(solver)(W, b)
    bar = torch.arange(1.0, S * D + 1, dtype=torch.float64).reshape(S, D)
    z.backward(bar)
    expected = by_hand(z.detach(), W.detach(), bar)
    torch.testing.assert_close(W.grad, expected[0], rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(b.grad, expected[1], rtol=1e-9, atol=1e-10)


@each
def test_first_and_second_derivatives_by_differences(solver):
    W, b = (x.requires_grad_() for x in inputs())
    assert torch.autograd.gradcheck(solution(solver), (W, b))
    assert torch.autograd.gradgradcheck(solution(solver), (W, b))


@each
def test_transformations_of_torch_func(solver):
    W, b = inputs()
    solve = solution(solver)
    z = solve(W, b)
    slope = 1 - z**2
    expected = torch.linalg.solve(torch.eye(D, dtype=torch.float64) - slope[:, :, None] * W, torch.diag_embed(slope))
    for jacobian in (torch.func.jacrev, torch.func.jacfwd):
        full = jacobian(solve, argnums=1)(W, b)
        for s in range(S):
            torch.testing.assert_close(full[s, :, s], expected[s], rtol=1e-9, atol=1e-10)
            assert not full[s, :, 1 - s].any()
    bar = torch.ones_like(z)
    torch.testing.assert_close(torch.func.grad(lambda W: solve(W, b).sum())(W), by_hand(z, W, bar)[0])
    torch.testing.assert_close(torch.func.vjp(solve, W, b)[1](bar)[1], by_hand(z, W, bar)[1])
    tangent = torch.func.jvp(lambda b: solve(W, b), (b,), (bar,))[1]
    torch.testing.assert_close(tangent, expected.sum(2))


@each
def test_second_derivatives_of_both_modes_agree_with_differences(solver):
    W, b = inputs()

    def gradient(b):
        z = solution(solver)(W, b)
        return by_hand(z, W, 3 * z**2)[1]

    def cube(b):
        return solution(solver)(W, b).pow(3).sum()

    step = 1e-5
    unit = torch.eye(S * D, dtype=torch.float64).reshape(-1, S, D)
    expected = torch.stack([(gradient(b + step * e) - gradient(b - step * e)) / (2 * step) for e in unit])
    for hessian in (
        torch.func.hessian,
        lambda f: torch.func.jacrev(torch.func.jacrev(f)),
        lambda f: torch.func.jacrev(torch.func.jacfwd(f)),
    ):
        torch.testing.assert_close(hessian(cube)(b).reshape(-1, S, D), expected, rtol=1e-6, atol=1e-7)


@each
def test_third_derivative(solver):
    # z = exp(-z) + a: z' = 1 / (1 + e), e = exp(-z); z'' = e z'^3, z''' = (-e z'^4) + 3 e^2 z'^5
    a = torch.tensor([[0.3]], dtype=torch.float64)

    def f(a):
        return fixed_point(lambda z, a: torch.exp(-z) + a, torch.zeros(1, 1, dtype=torch.float64), (a,), solver)[
            0
        ].sum()

    third = torch.func.grad(lambda a: torch.func.grad(lambda a: torch.func.grad(f)(a).sum())(a).sum())(a)
    e = torch.exp(-f(a))
    d = 1 / (1 + e)
    torch.testing.assert_close(third.sum(), -e * d**4 + 3 * e**2 * d**5, rtol=1e-9, atol=1e-10)


@each
def test_vmap_is_a_loop(solver):
    W, b = inputs()
    many = torch.stack([b, 2 * b, b - 1])
    weights = torch.stack([W, 0.5 * W, -W])
    together = torch.func.vmap(solution(solver))(weights, many)
    alone = torch.stack([solution(solver)(w, x) for w, x in zip(weights, many, strict=True)])
    torch.testing.assert_close(together, alone, rtol=1e-11, atol=1e-11)
    grads = torch.func.vmap(torch.func.grad(lambda b: solution(solver)(W, b).sum()), in_dims=2)(many.movedim(0, 2))
    for x, found in zip(many, grads, strict=True):
        torch.testing.assert_close(
            found, by_hand(solution(solver)(W, x), W, torch.ones_like(x))[1], rtol=1e-9, atol=1e-9
        )


@each
def test_coupled_samples_have_coupled_gradients(solver):
    b = torch.tensor([[0.2], [0.7]], dtype=torch.float64, requires_grad=True)
    options = replace(solver, per_sample=False)
    assert torch.autograd.gradcheck(
        lambda b: fixed_point(lambda z, b: 0.6 * torch.tanh(z.flip(0)) + b, torch.zeros_like(b), (b,), options)[0], (b,)
    )


def test_memory_does_not_depend_on_the_iterations():
    def kept(limit):
        shapes = []
        W, b = (x.requires_grad_() for x in inputs())
        options = Anderson(memory=0, damping=0.05, max_iterations=limit, rtol=1e-13, on_failure="flag")
        with torch.autograd.graph.saved_tensors_hooks(lambda t: shapes.append(t.shape) or t, lambda t: t):
            _, report = fixed_point(G, torch.zeros_like(b), (W, b), options)
        return sorted(shapes), report.evaluations

    with pytest.warns(UserWarning, match="did not converge"):
        (few, short), (many, long) = kept(3), kept(300)
    assert long > 50 * short
    assert few == many == sorted([torch.Size((S, D)), torch.Size((D, D)), torch.Size((S, D))])


def test_only_what_needs_a_gradient_gets_one():
    W, b = inputs()
    index = torch.tensor([1, 0])
    guess = torch.zeros(S, D, dtype=torch.float64, requires_grad=True)
    b.requires_grad_()
    z, _ = fixed_point(lambda z, W, b, i: G(z, W, b[i]), guess, (W, b, index))
    z.sum().backward()
    assert guess.grad is None
    assert W.grad is None
    exact = by_hand(z.detach(), W, torch.ones_like(z))[1]
    torch.testing.assert_close(b.grad, exact[index], rtol=1e-7, atol=1e-8)


def test_a_failing_adjoint_raises():
    b = torch.ones(1, 6, dtype=torch.float64, requires_grad=True)
    scale = torch.arange(1.0, 7.0, dtype=torch.float64)
    options = NewtonKrylov(adjoint=GMRES(krylov=2, restarts=0), on_failure="flag", dense=0)
    z, _ = fixed_point(lambda z, b: -scale * z + b, torch.zeros_like(b), (b,), options)
    with pytest.raises(ConvergenceError, match="adjoint"):
        z.sum().backward()


@pytest.mark.parametrize("transform", [torch.func.grad, torch.func.jacfwd])
def test_a_tensor_taken_by_closure_is_refused(transform):
    W, b = inputs()
    with pytest.raises(SolverError, match="not among the tensors"):
        transform(lambda W: fixed_point(lambda z: G(z, W, b), torch.zeros_like(b), (), NewtonKrylov())[0].sum())(W)


def test_what_torch_cannot_nest_is_refused():
    W, b = inputs()
    solve = solution(NewtonKrylov())
    with pytest.raises(SolverError, match="jvp of a jvp"):
        torch.func.jacfwd(torch.func.jacfwd(lambda b: solve(W, b)))(b)
    with pytest.raises(SolverError, match="jacrev"):
        torch.autograd.functional.jacobian(lambda b: solve(W, b), b, vectorize=True)


@pytest.mark.parametrize("solver", [NewtonKrylov(), NewtonKrylov(dense=0), Anderson()])
def test_dual_numbers(solver):
    W, b = inputs()
    solve = solution(solver)
    with torch.autograd.forward_ad.dual_level():
        dual = solve(W, torch.autograd.forward_ad.make_dual(b, b.flip(0)))
        tangent = torch.autograd.forward_ad.unpack_dual(dual).tangent
    torch.testing.assert_close(tangent, torch.func.jvp(lambda b: solve(W, b), (b,), (b.flip(0),))[1])


def test_compiled_it_runs_eagerly_or_is_named():
    W, b = inputs()
    solve = solution(NewtonKrylov())
    torch.testing.assert_close(torch.compile(solve, backend="eager")(W, b), solve(W, b), rtol=0, atol=0)
    torch._dynamo.reset()  # it remembers that it skipped this one
    with pytest.raises(torch._dynamo.exc.Unsupported, match="fixed_point"):
        torch.compile(solve, backend="eager", fullgraph=True)(W, b)


def test_tracing_is_refused(monkeypatch):
    W, b = inputs()
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    with pytest.raises(SolverError, match="traced"):
        solution(NewtonKrylov())(W, b)
