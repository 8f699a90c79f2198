"""Checkpoints of a code that stores 1 - k_n."""

import warnings

import pytest
import torch
from helpers import residuals

import odenets
from odenets import FieldError, ODENet, SchemeWarning


def theirs(blocks, kappas, x):
    """LM with kappa = 1 - k, as the authors' code has it, by hand."""
    u, before = x + blocks[0](x), x
    for block, kappa in zip(blocks[1:], kappas, strict=True):
        u, before = kappa * u + (1 - kappa) * before + block(u), u
    return u


def test_a_converted_state_is_the_same_function():
    blocks, kappas = residuals(4), [torch.tensor(k, dtype=torch.float64) for k in (1.05, 0.9, 1.2)]
    x = torch.randn(2, 5, dtype=torch.float64)
    net = ODENet(residuals(4, seed=1), "lm")
    state = {f"field.layers.{n}.{key}": value for n, f in enumerate(blocks) for key, value in f.state_dict().items()}
    state |= {f"ks.{n}": kappa for n, kappa in enumerate(kappas)}
    found = odenets.from_one_minus_k(state, {f"ks.{n}": f"coefficients.k_{n + 1}" for n in range(3)})
    assert state["ks.0"] == 1.05
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net.load_state_dict(found)
    torch.testing.assert_close(net(x), theirs(blocks, kappas, x))


def test_a_hint_where_loaded_coefficients_look_like_it():
    net = torch.nn.Sequential(ODENet(residuals(4), "lm"))
    state = {key: 1 - value if "coefficients" in key else value for key, value in net.state_dict().items()}
    with pytest.warns(SchemeWarning, match=r"1 - k\? odenets.from_one_minus_k"):
        net.load_state_dict(state)


@pytest.mark.parametrize("shape", [(), (5,)])
def test_no_hint_for_our_own(shape):
    net = ODENet(residuals(4), "lm", coefficient_shape=shape)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net.load_state_dict(net.state_dict())


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"nothing": "coefficients.k_1"}, "expected keys of the state_dict"),
        ({"a": "coefficients.k_1", "b": "coefficients.k_1"}, "become"),
        ({}, "no key that becomes a learned k"),
    ],
)
def test_names_that_do_not_fit(names, message):
    with pytest.raises(FieldError, match=message):
        odenets.from_one_minus_k({"a": torch.ones(()), "b": torch.ones(())}, names)
