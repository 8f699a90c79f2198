"""Adaptive implicit steps: stiff problems with the solutions of their sources, and what goes wrong."""

import functools
import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

import odenets
from odenets import Event, FieldError, IntegrationError, NewtonKrylov, SchemeError, StepControl, schemes, solve
from odenets.benchmarks.stiff.problems import PROBLEMS, SMALL, brusselator_in_scipy, error, in_scipy, in_torch
from odenets.integrate.implicit import implicit_method

F64 = torch.float64


@pytest.mark.parametrize(
    ("name", "scheme"),
    [*((name, "kvaerno5") for name in SMALL), ("robertson", "radau_iia3"), ("hires", "radau_iia3")],
)
def test_the_stiff_problems_of_the_literature(name, scheme):
    problem = PROBLEMS[name]
    found, radau = in_torch(problem, scheme, 1e-3), in_scipy(problem, "Radau", 1e-3)
    assert error(problem, found.y[-1], 1e-3) < 10
    assert found.stats.evaluations < 3 * radau.nfev
    # A Jacobian is kept while it serves, factors while the step size stays.
    assert 0 < found.stats.jacobians < found.stats.accepted + found.stats.rejected
    # dopri5 would take a step for every half unit of the fastest time scale, of 1e3 to 1e7.
    assert found.stats.accepted < 600


def test_a_thousand_equations():
    problem, radau = PROBLEMS["brusselator"], brusselator_in_scipy(1e-3)
    found = in_torch(problem, "kvaerno5", 1e-3)
    assert error(problem, found.y[-1], 1e-3) < 10
    assert found.stats.evaluations < 3 * radau.nfev


ADAPTIVE = ["trbdf2", "kvaerno3", "kvaerno4", "kencarp3", "kencarp4", "kencarp5", "radau_iia2"]


@pytest.mark.parametrize("scheme", ADAPTIVE)
def test_every_implicit_scheme_with_an_estimate(scheme):
    problem = PROBLEMS["robertson"]
    assert error(problem, in_torch(problem, scheme, 1e-4).y[-1], 1e-4) < 10


def test_the_estimate_of_radau_is_that_of_hairer_and_wanner():
    # Hairer & Wanner (1996), IV.8: err = (I - h gamma0 J)^-1 (gamma0 h f(y0) + e1 z1 + e2 z2 + e3 z3), z = h A F,
    # e = gamma0/3 (-13 - 7 sqrt 6, -13 + 7 sqrt 6, -1), and 1/gamma0 = 3 + 3^(2/3) - 3^(1/3) in scipy's radau.py
    method, gamma = implicit_method(schemes["radau_iia3"])
    assert 1 / gamma == pytest.approx(3 + 3 ** (2 / 3) - 3 ** (1 / 3), rel=1e-12)
    assert method.order == 3
    A = np.array(schemes["radau_iia3"].A.tolist(), dtype=float)
    e = gamma / 3 * np.array([-13 - 7 * math.sqrt(6), -13 + 7 * math.sqrt(6), -1])
    weights = dict.fromkeys(range(4), 0.0) | {op[1]: op[2] for op in method.error}
    np.testing.assert_allclose([weights[i] for i in (1, 2, 3)], e @ A, rtol=1e-10)
    assert weights[0] == pytest.approx(gamma, rel=1e-12)


def robertson(k):
    def f(t, u):
        a, b = -k[..., 0] * u[..., 0] + k[..., 1] * u[..., 1] * u[..., 2], k[..., 2] * u[..., 1] ** 2
        return torch.stack([a, -a - b, b], -1)

    return f


@functools.cache
def robertson_numpy(k, start, stop):
    def f(t, u):
        a, b = -k[0] * u[0] + k[1] * u[1] * u[2], k[2] * u[1] ** 2
        return [a, -a - b, b]

    return solve_ivp(f, (0, stop), start, method="Radau", rtol=1e-11, atol=1e-15).y[:, -1]


