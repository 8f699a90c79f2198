"""The product of a stage's steps, made by hand with numpy; and what a diagnosis says of smaller steps."""

import numpy as np
import pytest
import torch
from test_diagnosis import Linear, network, rotation, states
from test_diagnosis_flow import with_k
from torch import nn

from odenets import ODENet
from odenets.analysis.networks.diagnosis import diagnose, jacobian

SHEAR = np.array([[-0.5, 0.9], [0.0, -0.5]])
TURN = np.array([[0.0, -1.0], [1.0, 0.0]])


def largest_product(steps):
    """max over i <= j of the spectral norm of steps[j] ... steps[i]."""
    sizes = []
    for i in range(len(steps)):
        product = np.eye(len(steps[0]))
        for step in steps[i:]:
            product = step @ product
            sizes.append(np.linalg.norm(product, 2))
    return max(sizes)


def look(matrices, scheme="euler", k=None, **options):
    net = network(matrices, scheme)
    return diagnose(net if k is None else with_k(net, *k), states(1, len(matrices[0])), modified=False, **options)


# ------------------------------------------------------------ layers that are stable alone


def test_layers_that_are_stable_one_by_one_and_grow_together():
    d = look([SHEAR, SHEAR.T] * 15, schemes=[])
    whole = np.linalg.matrix_power((np.eye(2) + SHEAR.T) @ (np.eye(2) + SHEAR), 15)
    assert d.stages[0].product.whole == pytest.approx(np.linalg.norm(whole, 2))
    assert d.stages[0].product.run == (0, 29)
    assert all(b.amplification.outside == 0 for b in d.blocks)
    assert not d.suggestion.startswith("None is needed")
    assert "the product of the steps of a stage multiplies some disturbance by up to 32.2 (transient" in d.suggestion
    assert any(f.startswith("Transient growth in stage 0") and "32.19 over layers 0-29" in f for f in d.findings)
    # Euler's error grows, not the equation: exp(SHEAR) = e^-0.5 [[1, 0.9], [0, 1]]
    flow = [np.exp(-0.5) * np.array(a) for a in ([[1, 0.9], [0, 1]], [[1, 0], [0.9, 1]])] * 15
    assert d.stages[0].product.flow == pytest.approx(largest_product(flow))
    assert d.suggestion.startswith("A smaller step, or a scheme of higher order")
    assert "spectral normalisation" not in d.suggestion


def test_growth_that_is_in_the_equation():
    # exp(J) for J = [[-a, b], [0, -a]] is e^-a [[1, b], [0, 1]]: here the flows grow one after the other, too.
    steep = np.array([[-0.2, 1.5], [0.0, -0.2]])
    d = look([steep, steep.T] * 5, "rk4", schemes=[])
    flow = [np.exp(-0.2) * np.array(a) for a in ([[1, 1.5], [0, 1]], [[1, 0], [1.5, 1]])] * 5
    assert d.stages[0].product.flow == pytest.approx(largest_product(flow))
    assert d.suggestion.startswith("No other scheme")
    assert "spectral normalisation" in d.suggestion


@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.parametrize("after", [0, 1])
@pytest.mark.parametrize("dense_limit", [512, 0])
def test_growth_between_layers_that_damp_everything_is_seen(before, after, dense_limit):
    # A Krylov space of 9 numbers is no smaller than the whole one: 10 blocks of two are beyond dense_limit = 0.
    one, mixed = np.eye(10), rotation(1, 10)
    layers = [mixed @ np.kron(np.diag([1, 0.5, 0.4, 0.3, 0.2]), a) @ mixed.T for a in (SHEAR, SHEAR.T)] * 6
    damped = [*[-one] * before, *layers, *[-one] * after]
    d = look(damped, dense_limit=dense_limit, schemes=[])
    product = d.stages[0].product
    assert product.exact == (dense_limit > 0)
    assert product.whole == pytest.approx(0, abs=1e-12) or before == after == 0
    assert product.largest == pytest.approx(largest_product([one + a for a in damped]), rel=1e-2)
    assert product.run == (before, before + 11)
    assert "transient growth" in d.suggestion


