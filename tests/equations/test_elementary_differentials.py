"""Directional derivatives of torch functions, which trees share; torch.func.jvp, nested, is the oracle."""

import pytest
import torch

from odenets.analysis import modified_equation
from odenets.analysis.equations.elementary_differentials import Derivatives, Differentials, derivative

W = torch.randn(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
FUNCTIONS = {
    "product": lambda u: u * u.sin(),
    "network": lambda u: torch.tanh(u @ W),
    "relu": lambda u: torch.relu(u @ W),
    "linear": lambda u: u @ W,
    "constant": torch.ones_like,
    "in place": lambda u: u.mul_(2).cos(),
}


def nested(f, u, *directions):
    if not directions:
        return f(u.clone())
    first, *rest = directions
    return torch.func.jvp(lambda x: nested(f, x, *rest), (u,), (first,))[1]


def states(seed=1):
    return torch.randn(5, 2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).unbind()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives_that_begin_alike(name):
    f, (u, a, b, c, _) = FUNCTIONS[name], states()
    found = Derivatives(f, u)
    for directions in ((), (a,), (b,), (a, b), (a, c), (a, a), (b, a), (a, b, c), (a, b, a), (c, b, a)):
        torch.testing.assert_close(found(*directions), nested(f, u, *directions) + 0)
        assert not found(*directions).requires_grad


def test_a_derivative_may_be_differentiated_by_the_state_and_by_parameters():
    u, a, b, *_ = states()
    weight = W.clone()

    def values(u, weight):
        # A direction that depends on the state: its own derivative is none of f's.
        return derivative(lambda x: torch.tanh(x @ weight), u, u * a, b)

    assert torch.autograd.gradcheck(values, (u.requires_grad_(), weight.requires_grad_()))


def test_trees_of_a_state_that_requires_a_gradient_are_those_of_one_that_does_not():
    u, *_ = states()
    equation = modified_equation("euler", 4)
    plain = Differentials(FUNCTIONS["network"], u, equation.maps)
    recorded = Differentials(FUNCTIONS["network"], u.clone().requires_grad_(), equation.maps)
    for tree in equation:
        torch.testing.assert_close(recorded(tree).detach(), plain(tree))
        assert recorded(tree).requires_grad


def test_under_vmap():
    u, a, b, *_ = states()
    found = torch.func.vmap(lambda u: derivative(FUNCTIONS["network"], u, a[0], b[0]))(u)
    torch.testing.assert_close(found, nested(FUNCTIONS["network"], u, a[:1].expand(2, -1), b[:1].expand(2, -1)))