@pytest.mark.parametrize("scheme", ["kvaerno5", "radau_iia3", "rodas5p"])
def test_gradients_are_those_of_a_reference_solution(scheme):
    rates, start, stop = (0.04, 1e4, 3e7), (1.0, 0.0, 0.0), 40.0
    k = torch.tensor(rates, dtype=F64, requires_grad=True)
    u = torch.tensor(start, dtype=F64, requires_grad=True)
    t = torch.tensor(stop, dtype=F64, requires_grad=True)
    found = solve(robertson(k), u, (0.0, t), scheme, rtol=1e-6, atol=1e-10)
    by = torch.autograd.grad(found.y[-1, 2], (k, u, t))

    def slope(at):
        return (at(1e-4)[2] - at(-1e-4)[2]) / 2e-4

    to_rate = slope(lambda e: robertson_numpy((rates[0] * (1 + e), *rates[1:]), start, stop)) / rates[0]
    np.testing.assert_allclose(by[0][0], to_rate, rtol=1e-5)
    to_start = slope(lambda e: robertson_numpy(rates, (1 + e, 0.0, 0.0), stop))
    np.testing.assert_allclose(by[1][0], to_start, rtol=1e-5)
    np.testing.assert_allclose(by[2], rates[2] * robertson_numpy(rates, start, stop)[1] ** 2, rtol=1e-5)


def test_second_derivatives_are_refused():
    k = torch.tensor(1.0, dtype=F64, requires_grad=True)
    y = solve(lambda t, u: -k * u**2, torch.ones(2, dtype=F64), (0, 1), "kvaerno3").y[-1].sum()
    with pytest.raises(FieldError, match="first derivatives"):
        torch.autograd.grad(y, k, create_graph=True)


@pytest.mark.parametrize("size", [1e-200, 1e-100, 1e100, 1e200, 1e300])
def test_time_in_any_unit(size):
    found = solve(lambda t, u: -u / size, torch.ones(1, dtype=F64), (0, size), "kvaerno5")
    assert found.y[-1].item() == pytest.approx(math.exp(-1), abs=1e-6)


def test_stages_that_depend_on_each_other_with_a_diagonal_of_zeros():
    A, weights = [[0, 0, 0], ["1/4", 0, "1/4"], ["1/2", "1/2", 0]], ["1/6", "2/3", "1/6"]
    scheme = odenets.runge_kutta("zeros", A, weights, embedded=["1/2", 0, "1/2"])
    found = solve(lambda t, u: -u, torch.ones(2, dtype=F64), (0, 1), scheme, rtol=1e-5, atol=1e-5)
    assert (found.y[-1] - math.exp(-1)).abs().max() < 1e-4


@pytest.mark.parametrize("scheme", ["radau_iia2", "radau_iia3", "gauss2"])
def test_independent_samples_of_several_numbers(scheme):
    rates = torch.tensor([1.0, 10.0, 100.0], dtype=F64)
    found = solve(lambda t, u: -rates * u, torch.ones(7, 3, dtype=F64), (0, 1), scheme, rtol=1e-6, atol=1e-6)
    assert (found.y[-1] - torch.exp(-rates)).abs().max() < 1e-5


def test_a_batch_has_matrices_of_its_own_samples():
    k = torch.tensor([[0.04, 1e4, 3e7], [0.08, 1e4, 1e7], [0.02, 3e4, 3e7]], dtype=F64)
    start = torch.tensor([[1.0, 0.0, 0.0]], dtype=F64).repeat(3, 1)
    found = solve(robertson(k), start, (0, 10), "kvaerno5", rtol=1e-7, atol=1e-11)
    exact = np.stack([robertson_numpy(tuple(rates), (1.0, 0.0, 0.0), 10) for rates in k.tolist()])
    np.testing.assert_allclose(found.y[-1], exact, rtol=1e-6)
    # The Jacobian is found by as many evaluations of f, whatever the size of the batch.
    assert found.stats.jacobians < found.stats.accepted


STIFF = torch.tensor([[0.0, 1.0], [-1.0, -1000.0]], dtype=F64)


