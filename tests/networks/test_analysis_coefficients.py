"""The coefficients read off a network, and their meaning."""

import json
import math

import pytest
import sympy
import torch
from torch import nn

import odenets
from odenets import FieldError, ODENet
from odenets.analysis import learned_coefficients
from odenets.scheme import families

k, c = sympy.symbols("k c", real=True)


def network(values, h=1.0, shape=()):
    """LM layers with the given k_1, k_2, ...; layer 0 is the starting step, which has none."""
    net = ODENet([nn.Tanh() for _ in range(len(values) + 1)], "lm", h=h, coefficient_shape=shape)
    with torch.no_grad():
        for n, value in enumerate(values, start=1):
            net.coefficients_at(n)["k"].copy_(torch.tensor(value).reshape(shape))
    return net


def test_records():
    model = nn.Sequential(network([0.5, -0.25]), nn.ReLU(), network([-1.0, -1.5, 1.0], h=0.5))
    records = learned_coefficients(model)
    assert [(r.stage, r.layer, r.symbol, r.value) for r in records] == [
        (0, 1, "k", 0.5),
        (0, 2, "k", -0.25),
        (1, 4, "k", -1.0),
        (1, 5, "k", -1.5),
        (1, 6, "k", 1.0),
    ]
    # h/(1 + k) and -1 < k <= 1 (Lu et al. 2018)
    assert [r.effective_step for r in records] == pytest.approx([1 / 1.5, 1 / 0.75, math.inf, -1.0, 0.25])
    assert [r.zero_stable for r in records] == [True, True, False, False, True]


def test_channels():
    (record,) = learned_coefficients(network([[0.0, 1.0, -1.0]], shape=(3, 1, 1)))
    assert record.value == [0.0, 1.0, -1.0]
    assert record.effective_step == [1.0, 0.5, math.inf]
    assert record.zero_stable == [True, True, False]
    assert record.as_dict()["effective_step"] == [1.0, 0.5, None]


def test_records_are_json():
    record = learned_coefficients(network([-1.0]))[0]
    text = json.dumps(record.as_dict(), allow_nan=False)
    assert json.loads(text) == {
        "stage": 0,
        "layer": 1,
        "symbol": "k",
        "value": -1.0,
        "effective_step": None,
        "zero_stable": False,
    }


def test_several_symbols():
    # u+ = (1 - k c) u + k c u_ + h f: zero-stable iff -1 < k c <= 1, step h/(1 + k c).
    scheme = odenets.multistep("two", a=[1 - k * c, k * c], b=[1])
    net = ODENet([nn.Tanh(), nn.Tanh()], scheme)
    with torch.no_grad():
        net.coefficients_at(1)["c"].fill_(2.0)
        net.coefficients_at(1)["k"].fill_(0.75)
    records = learned_coefficients(net)
    assert [(r.symbol, r.value) for r in records] == [("c", 2.0), ("k", 0.75)]
    assert {r.effective_step for r in records} == {0.4}
    assert {r.zero_stable for r in records} == {False}


def test_one_transfer_whatever_the_number_of_layers(monkeypatch):
    calls = []
    own = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda self: calls.append(1) or own(self))
    assert len(learned_coefficients(network([0.1] * 20))) == 20
    assert len(calls) == 1


def test_the_values_of_a_bfloat16_network_and_of_the_papers_network():
    assert learned_coefficients(network([0.5]).to(torch.bfloat16))[0].value == 0.5
    records = learned_coefficients(odenets.models.cifar_resnet(20, "lm", num_classes=10))
    assert [(r.stage, r.layer) for r in records] == [(0, 1), (0, 2), (1, 4), (1, 5), (2, 7), (2, 8)]
    assert all(-0.1 <= r.value <= 0 for r in records)


def test_no_learnable_coefficients_and_no_network():
    assert learned_coefficients(ODENet([nn.Tanh()], "euler")) == []
    with pytest.raises(FieldError, match="got a Linear without any ODENet"):
        learned_coefficients(nn.Linear(1, 1))


def test_a_diverged_coefficient_is_not_zero_stable():
    (record,) = learned_coefficients(network([math.nan]))
    assert record.zero_stable is False
    assert record.as_dict()["value"] is None
    assert record.as_dict()["effective_step"] is None


def test_all_history_lm_has_more_coefficients_each_layer():
    scheme, start = families.all_history_lm(4)
    net = ODENet([torch.nn.Linear(3, 3) for _ in range(4)], scheme, start=start)
    for p in net.coefficients.parameters():
        torch.nn.init.constant_(p, 0.25)
    records = learned_coefficients(net)
    assert [(r.layer, r.symbol) for r in records] == [
        (1, "k1"), (2, "k1"), (2, "k2"), (3, "k1"), (3, "k2"), (3, "k3"),
    ]  # fmt: skip
    # (1 + k1 + 2 k2 + 3 k3) u' = f, and rho = (zeta - 1) times a polynomial with roots in the disc
    assert [r.effective_step for r in records] == pytest.approx([1 / 1.25, *[1 / 1.75] * 2, *[1 / 2.5] * 3])
    assert all(r.zero_stable for r in records)
