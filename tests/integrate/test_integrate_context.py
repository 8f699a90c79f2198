"""Steps that solve equations with derivatives of f: what is around f in the forward pass is there in the backward."""

import pytest
import torch
from torch import nn

from odenets import AdaptiveODENet, TimeField, schemes, solve

SCHEMES = ["kvaerno5", "radau_iia3", "rodas4", "ros2", "rodas5p"]
BFLOAT16 = torch.autocast("cpu", torch.bfloat16)
SINGLE = torch.autocast("cpu", enabled=False)
WAYS = [{"rtol": 1e-3, "atol": 1e-3}, {"rtol": 1e-3, "atol": 1e-3, "per_sample": True}, {"steps": 4}]
#: on a grid implicit Runge-Kutta schemes are networks, whose explicit stages autocast is for
CASES = [(name, way) for name in SCHEMES for way in WAYS if "steps" not in way or schemes[name].Gamma is not None]


class Seen(nn.Module):
    """tanh(W u + b), rate times, which keeps what was around it in each call."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.linear, self.rate, self.seen = nn.Linear(2, 2), 1.0, []

    def forward(self, t, u):
        now = torch.is_autocast_enabled("cpu"), self.training, self.rate, torch.get_default_dtype()
        self.seen.append(now)
        return torch.tanh(self.linear(u)) * self.rate


def start():
    return torch.randn(3, 2, generator=torch.Generator().manual_seed(1))


def passes(f, forwards, backwards, scheme, **options):
    """The state at 1, and the gradients to the parameters, each pass in a context of its own."""
    with forwards:
        y = solve(f, start(), (0, 1), scheme, **options).y[-1]
    with backwards:
        return y.detach(), *torch.autograd.grad(y.sum(), list(f.parameters()))


@pytest.mark.parametrize("backwards", [SINGLE, BFLOAT16], ids=["outside", "inside"])
@pytest.mark.parametrize(("scheme", "way"), CASES)
def test_under_autocast_a_step_is_solved_in_the_states_dtype(scheme, way, backwards):
    found, expected = passes(Seen(), BFLOAT16, backwards, scheme, **way), passes(Seen(), SINGLE, SINGLE, scheme, **way)
    assert torch.equal(found[0], expected[0])
    # Inside of autocast what autograd has recorded is in half precision, as of any module.
    rtol = 1e-6 if backwards is SINGLE else 3e-2
    for a, b in zip(found[1:], expected[1:], strict=True):
        assert a.dtype == torch.float32
        assert torch.linalg.vector_norm(a - b) <= rtol * torch.linalg.vector_norm(b)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_network_trained_as_torch_has_it_with_autocast(scheme):
    net = AdaptiveODENet(TimeField(Seen(), 0, 1), scheme, rtol=1e-3, atol=1e-3)
    with BFLOAT16:
        y = net(start())
    y.sum().backward()
    assert y.dtype == torch.float32
    assert all(bool(p.grad.isfinite().all()) for p in net.parameters())


@pytest.mark.parametrize(("scheme", "way"), [case for case in CASES if case[0] in ("kvaerno5", "radau_iia3", "ros2")])
def test_f_is_evaluated_as_it_was_whatever_has_been_set_since(scheme, way):
    f = Seen().eval()
    y = solve(f, start(), (0, 1), scheme, **way).y[-1]
    count = len(f.seen)
    f.train()
    f.rate = 2.0
    with BFLOAT16:
        y.sum().backward()
    assert set(f.seen) == {(False, False, 1.0, torch.float32)}
    assert len(f.seen) > count or schemes[scheme].Gamma is not None
    assert (f.training, f.rate) == (True, 2.0)


def test_products_with_a_jacobian_too_large_for_a_matrix_are_those_of_the_forward_pass(monkeypatch):
    monkeypatch.setattr("odenets.integrate.linearised.LARGEST", 1)
    f = Seen().eval()
    y = solve(f, start()[0], (0, 1), "rodas4", steps=4).y[-1]
    count = len(f.seen)
    f.train()
    y.sum().backward()
    assert len(f.seen) > count
    assert not any(training for _, training, _, _ in f.seen)
