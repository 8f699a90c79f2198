"""Observed orders of schemes of high order, on autonomous problems and with the default steps."""

import math

import numpy as np
import pytest
import torch

from odenets.analysis import Convergence, convergence


def rotation(t, u):
    return torch.stack([-u[..., 1], u[..., 0]], -1)


PROBLEMS = {
    "oscillator": (rotation, lambda t: [math.cos(t), math.sin(t)]),
    "decay": (lambda t, u: -u, lambda t: [math.exp(-t)]),
    "logistic": (lambda t, u: u * (1 - u), lambda t: [1 / (1 + 9 * math.exp(-t))]),
}


@pytest.mark.parametrize(("problem", "within"), [("oscillator", 0.02), ("decay", 0.02), ("logistic", 0.6)])
def test_an_implicit_scheme_of_order_six(problem, within):
    found = convergence("gauss3", *PROBLEMS[problem])
    assert found.observed_order == pytest.approx(6, abs=within)
    assert found.clear.sum() >= 2


def test_two_smallest_errors_above_rounding_whatever_their_steps():
    # A zero of the error at h = 1/8, and rounding at h = 1/64: the two smallest between them count.
    h = np.array([1 / 8, 1 / 16, 1 / 32, 1 / 64])
    curve = Convergence("given", 2, h, np.array([1e-9, 4e-8, 1e-8, 1e-15]), 1.0, fewest=8)
    assert curve.clear.tolist() == [True, True, True, False]
    assert curve.observed_order == pytest.approx(np.log(1e-8 / 1e-9) / np.log(4 / 16))
    steady = Convergence("given", 2, h[::-1], np.array([4e-10, 1.6e-9, 6.4e-9, 2.56e-8]), 1.0, fewest=8)
    assert steady.observed_order == pytest.approx(2)


def test_steps_that_are_given_are_the_ones_taken():
    found = convergence("rk4", *PROBLEMS["decay"], steps=[16, 32])
    assert found.h.tolist() == [1 / 16, 1 / 32]
    assert found.observed_order == pytest.approx(4, abs=0.1)


@pytest.mark.parametrize(
    ("scheme", "values", "reason"),
    [
        ("lm", {"k": 2}, "is not zero-stable"),
        ("lm", {"k": -2}, "is not zero-stable"),
        ("lm", {"k": 1}, "advances u' = f by h_eff = 0.5 h a step"),
        ("in_resnet", {"lam": "1/2"}, "does not keep u' = 0"),
    ],
)
def test_why_a_scheme_does_not_converge(scheme, values, reason):
    found = convergence(scheme, *PROBLEMS["decay"], steps=[16, 32, 64], **values)
    assert reason in found.reason
    # lm's second root is -k
    assert (found.error[-1] > 1e6) == (reason == "is not zero-stable")
    assert found.error[-1] > 0.1