def test_products_beyond_the_largest_number():
    for size in (2, 10):
        net, x = network([1e60 * np.eye(size)] * 6), torch.zeros(1, size, dtype=torch.float64)
        product = diagnose(net, x, dense_limit=0, schemes=[], modified=False).stages[0].product
        assert (product.largest, product.whole) == (np.inf, np.inf)


def test_products_of_a_scheme_with_history_are_those_of_all_that_it_carries():
    ks, matrices = (0.9, -0.5, 0.7), [SHEAR, SHEAR.T, 0.4 * SHEAR, SHEAR.T]
    one, none = np.eye(2), np.zeros((2, 2))
    steps = [np.block([[one + matrices[0], none], [one, none]])]
    steps += [np.block([[(1 - k) * one + a, k * one], [one, none]]) for k, a in zip(ks, matrices[1:], strict=True)]
    product = look(matrices, "lm", ks).stages[0].product
    assert product.largest == pytest.approx(largest_product(steps))
    assert product.whole == pytest.approx(np.linalg.norm(np.linalg.multi_dot(steps[::-1]), 2))


def test_coefficients_that_are_stable_one_by_one_and_grow_together():
    # f = 0: lm3's differences of the carried values are mapped by matrices whose products grow.
    net = network([np.zeros((2, 2))] * 14, "lm3")
    for n in range(2, 14):
        k1, k2 = ((0.9, 0.0), (-1.6, 0.7))[n % 2]
        nn.init.constant_(net.coefficients_at(n)["k1"], k1)
        nn.init.constant_(net.coefficients_at(n)["k2"], k2)
    d = diagnose(net, states(1, 2), modified=False)
    assert all(b.zero_stable for b in d.blocks[2:])
    assert d.stages[0].product.largest > 2 * d.stages[0].product.explained
    assert not d.suggestion.startswith("None is needed")


def test_layers_of_normal_matrices_are_explained_by_their_eigenvalues():
    d = look([0.3 * TURN - 0.5 * np.eye(2), np.diag([-0.2, -1.5])] * 5)
    assert d.stages[0].product.explained == 1
    assert d.suggestion.startswith("None is needed")
    assert not any("Transient" in f for f in d.findings)


def test_powers_of_one_step_that_grow_though_it_does_not():
    # Grcar's matrix: its numerical range reaches beyond Euler's disc, its eigenvalues do not.
    size, layers = 64, 10
    a = 0.3 * (sum(np.eye(size, k=k) for k in range(4)) - np.eye(size, k=-1) - 2 * np.eye(size))
    powers = [np.linalg.norm(np.linalg.matrix_power(np.eye(size) + a, n), 2) for n in range(1, layers + 1)]
    assert powers[0] < 1.5
    d = look([a] * layers)
    assert (d.stages[0].product.largest, d.stages[0].product.whole) == pytest.approx((max(powers), powers[-1]))
    assert f"by up to {max(powers):.3g} (transient growth)" in d.suggestion


def test_powers_of_a_scheme_that_grow_with_a_normal_matrix_are_not_the_matrix():
    # leapfrog near its double roots; J nearly normal
    net = network([0.9 * TURN + np.array([[0, 0.02], [0, 0]])] * 10, "leapfrog", start="rk4")
    d = diagnose(net, states(1, 2), modified=False)
    assert d.stages[0].product.largest > 3
    assert not any("Transient" in f for f in d.findings)


# ------------------------------------------------------------ by products with vectors


@pytest.mark.parametrize("scheme", ["euler", "lm", "implicit_midpoint"])
def test_the_search_finds_what_all_products_have(scheme):
    q = rotation(0, 10)
    layers = [q @ np.kron(np.diag([1, 0.6, 0.5, 0.4, 0.3]), a) @ q.T for a in (SHEAR, SHEAR.T)]
    k = [-0.5] if scheme == "lm" else None
    dense, free = (look(layers, scheme, k, dense_limit=n, schemes=[], values=2).stages[0].product for n in (512, 0))
    assert (dense.exact, free.exact) == (True, False)
    assert (free.largest, free.whole) == pytest.approx((dense.largest, dense.whole), rel=1e-2)
    assert free.largest <= dense.largest * (1 + 1e-9)


