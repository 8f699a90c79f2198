"""The pendulum and Lotka-Volterra as the browser steps them."""

import numpy as np
from explorer.asked import numbers
from explorer.orbits import START, STEPPED, field, stepped
from scipy.integrate import solve_ivp

from odenets import schemes


def test_steps_of_the_pendulum_and_of_lotka_volterra(browser):
    asked = [(*scheme, problem) for scheme in STEPPED for problem in START]
    for (name, values, problem), found in zip(asked, browser["orbits"], strict=True):
        assert found["said"] == ""
        points = numbers(found["points"]).reshape(-1, 2)
        np.testing.assert_allclose(
            points, stepped(name, values, problem), rtol=0, atol=1e-12, err_msg=f"{name}, {problem}"
        )


def test_what_cannot_be_stepped_says_why(browser):
    parts, start, blown, newton = browser["unplayed"]
    assert parts == [1, "is for systems of other parts than these two"]
    assert start == [1, "needs a history, and no scheme of the page has its order, 20, to start it"]
    u, n = np.array([4.0, 2.0]), 0
    while abs(u).max() <= 1e6:
        u, n = u + 2 * np.array(field("lotka-volterra")(0, u)), n + 1
    assert blown == [n, f"has left what is drawn after {n} steps"]
    # u = 4 + u (v - 2) and v = 2 - 6 + v (1 - u) have no solution: u v = -4 by the second, then u = 0 by the first.
    assert newton == [1, "has a step whose stages Newton's method does not find at this h"]


def test_every_scheme_is_stepped(browser):
    """Those that are not compared step by step above: to their order, errors at t = 2 of less than 4 h^p."""
    compared = {name for name, _ in STEPPED}
    exact = solve_ivp(field("pendulum"), (0, 2), (1, 0.5), "DOP853", rtol=1e-12, atol=1e-12).y[:, -1]
    for scheme, found in zip(schemes.values(), browser["small"], strict=True):
        points = numbers(found["points"]).reshape(-1, 2)
        assert found["said"] == ""
        assert len(points) == 21
        if scheme.name not in compared and not scheme.linear_only and not scheme.symbols:
            assert abs(points[-1] - exact).max() < max(4 * 0.1**scheme.order, 1e-11), scheme.name


def test_the_exact_orbits(browser):
    for (problem, (start, h, steps)), found in zip(START.items(), browser["flows"], strict=True):
        times = np.arange(4 * steps + 1) * h / 4
        exact = solve_ivp(field(problem), times[[0, -1]], start, "DOP853", times, rtol=1e-12, atol=1e-12).y.T
        np.testing.assert_allclose(numbers(found).reshape(-1, 2), exact, atol=1e-8)
