"""f is given a tensor for each time, which is its own."""

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


def by_numpy(t):
    t.numpy()[...] = 7.0


def by_data(t):
    t.data.mul_(2)


@pytest.mark.parametrize("besides", [lambda t: t.add_(1), lambda t: t.requires_grad_(), by_numpy, by_data])
def test_what_f_does_to_a_time_is_not_seen_in_the_next_pass(besides):
    f = Times(besides)
    for value in passes(f):
        torch.testing.assert_close(value.detach(), torch.full_like(value, RIGHT))
        assert not value.requires_grad
    assert len(set(map(id, f.given))) == len(f.given)


def test_a_pass_that_writes_into_its_times_leaves_earlier_ones_their_gradients():
    weight, flag = torch.ones((), dtype=torch.float64, requires_grad=True), []

    def f(t, x):
        if flag:
            t.mul_(2)
        return x * weight * t

    net, x = odenets.ODENet(odenets.TimeField(f, 0.0, 1.0, STEPS), "euler"), torch.ones(2, dtype=torch.float64)
    before = [net(x) for _ in range(3)][-1]
    flag.append(True)
    net(x)
    before.sum().backward()
    # d/dw of prod (1 + w t_n / 3) at w = 1, twice
    factors = [1 + n / 9 for n in range(STEPS)]
    expected = 2 * RIGHT * sum(n / 9 / factor for n, factor in enumerate(factors))
    torch.testing.assert_close(weight.grad.item(), expected)
