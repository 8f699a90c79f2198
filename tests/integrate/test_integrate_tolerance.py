"""The error at the end over the tolerance, of every scheme with an error estimate: how it goes, and how large it is."""

import math

import numpy as np
import pytest
import torch

from odenets import schemes, solve
from odenets.integrate.implicit import implicit_method, runs_implicit
from odenets.integrate.method import method_of, runs_as_method
from odenets.integrate.rosenbrock_method import rosenbrock_of

F64 = torch.float64
PHASE = torch.linspace(0, 6, 5, dtype=F64)
PROBLEMS = {
    # f(t, u), u(0), u(T), T
    "u' = cos(t + phase) u": (
        lambda t, u: torch.cos(t + PHASE) * u,
        torch.ones_like(PHASE),
        torch.exp(torch.sin(4 + PHASE) - torch.sin(PHASE)),
        4.0,
    ),
    "a circle": (
        lambda t, u: torch.stack([u[1], -u[0]]),
        torch.tensor([1.0, 0.0], dtype=F64),
        torch.tensor([math.cos(6), -math.sin(6)], dtype=F64),
        6.0,
    ),
    "u' = u (1 - u)": (
        lambda t, u: u * (1 - u),
        torch.tensor([0.05, 0.5, 0.95], dtype=F64),
        1 / (1 + (1 / torch.tensor([0.05, 0.5, 0.95], dtype=F64) - 1) * math.exp(-4)),
        4.0,
    ),
}
RADAU = ("radau_iia2", "radau_iia3")
EXPLICIT = [s.name for s in schemes.values() if s.embedded is not None and runs_as_method(s)]
IMPLICIT = [s.name for s in schemes.values() if runs_implicit(s) and (s.embedded is not None or s.name in RADAU)]
ROSENBROCK = [s.name for s in schemes.values() if s.embedded is not None and s.Gamma is not None]
#: estimates that are too small by as much as that
SMALL = {"kencarp4": 20, "kencarp5": 60, "ark436": 30}


def order_of_estimate(scheme):
    if scheme.name in ROSENBROCK:
        return rosenbrock_of(scheme).order
    return (method_of(scheme, True) if scheme.explicit else implicit_method(scheme)[0]).order


def added(f, scheme):
    """f, or for an additive scheme f = (f + u) - u."""
    return f if len(scheme.functions) == 1 else (lambda t, u: f(t, u) + u, lambda t, u: -u)


@pytest.mark.parametrize("name", [*EXPLICIT, *IMPLICIT, *ROSENBROCK])
def test_the_error_goes_with_the_tolerance(name):
    """An error of h^(p + 1) a step, where the estimate of h^k is the tolerance: tolerance^(p / k) at the end."""
    scheme = schemes[name]
    order = order_of_estimate(scheme)
    exponent = scheme.order / (order + 1)
    tolerances = np.array(
        {1: [1e-3, 1e-4], 2: [1e-3, 1e-4], 3: [1e-4, 1e-6], 7: [1e-7, 1e-9], 8: [1e-7, 1e-9]}.get(order, [1e-5, 1e-7])
    )
    slopes = []
    for problem, (f, start, exact, stop) in PROBLEMS.items():
        functions = added(f, scheme)
        found = [solve(functions, start, (0, stop), name, rtol=tol, atol=tol).y[-1] for tol in tolerances]
        scale = torch.stack([tol * (1 + exact.abs()) for tol in tolerances])
        errors = ((torch.stack(found) - exact) / scale).square().mean(1).sqrt().numpy()
        # Where p < k the error falls behind the tolerance, so that no bound holds for all.
        assert errors[0 if exponent < 1 else slice(None)].max() < SMALL.get(name, 15)
        if problem != "u' = u (1 - u)":  # there other terms than the first one of the error show
            slopes.append(np.diff(np.log(errors * tolerances))[0] / np.diff(np.log(tolerances))[0])
    assert np.mean(slopes) == pytest.approx(exponent, abs=0.15)
