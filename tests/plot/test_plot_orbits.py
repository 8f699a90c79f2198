"""Numerical orbits, exact and modified flows, energies: against textbook formulas and scipy; then their figures."""

import warnings

import numpy as np
import pytest
import sympy
import torch
from scipy.integrate import solve_ivp

from odenets import FieldError, SchemeError
from odenets.analysis import energy_errors, numerical_orbit, orbits, plot
from odenets.analysis.equations import problems


def by_scipy(f, start, times):
    found = solve_ivp(f, (times[0], times[-1]), start, method="DOP853", t_eval=times, rtol=1e-12, atol=1e-12)
    return found.y.T


def predator_prey(t, y):
    u, v = y
    return [u * (v - 2), v * (1 - u)]


def labels(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_points_are_eulers():
    points = numerical_orbit("euler", problems.lotka_volterra, (2, 2), 0.1, 30)
    u = np.array([2.0, 2.0])
    for point in points:
        np.testing.assert_allclose(point, u, rtol=1e-13)
        u = u + 0.1 * np.array(predator_prey(0, u))


def test_points_of_starting_steps_alone_come_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(numerical_orbit("ab3", lambda u: -u, (1.0,), 0.1, 3)) == 4


def test_points_of_symplectic_euler_and_of_leapfrog():
    # q+ = q + h p, p+ = p - h sin(q+); Hairer, Lubich & Wanner (2006), I.1.2
    points = numerical_orbit("symplectic_euler", (lambda p: p, lambda q: -q.sin()), (0.3, 1.1), 0.2, 25)
    q, p = 0.3, 1.1
    for point in points:
        np.testing.assert_allclose(point, (q, p), rtol=1e-13)
        q += 0.2 * p
        p -= 0.2 * np.sin(q)
    # u_{n+1} = u_{n-1} + 2 h f(u_n), whatever the starting step is
    u = numerical_orbit("leapfrog", lambda u: -u, (1,), 0.1, 12)[:, 0]
    np.testing.assert_allclose(u[2:], u[:-2] - 0.2 * u[1:-1], rtol=1e-12)


def test_the_exact_flow_is_scipys():
    found = orbits("euler", problems.lotka_volterra, (2, 2), 0.1, 40, orders=(1,))
    np.testing.assert_allclose(found.exact, by_scipy(predator_prey, (2, 2), found.dense), rtol=1e-6)
    np.testing.assert_allclose(found.modified[1], found.exact, rtol=1e-13)  # the term h^0 is f
    assert found.dense[-1] == pytest.approx(found.times[-1]) == pytest.approx(4)
    assert found.points.shape == (41, 2)


def test_the_modified_flow_of_euler_on_u_squared():
    # Hairer, Lubich & Wanner (2006), example IX.1.1: u' = u^2 - h u^3 + 3/2 h^2 u^4 - 8/3 h^3 u^5 + ...
    h = 0.02
    found = orbits("euler", problems.square, (1.0,), h, 20, orders=(2, 4))
    for order, factors in ((2, (1, -1)), (4, (1, -1, 3 / 2, -8 / 3))):
        textbook = by_scipy(
            lambda t, u, a=factors: sum(c * h**j * u ** (j + 2) for j, c in enumerate(a)), (1.0,), found.dense
        )
        np.testing.assert_allclose(found.modified[order], textbook, rtol=1e-9)


def test_the_points_lie_on_the_modified_flow_to_the_order_of_the_truncation():
    def miss(order, h):
        found = orbits("euler", problems.lotka_volterra, (2, 2), h, round(1 / h), orders=(order,), per_step=4)
        return np.abs(found.points[-1] - found.modified[order][-1]).max()

    for order in (1, 2, 3):
        assert np.log2(miss(order, 0.1) / miss(order, 0.05)) == pytest.approx(order, abs=0.25)


def test_the_modified_orbit_of_symplectic_euler_closes():
    # x+ = x + h T'(y), y+ = y - h U'(x+) with T = e^y - 2 y, U = e^x - x follows H + h/2 T'U' + O(h^2): comparing
    # x + h T' with the flow of H + h c T'U', x + h (T' + h c T''U') - h^2/2 T''U', gives c = 1/2.
    h = 0.12
    f = (problems.log_predator, problems.log_prey)
    found = orbits("symplectic_euler", f, np.log([4.0, 3.0]), h, 100, orders=(2,))
    x, y = found.modified[2].T
    energy = np.exp(y) - 2 * y + np.exp(x) - x + h / 2 * (np.exp(y) - 2) * (np.exp(x) - 1)
    np.testing.assert_allclose(energy, energy[0], rtol=1e-5)
    plain = energy - h / 2 * (np.exp(y) - 2) * (np.exp(x) - 1)
    assert np.ptp(plain) > 0.2  # not an orbit of H


def test_a_flow_ends_where_it_leaves_the_box():
    found = orbits("euler", problems.square, (1.0,), 0.1, 15, orders=(1,), box=5.0)
    inside = found.dense < 0.8 - 1e-9  # 1/(1 - t) = 5 at t = 0.8
    assert np.isfinite(found.exact[inside]).all()
    assert np.isnan(found.exact[~inside][1:]).all()


def test_energy_of_the_pendulum():
    q, p = sympy.symbols("q p")
    found = energy_errors("verlet", p**2 / 2 - sympy.cos(q), (q, p), (0.0, 1.3), h=0.1, steps=50, orders=(1,))
    points = numerical_orbit("verlet", (lambda p: p, lambda q: -q.sin()), (0.0, 1.3), 0.1, 50)
    energy = points[:, 1] ** 2 / 2 - np.cos(points[:, 0])
    np.testing.assert_allclose(found.errors[1], energy - energy[0], atol=1e-14)


def test_modified_hamiltonians_are_kept_to_their_order():
    q, p = sympy.symbols("q p")
    results = [
        energy_errors("symplectic_euler", p**2 / 2 - sympy.cos(q), (q, p), (0.0, 1.3), h=h, steps=round(20 / h))
        for h in (0.1, 0.05)
    ]
    for order in (1, 2, 3):
        coarse, fine = (np.abs(result.errors[order]).max() for result in results)
        assert np.log2(coarse / fine) == pytest.approx(order, abs=0.2)
    figure = plot.energy_orders(results)
    assert figure.axes[0].get_legend().get_texts()[0].get_text().startswith("$H$: slope 1.0")


def test_phase_portrait_draws_what_was_computed():
    found = orbits("euler", problems.lotka_volterra, (2, 2), 0.1, 20, orders=(2, 3))
    figure = plot.phase_portrait(found, labels=("prey", "predator"))
    axes = figure.axes[0]
    assert labels(figure) == [
        "exact flow",
        "modified equation up to $h$",
        "modified equation up to $h^2$",
        "numerical points",
        "start",
    ]
    drawn = {line.get_label(): np.array(line.get_data()).T for line in axes.lines}
    np.testing.assert_array_equal(drawn["numerical points"], found.points)
    np.testing.assert_array_equal(drawn["modified equation up to $h$"], found.modified[2])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("prey", "predator")
    assert "euler" in figure.get_suptitle()


def test_trajectories_and_coordinates():
    found = orbits("euler", problems.square, (1.0,), 0.1, 5)
    line = next(item for item in plot.trajectories([found, found]).axes[1].lines if item.get_marker() == ".")
    np.testing.assert_allclose(line.get_xdata(), 0.1 * np.arange(6))
    logs = orbits("symplectic_euler", (problems.log_predator, problems.log_prey), (0.0, 1.0), 0.1, 5)
    line = next(
        item for item in plot.phase_portrait(logs, coordinates=np.exp).axes[0].lines if item.get_marker() == "."
    )
    np.testing.assert_allclose(line.get_xdata(), np.exp(logs.points[:, 0]))


def test_level_curves_pass_through_the_starting_points():
    def energy(q, p):
        return p**2 / 2 + q**2 / 2

    def modified(q, p):
        return energy(q, p) + q * p / 4

    figure = plot.level_curves(
        {"a": [np.array([[1.0, 0.0], [0.9, -0.4]])], "b": []},
        energy,
        {"a": modified},
        xlim=(-2, 2),
        ylim=(-2, 2),
        levels=[0.5],
    )
    vertices = [np.concatenate([path.vertices for path in item.get_paths()]) for item in figure.axes[0].collections]
    np.testing.assert_allclose(energy(*vertices[0].T), 0.5, atol=1e-3)
    np.testing.assert_allclose(modified(*vertices[1].T), 0.5, atol=1e-3)
    assert len(figure.axes[1].collections) == 1


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: numerical_orbit("lm", lambda u: u, (1,), 0.1, 3), SchemeError, "no value for k"),
        (lambda: numerical_orbit("verlet", lambda u: u, (1, 1), 0.1, 3), FieldError, "1 functions"),
        (lambda: numerical_orbit("verlet", (torch.sin, torch.sin), (1,), 0.1, 3), FieldError, "2 equal parts"),
        (lambda: numerical_orbit("euler", torch.sin, (np.nan,), 0.1, 3), FieldError, "finite"),
        (lambda: numerical_orbit("euler", torch.sin, (1,), 0.1, 0), FieldError, "steps: got 0"),
        (lambda: numerical_orbit("euler", torch.sin, (1,), 0.0, 3), SchemeError, "h"),
        (lambda: plot.phase_portrait([]), FieldError, "got no orbit"),
        (lambda: plot.phase_portrait(orbits("euler", torch.sin, (1,), 0.1, 3)), FieldError, "not in the plane"),
        (lambda: plot.trajectories(orbits("euler", torch.sin, (1,), 0.1, 3), component=1), FieldError, "component 1"),
        (lambda: plot.energy_errors([]), FieldError, "got no result"),
    ],
)
def test_bad_input(call, error, match):
    with pytest.raises(error, match=match):
        call()


def test_a_hamiltonian_that_does_not_separate_is_refused():
    q, p = sympy.symbols("q p")
    with pytest.raises(SchemeError, match=r"expected T\(p\) \+ U\(q\)"):
        energy_errors("verlet", p**2 * q, (q, p), (0.0, 1.0), h=0.1, steps=3, orders=(1,))
    with pytest.raises(SchemeError, match="not symplectic"):
        energy_errors("euler", p**2 / 2 + q**2, (q, p), (0.0, 1.0), h=0.1, steps=3, orders=(2,))