@pytest.fixture
def small_limit(monkeypatch):
    """States of more than 100 numbers have no matrices."""
    monkeypatch.setattr("odenets.integrate.linearised.LARGEST", 100)


@pytest.mark.parametrize("width", [4, 60])  # a matrix, and GMRES: of 120 numbers
def test_rows_of_a_state_may_depend_on_each_other(width, small_limit):
    start = torch.randn(2, width, dtype=F64, generator=torch.Generator().manual_seed(0))
    found = solve(lambda t, u: STIFF @ u, start, (0, 3), "kencarp4", rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(found.y[-1], torch.linalg.matrix_exp(3 * STIFF) @ start, rtol=1e-5, atol=1e-6)
    assert found.stats.accepted < 100
    assert (found.stats.factorisations == 0) == (width == 60)


def test_complex_states_tuples_and_backward_time():
    rate = torch.tensor([-1000 + 50j, -1 + 3j], dtype=torch.complex128)
    start = torch.ones(2, dtype=torch.complex128)
    found = solve(lambda t, u: rate * u, start, (0, 2), "kvaerno4", rtol=1e-7, atol=1e-9).y[-1]
    torch.testing.assert_close(found, torch.exp(2 * rate), rtol=1e-6, atol=1e-8)
    angle, speed = solve(lambda t, u: (u[1], -u[0]), (start.real, start.real), (1, 0), "kvaerno5", rtol=1e-8).y
    torch.testing.assert_close(angle[-1], (math.cos(1) - math.sin(1)) * start.real, rtol=1e-6, atol=0)
    torch.testing.assert_close(speed[-1], (math.cos(1) + math.sin(1)) * start.real, rtol=1e-6, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_a_stiff_part_costs_no_steps(dtype):
    # Prothero & Robinson (1974): u = cos t for every rate
    def steps(rate):
        found = solve(
            lambda t, u: rate * (torch.cos(t) - u) - torch.sin(t),
            torch.ones(2, dtype=dtype),
            (0, 5),
            "kvaerno5",
            rtol=1e-4,
            atol=1e-5,
        )
        torch.testing.assert_close(found.y[-1], torch.full((2,), math.cos(5), dtype=dtype), rtol=0, atol=1e-3)
        return found.stats.accepted

    assert steps(1e6) < 40
    assert steps(1e3) < 40


def test_dense_output_and_events():
    found = solve(
        lambda t, u: 5 * (torch.cos(t) - u) - torch.sin(t),
        torch.ones(1, dtype=F64),
        (0, 5),
        "radau_iia3",
        rtol=1e-6,
        atol=1e-6,
        dense=True,
        events=Event(lambda t, u: u[0]),
    )
    t = torch.linspace(0, 5, 200, dtype=F64)
    torch.testing.assert_close(found(t)[:, 0], torch.cos(t), rtol=0, atol=1e-4)
    np.testing.assert_allclose(found.events[0].t, [math.pi / 2, 3 * math.pi / 2], atol=1e-4)


def test_parameters_that_only_f_knows_get_gradients():
    layer = torch.nn.Linear(3, 3, bias=False, dtype=F64)
    start = torch.ones(3, dtype=F64)
    solve(lambda t, u: layer(u), start, (0, 1), "kvaerno5", rtol=1e-9, atol=1e-11).y[-1].sum().backward()
    weight = layer.weight.detach().requires_grad_()
    (torch.linalg.matrix_exp(weight) @ start).sum().backward()
    torch.testing.assert_close(layer.weight.grad, weight.grad, rtol=1e-7, atol=1e-9)


def test_without_a_record_nothing_is_evaluated_for_it():
    counts = []
    for rate in (torch.tensor(1.0, dtype=F64), torch.tensor(1.0, dtype=F64, requires_grad=True)):
        found = solve(lambda t, u, k=rate: -k * u**3, torch.ones(2, dtype=F64), (0, 1), "kvaerno3")
        counts.append(found.stats.evaluations)
        stages = 3 * (found.stats.accepted + found.stats.rejected)
    assert counts[1] == counts[0] + stages


@pytest.mark.parametrize(
    ("f", "reason"),
    [
        (lambda t, u: u**2, "step too small"),  # 1 / (1 - t)
        (lambda t, u: u / torch.where(t < 0.5, 1.0, math.nan), "not finite"),
    ],
)
def test_failures_are_told_apart(f, reason):
    with pytest.raises(IntegrationError) as error:
        solve(f, torch.ones(1, dtype=F64), (0, 2), "kvaerno5")
    assert error.value.failure.reason == reason
    assert error.value.solution.stats.accepted > 0


@pytest.mark.parametrize("width", [1, 120])  # a matrix, and GMRES
@pytest.mark.parametrize("f", [lambda t, u: 1 + torch.sqrt(u.abs()), lambda t, u: 1 - torch.sqrt(u)])
def test_stages_that_are_not_found(f, width, small_limit):
    # f is finite at 0, its derivative is not: NaN, and infinite.
    with pytest.raises(IntegrationError, match="Newton's method") as error:
        solve(f, torch.zeros(width, dtype=F64), (0.5, 1), "kvaerno5")
    assert error.value.failure.reason == "stages not found"


def test_a_derivative_that_is_wrong_shortens_the_steps_and_nothing_else():
    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx, u):
            return -3 * u

        @staticmethod
        def backward(ctx, bar):
            return 0 * bar

    found = solve(lambda t, u: Wrong.apply(u), torch.ones(1, dtype=F64), (0, 1), "kvaerno3", rtol=1e-5)
    assert found.y[-1].item() == pytest.approx(math.exp(-3), rel=1e-4)


@pytest.mark.parametrize("shape", [(), (0,), (2, 3, 4)])
def test_states_of_any_shape(shape):
    found = solve(lambda t, u: -u, torch.ones(shape, dtype=F64), (0, 1), "kvaerno3").y[-1]
    torch.testing.assert_close(found, torch.full(shape, math.exp(-1), dtype=F64), rtol=1e-5, atol=0)


@pytest.mark.parametrize("scheme", ["kencarp4", "radau_iia3"])
def test_a_jump_in_time(scheme):
    assert all(0 <= float(c) <= 1 for c in schemes[scheme].nodes)
    f = lambda t, u: -1e3 * (u - (t >= 1).to(u))  # noqa: E731
    start, control = torch.zeros(1, dtype=F64), StepControl(jump_t=[1.0], exponents=(1,))
    found = solve(f, start, (0, 1.001), scheme, control=control, rtol=1e-7, atol=1e-9)
    assert found.y[-1].item() == pytest.approx(1 - math.exp(-1), rel=1e-5)
    assert found.stats.rejected < 15


def test_a_tolerance_near_rounding_is_what_rounding_allows_for():
    f = lambda t, u: -50 * u**2  # noqa: E731
    for dtype, tol, far in ((torch.float32, 1e-7, 1e-3), (F64, 1e-12, 1e-9)):
        found = solve(f, torch.ones(2, dtype=dtype), (0, 1), "kencarp5", rtol=tol, atol=tol)
        torch.testing.assert_close(found.y[-1], torch.full((2,), 1 / 51, dtype=dtype), rtol=far, atol=0)


def test_what_is_refused():
    ones = torch.ones(1, dtype=F64)
    for name in ("trapezoid", "lobatto_iiic3", "bdf2", "radau_ia2"):
        with pytest.raises(SchemeError, match="no step size control"):
            solve(lambda t, u: -u, ones, (0, 1), name)
    with pytest.raises(FieldError, match="adaptive steps"):
        solve(lambda t, u: -u, ones, (0, 1), "kvaerno5", solver=NewtonKrylov())
    with pytest.raises(FieldError, match="float16"):
        solve(lambda t, u: -u, ones.half(), (0, 1), "kvaerno5")
    # Times that steps end at are those of every adaptive solve.
    found = solve(lambda t, u: -u, ones, (0, 1), "kvaerno5", control=StepControl(step_t=[0.3]), dense=True)
    assert 0.3 in found._inside._stops
