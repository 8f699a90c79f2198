"""Times are handed to f as tensors that are kept from pass to pass."""

import pytest
import torch

import odenets

STEPS = 3
#: Euler's method on u' = t u from 0 to 1, by hand: the product of 1 + h t_n
RIGHT = (1 + 0 / 9) * (1 + 1 / 9) * (1 + 2 / 9)


class Times:
    """u' = t u; what it does to t besides is given, and the tensors that it was given are noted."""

    def __init__(self, besides=lambda t: None):
        self.besides, self.given = besides, []

    def __call__(self, t, u):
        self.given.append(t)
        value = u * t
        self.besides(t)
        return value


def passes(f, number=4, scheme="euler"):
    net = odenets.ODENet(odenets.TimeField(f, 0.0, 1.0, STEPS), scheme)
    u = torch.ones(2, 2, dtype=torch.float64)
    return [net(u) for _ in range(number)]


def test_a_time_is_the_same_tensor_in_each_pass():
    f = Times()
    for value in passes(f):
        torch.testing.assert_close(value, torch.full_like(value, RIGHT))
    later = f.given[2 * STEPS :]  # the first pass finds out what f is
    assert [t is other for t, other in zip(later[:STEPS], later[STEPS:], strict=True)] == [True] * STEPS
    assert [float(t) for t in later[:STEPS]] == [0.0, 1 / 3, 2 / 3]


@pytest.mark.parametrize("besides", [lambda t: t.add_(1), lambda t: t.requires_grad_()], ids=["writes", "gradient"])
def test_what_f_does_to_a_time_is_not_seen_in_the_next_pass(besides):
    f = Times(besides)
    for value in passes(f):
        torch.testing.assert_close(value.detach(), torch.full_like(value, RIGHT))
        assert not value.requires_grad
    assert len(set(map(id, f.given))) == len(f.given)


def test_a_time_that_is_written_to_after_the_pass():
    f = Times()
    net = odenets.ODENet(odenets.TimeField(f, 0.0, 1.0, STEPS), "euler")
    u = torch.ones(2, dtype=torch.float64)
    for _ in range(4):
        torch.testing.assert_close(net(u), torch.full_like(u, RIGHT))
        for t in f.given:
            t.fill_(7.0)


def test_stages_at_the_same_time_share_it():
    f = Times()
    passes(f, scheme="rk4")
    assert [float(t) for t in f.given[-4:]] == pytest.approx([2 / 3, 5 / 6, 5 / 6, 1.0])
    assert f.given[-3] is f.given[-2]
    assert f.given[-1] is not f.given[-5]
