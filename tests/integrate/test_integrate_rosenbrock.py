"""Rosenbrock steps: orders, tolerances, gradients, stiff problems, and what goes wrong, for all of the zoo."""

import itertools
import math

import numpy as np
import pytest
import sympy
import torch
from scipy.integrate import solve_ivp

from odenets import (
    Event,
    FieldError,
    IntegrationError,
    NewtonKrylov,
    ODENet,
    Scheme,
    SchemeError,
    StepControl,
    TimeField,
    rosenbrock,
    schemes,
    solve,
)
from odenets.analysis import modified_equation, modifying_integrator
from odenets.benchmarks.stiff.problems import PROBLEMS, SMALL, error, in_torch

F64 = torch.float64
ROSENBROCK = [name for name, scheme in schemes.items() if scheme.structure == "linearly implicit"]
PHASE = torch.linspace(0, 6, 5, dtype=F64)
START = torch.linspace(0.05, 0.95, 5, dtype=F64)
PROBLEM = {
    "u' = u (1 - u)": (lambda t, u: u * (1 - u), START, 1 / (1 + (1 / START - 1) * math.exp(-2))),
    "u' = cos(t + phase) u": (
        lambda t, u: torch.cos(t + PHASE) * u,
        torch.ones_like(PHASE),
        torch.exp(torch.sin(2 + PHASE) - torch.sin(PHASE)),
    ),
}
STEPS = {2: 300, 3: 100, 4: 120, 5: 40}


