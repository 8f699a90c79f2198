"""The error at the end over the tolerance, of every scheme with an error estimate: how it goes, and how large it is."""

import math

import numpy as np
import pytest
import torch

from odenets import FieldError, IntegrationError, StepControl, schemes, solve
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


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("name", ["rtol", "atol"])
@pytest.mark.parametrize(
    ("value", "got"),
    [
        (math.nan, "nan"),
        (-1e-6, "-1e-06"),
        (torch.tensor([1e-3, -1.0]), "-1.0"),
        (torch.tensor([1e-3, math.nan]), "nan"),
        (torch.full((4, 2), 1e-3), r"a tensor of shape \(4, 2\)"),
        (torch.full((3, 1, 2), 1e-3), r"a tensor of shape \(3, 1, 2\)"),
        (torch.tensor(1e-3j), "tensor"),
        ("1e-3", "'1e-3'"),
        ([1e-3, 1e-3], r"\[0.001, 0.001\]"),
        (None, "None"),
    ],
)
def test_what_is_no_tolerance_is_refused_at_once(value, got, name, per_sample):
    with pytest.raises(FieldError, match=rf"^{name}: got {got}.*expected a number of at least 0, or a tensor"):
        solve(lambda t, u: pytest.fail("called"), torch.ones(3, 2), (0, 1), per_sample=per_sample, **{name: value})


@pytest.mark.parametrize("value", [0, np.float32(1e-3), torch.tensor(1e-3), torch.full((2,), 1e-3, dtype=F64)])
@pytest.mark.parametrize("name", ["dopri5", "kvaerno5"])
def test_what_is_one(value, name):
    found = solve(lambda t, u: -u, torch.ones(3, 2, dtype=F64), (0, 1), name, rtol=1e-5, atol=value)
    torch.testing.assert_close(found.y[-1], torch.full((3, 2), math.exp(-1), dtype=F64), rtol=0, atol=1e-3)


@pytest.mark.parametrize("rtol", [0, 1e-6])
@pytest.mark.parametrize("name", ["dopri5", "kvaerno5", "rodas5p"])
def test_a_tolerance_of_zero_is_the_reason(name, rtol):
    start = torch.tensor([[0.0, 1.0], [1.0, 1.0]], dtype=F64)
    for control in (None, StepControl(first_step=0.1)):
        given = {"scheme": name, "rtol": rtol, "atol": 0, "control": control}
        with pytest.raises(IntegrationError, match=r"atol \+ rtol \|u\|.* is 0 there.*expected atol > 0") as shared:
            solve(lambda t, u: u, start, (0, 1), **given)
        assert shared.value.failure.reason == "zero tolerance"
        with pytest.raises(IntegrationError, match="is 0 there") as own:
            solve(lambda t, u: u, start, (0, 1), per_sample=True, **given)
        assert own.value.solution.status == ["zero tolerance", "success" if rtol else "zero tolerance"]
