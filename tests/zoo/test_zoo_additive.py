"""Additive schemes: order conditions of trees in two colours, the steps of their papers, what `additive` refuses."""

import functools
import itertools
import math

import numpy as np
import pytest
import torch
from sympy import Rational as R, Symbol
from test_zoo_conditions import floats, partitions
from torch import nn

from odenets import ODENet, SchemeError, additive, runge_kutta, schemes, solve

ADDITIVE = [name for name, scheme in schemes.items() if scheme.functions == ((0, 0), (0, 0)) and not scheme.explicit]
g = 1 - 1 / math.sqrt(2)
LAMBDA = -30.0


@functools.cache
def trees(order):
    """Rooted trees whose vertices have one of two colours: (colour, subtrees)."""
    forests = {()} if order == 1 else set()
    for parts in partitions(order - 1):
        for children in itertools.product(*(trees(part) for part in parts)):
            forests.add(tuple(sorted(children)))
    return [(colour, forest) for colour in (0, 1) for forest in forests]


def density(tree):
    def size(t):
        return 1 + sum(map(size, t[1]))

    return size(tree) * math.prod(map(density, tree[1]))


def worst_condition(scheme, b, order):
    """max over the trees of that order of |Phi(t) - 1 / gamma(t)|: only stages of a vertex' colour stand for it.

    Hairer, Lubich & Wanner (2006), III.2, of components that are added up.
    """
    A, colours = floats(scheme.A), np.array(scheme.modules)

    @functools.cache
    def weights(tree):
        return (colours == tree[0]) * math.prod((A @ weights(child) for child in tree[1]), start=np.ones(len(b)))

    return max(abs(b @ weights(tree) - 1 / density(tree)) for tree in trees(order))


def test_the_trees_here_are_the_known_numbers():
    # Sloane's A000151
    assert [len(trees(n)) for n in range(1, 6)] == [2, 4, 14, 52, 214]


@pytest.mark.parametrize("name", ADDITIVE)
def test_conditions_hold_to_the_derived_order_and_fail_at_the_next(name):
    scheme = schemes[name]
    rows = [(scheme.B, scheme.order)]
    if scheme.embedded is not None:
        rows.append((scheme.embedded, scheme.embedded_order))
    for weights, order in rows:
        b = floats(weights)[0]
        assert all(worst_condition(scheme, b, p) < 1e-12 for p in range(1, order + 1))
        assert worst_condition(scheme, b, order + 1) > 1e-6


def test_stages_that_nothing_depends_on_are_left_out():
    # Ascher, Ruuth & Spiteri (1997): (s, sigma) implicit and explicit stages, in that order of their names
    counted = {name: schemes[name].modules for name in ADDITIVE if name.startswith("ars")}
    assert {name: f"ars{m.count(1)}{m.count(0)}" for name, m in counted.items()} == {name: name[:5] for name in counted}


def ars222(f, u, h):
    """Ascher, Ruuth & Spiteri (1997), 2.6, for the implicit function LAMBDA u."""
    delta = 1 - 1 / (2 * g)
    k0 = f(u)
    y = (u + h * g * k0) / (1 - h * g * LAMBDA)
    k1 = f(y)
    return (u + h * (delta * k0 + (1 - delta) * k1 + (1 - g) * LAMBDA * y)) / (1 - h * g * LAMBDA)


def ars443(f, u, h):
    """Ibid., 2.8."""
    explicit = [[1 / 2], [11 / 18, 1 / 18], [5 / 6, -5 / 6, 1 / 2], [1 / 4, 7 / 4, 3 / 4, -7 / 4]]
    implicit = [[], [1 / 6], [-1 / 2, 1 / 2], [3 / 2, -3 / 2, 1 / 2]]
    y, k, slopes = u, [], []
    for a, b in zip(explicit, implicit, strict=True):
        k.append(f(y))
        known = u + h * sum(x * v for x, v in zip(a, k, strict=True))
        known += h * sum(x * v for x, v in zip(b, slopes, strict=True))
        y = known / (1 - h * LAMBDA / 2)
        slopes.append(LAMBDA * y)
    return y


@pytest.mark.parametrize("by_hand", [ars222, ars443], ids=lambda function: function.__name__)
def test_steps_of_the_paper(by_hand):
    def f(u):
        return torch.sin(3 * u) + 1

    u = torch.tensor([0.3, -1.2], dtype=torch.float64)
    expected = by_hand(f, by_hand(f, u, 0.1), 0.1)
    found = solve((lambda t, u: f(u), lambda t, u: LAMBDA * u), u, (0, 0.2), by_hand.__name__, steps=2).y[-1]
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_an_explicit_one():
    A = [[0, 0], ["1/2", 0]]
    scheme = additive("mixed", runge_kutta("midpoint", A, [0, 1]), runge_kutta("of order 1", A, ["1/2", "1/2"]))
    assert scheme.order == 1
    assert scheme.explicit
    assert scheme.modules == (0, 1, 0, 1)
    assert scheme.nodes == (0, 0, R(1, 2), R(1, 2))


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (("rk4",), "got 1 schemes, expected one for each of two functions"),
        (("rk4", "ab2"), "got ab2 for one function, expected a Runge-Kutta scheme"),
        (("rk4", "ros2"), "got ros2 for one function"),
        (("rk4", "rk38"), "and .* for another, expected the same: their stages are shared"),
    ],
)
def test_refused(parts, said):
    with pytest.raises(SchemeError, match=said):
        additive("wrong", *(schemes[name] for name in parts))


def test_learnable_coefficients_are_drawn_as_the_parts_say():
    a = Symbol("a", real=True)
    range_of = {"a": (0.5, 0.6)}
    part = runge_kutta("two", [[0, 0], [a, 0]], [1 - 1 / (2 * a), 1 / (2 * a)], init=range_of)
    found = additive("both", part, part)
    assert found.init == part.init
    net = ODENet([[nn.Linear(2, 2), nn.Linear(2, 2)] for _ in range(3)], found)
    assert all(0.5 <= p.item() <= 0.6 for p in net.coefficients.parameters())


def test_a_name_is_no_scheme():
    with pytest.raises(SchemeError, match="got 'heun' for one function, expected a Scheme"):
        additive("both", "heun", "trapezoid")


def test_several_implicit_parts_are_refused():
    with pytest.raises(SchemeError, match=r"kencarp4, kencarp4, expected one at most"):
        additive("both", schemes["kencarp4"], schemes["kencarp4"])


def test_weights_of_a_third_solution_are_kept():
    found = additive("both", schemes["dop853"], schemes["dop853"])
    for g in (0, 1):
        own = [x for x, module in zip(found.third, found.modules, strict=True) if module == g and x != 0]
        assert own == [x for x in schemes["dop853"].third if x != 0]