@pytest.mark.parametrize("problem", PROBLEM)
@pytest.mark.parametrize("name", ROSENBROCK)
def test_observed_order_is_the_derived_order(name, problem):
    f, start, exact = PROBLEM[problem]
    order = schemes[name].order
    errors = [(solve(f, start, (0, 2), name, steps=n * STEPS[order]).y[-1] - exact).norm().item() for n in (1, 2)]
    assert errors[1] > 1e-13
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize("name", [name for name in ROSENBROCK if schemes[name].embedded is not None])
def test_the_embedded_solution_has_its_order(name):
    f, start, exact = PROBLEM["u' = cos(t + phase) u"]
    scheme = schemes[name]
    lower = Scheme("lower", scheme.A, scheme.U, scheme.embedded, scheme.V, Gamma=scheme.Gamma, digits=scheme.digits)
    errors = [(solve(f, start, (0, 2), lower, steps=n).y[-1] - exact).norm().item() for n in (100, 200)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(scheme.embedded_order, abs=0.1)


def test_a_step_is_the_formula_of_the_paper():
    # Verwer et al. (1999): (I - g h J) k1 = f, (I - g h J) k2 = f(u + h k1) - 2 k1, u+ = u + h (3 k1 + k2) / 2
    matrix = torch.tensor([[-2.0, 1.0], [0.5, -30.0]], dtype=F64)
    u, h, g = torch.tensor([0.7, -0.2], dtype=F64), 0.3, 1 + math.sqrt(0.5)
    f = lambda t, u: torch.tanh(matrix @ u)  # noqa: E731
    J = (1 - torch.tanh(matrix @ u) ** 2)[:, None] * matrix
    M = torch.eye(2, dtype=F64) - g * h * J
    k1 = torch.linalg.solve(M, f(0, u))
    k2 = torch.linalg.solve(M, f(0, u + h * k1) - 2 * k1)
    found = solve(f, u, (0, h), "ros2", steps=1).y[-1]
    torch.testing.assert_close(found, u + h * (3 * k1 + k2) / 2, rtol=1e-14, atol=1e-14)


WEIGHT = torch.tensor([[-1.0, 0.4], [0.3, -2.0]], dtype=F64)


@pytest.mark.parametrize("name", ROSENBROCK)
@pytest.mark.parametrize("shape", [(2,), (3, 2)])
def test_gradients_on_a_grid_to_all_that_there_is(name, shape):
    def end(u, k, start, stop):
        f = lambda t, x: torch.tanh(x @ WEIGHT) * k * torch.cos(t * k.sum()) - x**3 * t  # noqa: E731
        return solve(f, u, torch.stack([start, (start + stop) / 2, stop]), name, steps=3).y[1:]

    u = torch.linspace(-1, 1, math.prod(shape), dtype=F64).reshape(shape)
    given = [u, torch.tensor([0.5, 1.5], dtype=F64), torch.tensor(0.1, dtype=F64), torch.tensor(0.8, dtype=F64)]
    assert torch.autograd.gradcheck(end, [x.requires_grad_() for x in given], fast_mode=True)


def linear_gradient(start, matrix, **options):
    matrix = matrix.clone().requires_grad_()
    start = start.clone().requires_grad_()
    found = solve(lambda t, u: torch.cos(t) * (u @ matrix), start, (0, 1), "rodas5p", **options)
    found.y[-1].sum().backward()
    return found, start.grad, matrix.grad


@pytest.fixture
def small_limit(monkeypatch):
    """States of more than 100 numbers have no matrices."""
    monkeypatch.setattr("odenets.integrate.linearised.LARGEST", 100)


@pytest.mark.parametrize("width", [3, 20, 120])  # an inverse, factors, and GMRES
def test_gradients_of_adaptive_steps(width, small_limit):
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(width, dtype=F64, generator=generator)
    matrix = torch.randn(width, width, dtype=F64, generator=generator) / width**0.5
    found, *by = linear_gradient(start, matrix, rtol=1e-6, atol=1e-8)
    moving = [x.clone().requires_grad_() for x in (start, matrix)]
    (moving[0] @ torch.linalg.matrix_exp(math.sin(1) * moving[1])).sum().backward()
    for own, exact in zip(by, moving, strict=True):
        torch.testing.assert_close(own, exact.grad, rtol=1e-4, atol=1e-5)
    assert (found.stats.factorisations == 0) == (width == 120)


@pytest.mark.parametrize("per_sample", [False, True])
def test_a_step_looks_through_no_step_before_it(per_sample, monkeypatch):
    """autograd walks over all that what it differentiates depends on: with the steps before in it, the time of a solve
    goes with the square of their number."""
    walked, plain = [], torch.autograd.grad

    def counted(outputs, *args, **kwargs):
        nodes = [outputs.grad_fn] if isinstance(outputs, torch.Tensor) else [x.grad_fn for x in outputs]
        seen = set()
        while nodes:
            if (node := nodes.pop()) is not None and node not in seen:
                seen.add(node)
                nodes += [after for after, _ in node.next_functions]
        walked.append(len(seen))
        return plain(outputs, *args, **kwargs)

    monkeypatch.setattr(torch.autograd, "grad", counted)
    rate = torch.tensor(2.0, dtype=F64, requires_grad=True)
    u = torch.ones(1, 2, dtype=F64, requires_grad=True)
    options = {"rtol": 1e-6, "atol": 1e-6, "per_sample": per_sample}
    found = solve(lambda t, u: torch.cos(rate * t) - u * u, u, (0, 5), "rodas4", **options)
    assert int(torch.as_tensor(found.stats.accepted)) > 20
    assert max(walked[len(walked) // 2 :]) <= max(walked[: len(walked) // 2])


@pytest.mark.parametrize(("problem", "name"), [*((problem, "rodas5p") for problem in SMALL), ("hires", "rodas4")])
def test_stiff_problems(problem, name):
    found = in_torch(PROBLEMS[problem], name, 1e-4)
    assert error(PROBLEMS[problem], found.y[-1], 1e-4) < 5
    assert found.stats.accepted < 400
    assert found.stats.jacobians == found.stats.accepted
    assert found.stats.factorisations == found.stats.accepted + found.stats.rejected


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("name", ["rodas4", "rodas5p"])
def test_a_stiff_part_costs_no_steps(name, dtype):
    # Prothero & Robinson (1974): u = cos t for every rate
    f = lambda t, u: 1e6 * (torch.cos(t) - u) - torch.sin(t)  # noqa: E731
    found = solve(f, torch.ones(2, dtype=dtype), (0, 5), name, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.y[-1], torch.full((2,), math.cos(5), dtype=dtype), rtol=0, atol=1e-4)
    assert found.stats.accepted < 15


def test_complex_states_tuples_and_backward_time():
    rate = torch.tensor([-1000 + 50j, -1 + 3j], dtype=torch.complex128)
    start = torch.ones(2, dtype=torch.complex128)
    found = solve(lambda t, u: rate * torch.cos(t) * u, start, (0, 1), "rodas4", rtol=1e-7, atol=1e-9).y[-1]
    torch.testing.assert_close(found, torch.exp(math.sin(1) * rate), rtol=1e-6, atol=1e-7)
    turned = lambda t: torch.exp(torch.tensor(1j, dtype=torch.complex128) * t)  # noqa: E731
    forced = solve(lambda t, u: 1j * turned(t) - 50 * (u - turned(t)), start, (0, 1), "rodas5p", rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(forced.y[-1], turned(1.0).expand(2), rtol=1e-6, atol=0)
    angle, _ = solve(lambda t, u: (u[1], -u[0]), (start.real, start.real), (1, 0), "rodas5p", rtol=1e-8).y
    torch.testing.assert_close(angle[-1], (math.cos(1) - math.sin(1)) * start.real, rtol=1e-6, atol=0)


@pytest.mark.parametrize("width", [4, 60])  # a matrix, and GMRES: of 120 numbers
def test_rows_of_a_state_may_depend_on_each_other(width, small_limit):
    stiff = torch.tensor([[0.0, 1.0], [-1.0, -1000.0]], dtype=F64)
    start = torch.randn(2, width, dtype=F64, generator=torch.Generator().manual_seed(0))
    found = solve(lambda t, u: stiff @ u, start, (0, 3), "rodas4", rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(found.y[-1], torch.linalg.matrix_exp(3 * stiff) @ start, rtol=1e-5, atol=1e-6)


#: Hairer & Wanner (1996), VI.4: rodas4's is of order 3; Steinebach (2023): rodas5p's of order 4; the others have K of
#: two or three stages alone, so that order 3 asks for more than they have
INSIDE = {"ros2": 2, "ros3p": 2, "rodas3": 2, "rodas4": 3, "rodas5p": 4}


@pytest.mark.parametrize("name", ROSENBROCK)
def test_the_solution_inside_a_step_has_its_order(name):
    def largest(steps):
        found = solve(
            lambda t, u: torch.cos(t + PHASE) * u, torch.ones_like(PHASE), (0, 2), name, steps=steps, dense=True
        )
        times = torch.cat([(n + torch.tensor([0.2, 0.5, 0.7])) * 2 / steps for n in range(steps)]).double()
        exact = torch.exp(torch.sin(times[:, None] + PHASE) - torch.sin(PHASE))
        return (found(times) - exact).abs().max().item()

    assert schemes[name].dense_order == INSIDE[name]
    # Errors of the ends go with h^p, those inside with h^(q + 1).
    order = min(INSIDE[name] + 1, schemes[name].order)
    assert math.log2(largest(20) / largest(40)) == pytest.approx(order, abs=0.25)


@pytest.mark.parametrize("name", ["ros2", "rodas4", "rodas5p"])
def test_inside_the_steps_of_a_stiff_problem_the_solution_is_as_right_as_at_their_ends(name):
    # f itself at the ends is no help: for the fast component it is 1e4 times the error of u
    rates, start = (0.04, 1e4, 3e7), torch.tensor([1.0, 0.0, 0.0], dtype=F64)

    def f(t, u, stack=torch.stack):
        a, b = -rates[0] * u[0] + rates[1] * u[1] * u[2], rates[2] * u[1] ** 2
        return stack([a, -a - b, b])

    found = solve(f, start, (0, 100), name, rtol=1e-4, atol=1e-8, dense=True)
    ends = found._inside.ends
    times = [a + x * (b - a) for a, b in itertools.pairwise(ends) for x in (0.3, 0.6)]
    exact = solve_ivp(lambda t, u: f(t, u, np.array), (0, 100), start, "Radau", rtol=1e-9, atol=1e-13, t_eval=times).y
    error = (found(torch.tensor(times, dtype=F64)).numpy() - exact.T) / (1e-8 + 1e-4 * abs(exact.T))
    assert abs(error).max() < 10


def test_dense_output_events_and_inference_mode():
    f = lambda t, u: 5 * (torch.cos(t) - u) - torch.sin(t)  # noqa: E731
    with torch.inference_mode():
        options = {"rtol": 1e-8, "atol": 1e-8, "dense": True, "events": Event(lambda t, u: u[0])}
        found = solve(f, torch.ones(1, dtype=F64), (0, 5), "rodas4", **options)
    t = torch.linspace(0, 5, 50, dtype=F64)
    torch.testing.assert_close(found(t)[:, 0], torch.cos(t), rtol=0, atol=1e-7)
    np.testing.assert_allclose(found.events[0].t, [math.pi / 2, 3 * math.pi / 2], atol=1e-6)


def test_a_jump_in_time():
    f = lambda t, u: -1e3 * (u - (t >= 1).to(u))  # noqa: E731
    control = StepControl(jump_t=[1.0])
    found = solve(f, torch.zeros(1, dtype=F64), (0, 1.001), "rodas5p", control=control, rtol=1e-7, atol=1e-9)
    assert found.y[-1].item() == pytest.approx(1 - math.exp(-1), rel=1e-6)


@pytest.mark.parametrize(
    "f",
    [
        lambda t, u: -u * t.detach(),
        lambda t, u: -u.detach(),
        lambda t, u: torch.from_numpy(-(u.detach().numpy() ** 2)),
    ],
)
@pytest.mark.parametrize("options", [{}, {"steps": 4}])
def test_derivatives_that_autograd_does_not_see_are_refused(f, options):
    with pytest.raises(FieldError, match="no derivative to it"):
        solve(f, torch.ones(2, dtype=F64), (0, 1), "rodas4", **options)


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (2, 3, 4)])
def test_states_of_any_shape(shape):
    found = solve(lambda t, u: -u, torch.ones(shape, dtype=F64), (0, 1), "rodas3", rtol=1e-5).y[-1]
    torch.testing.assert_close(found, torch.full(shape, math.exp(-1), dtype=F64), rtol=1e-4, atol=0)


@pytest.mark.parametrize(
    ("f", "start", "match"),
    [
        (lambda t, u: u**2, 1.0, "below the rounding"),
        (lambda t, u: u / torch.where(t < 0.5, 1.0, math.nan), 1.0, "f beside it"),
        (lambda t, u: 1 - torch.sqrt(u), 0.0, "its derivatives are not finite"),
    ],
)
def test_failures_are_told_apart(f, start, match):
    with pytest.raises(IntegrationError, match=match):
        solve(f, torch.full((1,), start, dtype=F64), (0, 2), "rodas4")


def test_a_singular_matrix_on_a_grid_is_not_silent():
    rate = 10 / float(schemes["ros2"].Gamma[0, 0])
    with pytest.raises(IntegrationError, match="not finite"):
        solve(lambda t, u: u * rate, torch.ones(1, dtype=F64), (0, 1), "ros2", steps=10)
    found = solve(lambda t, u: u * rate, torch.ones(1, dtype=F64), (0, 1), "rodas4", rtol=1e-8)
    assert found.y[-1].item() == pytest.approx(math.exp(rate), rel=1e-6)


def test_what_is_refused():
    ones = torch.ones(2, dtype=F64)
    for make in (lambda: ODENet([torch.nn.Linear(2, 2)], "ros2"), lambda: ODENet(TimeField(abs, 0, 1, 3), "ros2")):
        with pytest.raises(SchemeError, match=r"odenets\.solve runs it"):
            make()
    with pytest.raises(FieldError, match=r"torch\.func\.vmap"):
        torch.func.vmap(lambda u: solve(lambda t, x: -x, u, (0, 1), "ros2", steps=3).y[-1])(torch.ones(2, 2))
    with pytest.raises(FieldError, match="no stages to iterate for"):
        solve(lambda t, u: -u, ones, (0, 1), "ros2", steps=3, solver=NewtonKrylov())
    with pytest.raises(FieldError, match="float16"):
        solve(lambda t, u: -u, ones.half(), (0, 1), "ros2")
    with pytest.raises(SchemeError, match="no step size control"):  # its estimate would be 0 for linear f
        solve(lambda t, u: -u, ones, (0, 1), "ros3p")
    k = torch.tensor(1.0, dtype=F64, requires_grad=True)
    with pytest.raises(FieldError, match="first derivatives"):
        torch.autograd.grad(solve(lambda t, u: -k * u**2, ones, (0, 1), "rodas3").y[-1].sum(), k, create_graph=True)


# --------------------------------------------------------------------------------------------- the scheme


def test_a_scheme_of_ones_own():
    # Hairer & Wanner (1996), IV.7: one stage with gamma = 1 is the linearly implicit Euler method, of order 1, with
    # gamma = 1/2 the linearly implicit midpoint rule, of order 2; R(z) is that of their implicit counterparts
    half = sympy.Rational(1, 2)
    euler, midpoint = rosenbrock("le", [[0]], [[1]], [1]), rosenbrock("lm", [[0]], [[half]], [1])
    assert (euler.order, midpoint.order) == (1, 2)
    assert [s.error_constant for s in (euler, midpoint)] == [-half, -sympy.Rational(1, 12)]
    assert euler.structure == "linearly implicit"
    assert [euler.explicit, euler.reversible, euler.linear_only] == [False, False, False]
    # u+ = u + h f + h^2/2 f'f + h^3/4 f'f'f: the flow has h^3/6 (f''(f, f) + f'f'f)
    bushy, tall = (0, ((0, ()), (0, ()))), (0, ((0, ((0, ()),)),))
    equation = modified_equation(midpoint, 3)
    assert (equation[bushy], equation[tall]) == (-sympy.Rational(1, 3), sympy.Rational(1, 12))
    assert str(midpoint).endswith("0 | 0 | 1/2\n--+---+----\n  | 1 |")
    with pytest.raises(SchemeError, match="f'"):
        modifying_integrator(midpoint, 3)


@pytest.mark.parametrize(
    ("A", "Gamma", "match"),
    [
        ([[1]], [[1]], "none on its diagonal"),
        ([[0]], [[0]], "none that is 0 on it"),
        ([[0, 0], [1, 0]], [[1, 1], [0, 1]], "none above its diagonal"),
        ([[0, 0], [1, 0]], [[1]], "Gamma of shape"),
        ([[0]], [[sympy.Symbol("g")]], "expected numbers"),
    ],
)
def test_matrices_that_do_not_fit_are_refused(A, Gamma, match):
    with pytest.raises(SchemeError, match="expected 1 columns"):
        rosenbrock("mine", [[0]], [[1]], [1], inside=[[1, 2]])
    with pytest.raises(SchemeError, match=match):
        rosenbrock("mine", A, Gamma, [1 / sympy.Integer(len(A))] * len(A))