def test_the_search_of_an_implicit_scheme_in_float32():
    layers = [0.3 * rotation(seed, 10) for seed in range(3)]
    steps = [np.linalg.inv(np.eye(10) - a) for a in layers]
    net, x = network(layers, "backward_euler").float(), states(1, 10).float()
    product = diagnose(net, x, dtype=None, dense_limit=0, schemes=[], modified=False).stages[0].product
    assert product.largest == pytest.approx(largest_product(steps), rel=1e-2)


def test_a_partitioned_scheme_and_one_of_functions_that_have_no_spectrum_together():
    rng = np.random.default_rng(3)
    pairs = [[Linear(rng.standard_normal((6, 6)) / 3) for _ in range(2)] for _ in range(3)]
    net = ODENet(pairs, "symplectic_euler")
    product = diagnose(net, states(1, 12), modified=False, schemes=[]).stages[0].product
    whole = torch.func.jacrev(net)(states(1, 12))[0, :, 0]
    assert product.whole == pytest.approx(torch.linalg.matrix_norm(whole.detach(), 2).item())
    assert diagnose(net, states(1, 12), modified=False, schemes=[], dense_limit=0).stages[0].product.whole == (
        pytest.approx(product.whole, rel=1e-2)
    )
    several = ODENet([[Linear(-0.1 * np.eye(2)) for _ in range(2)]] * 2, "mpoly2")
    d = diagnose(several, states(1, 2), modified=False)
    assert d.stages[0].product is None
    assert "what the steps do one after the other was not computed" in d.suggestion


# ------------------------------------------------------------ smaller steps


def test_growth_that_goes_to_zero_with_the_step_is_not_called_a_smaller_step_that_does_not_help():
    d = look([1.2 * TURN] * 4, "ab2", schemes=["euler"])

    def growth(n):
        # zeta^2 - (1 + 3z/2) zeta + z/2
        z = 1.2j / n
        return max(abs(np.roots([1, -1 - 1.5 * z, 0.5 * z]))) ** n - 1

    assert "their growth goes to 0 with h" in d.suggestion
    for n in (2, 4, 8, 16, 32):
        assert f"{growth(n):.2g} at h/{n}" in d.suggestion
    assert "no step down to" not in d.suggestion


def test_growth_that_stays_whatever_the_step_is():
    # leapfrog's second root is -exp(-z): on u' = -0.3 u a network of any step grows like exp(0.3 t).
    d = look([np.diag([-0.3, -0.2])] * 4, "leapfrog", schemes=["leapfrog"])
    size = 0.3 / 32 + (1 + (0.3 / 32) ** 2) ** 0.5
    assert f"no step down to h/32 helps (|zeta|^32 - 1 is {size**32 - 1:.2g} there)" in d.suggestion


def test_growth_beyond_the_largest_number_at_every_step_that_is_tried():
    # (z/32)^4/24 to the power 32
    d = look([np.diag([-3e4, -1.0])] * 2, "rk4")
    assert "no step down to h/32 helps (|zeta|^32 - 1 is inf there)" in d.suggestion


def in_place(u):
    """Of it torch.func.linearize makes a graph of which the second product is wrong."""
    return u.clone().pow_(2).mul_(u)


def by_its_sign(u):
    return u * u.sum() if u.sum() > 0 else -u


def curved(u):
    return torch.tanh(u) * u.cos()


@pytest.mark.parametrize("f", [curved, in_place, by_its_sign])
def test_the_hundredth_product_is_the_first(f, monkeypatch):
    monkeypatch.setattr(jacobian, "MANY", 3)
    u = torch.linspace(-1, 2, 4, dtype=torch.float64).reshape(1, 4)
    ours, by_torch = jacobian.Jacobian(f, u, "layer 0"), torch.autograd.functional.jacobian(f, u).reshape(4, 4).numpy()
    for v in [*np.eye(4), *np.eye(4)]:
        np.testing.assert_allclose(ours.apply(v), by_torch @ v, rtol=1e-12, atol=1e-12)
    assert ours.products == 8
    assert (ours._push == ours._linear.push) == (f is not curved)
