"""Random residual functions: what is dropped, what is not, and the equation they approximate."""

import math

import pytest
import torch
from helpers import residuals
from torch import nn

from odenets import AdditiveNoise, FieldError, ODENet, ShakeShake, StochasticDepth, survival_schedule

SAMPLES = 200_000


class Linear(nn.Module):
    """f(x) = rate x."""

    def __init__(self, rate):
        super().__init__()
        self.rate = rate

    def forward(self, x):
        return self.rate * x


def test_schedule_of_the_paper():
    # depth 56: 27 layers, p_L = 0.8; the first is dropped with probability 0.2/27, the last with 0.2
    schedule = survival_schedule(27, 0.8)
    assert schedule[0] == pytest.approx(1 - 0.2 / 27)
    assert schedule[13] == pytest.approx(1 - 14 / 27 * 0.2)
    assert schedule[-1] == pytest.approx(0.8)


def coins(net, x, layers):
    """The factors a network of StochasticDepth drew, by drawing them again from the same state."""
    state = torch.get_rng_state()
    y = net(x)
    torch.set_rng_state(state)
    return y, [net.field.draw(n, x, net.h) for n in range(layers)]


def test_lm_drops_f_and_never_the_momentum():
    # Lu et al. (2018): X_{n+1} = (1 - k_n) X_n + k_n X_{n-1} + eta_n/p_n f_n(X_n)
    torch.manual_seed(0)
    layers, survival = 12, [0.5] * 12
    fs = residuals(layers)
    net = ODENet(StochasticDepth(fs, survival), "lm").train()
    x = torch.randn(3, 5, dtype=torch.float64)
    found, drawn = coins(net, x, layers)
    factors = [noise[0].item() for noise in drawn]
    assert set(factors) == {0.0, 2.0}
    u, before = x + factors[0] * fs[0](x), x
    for n in range(1, layers):
        k = net.coefficients_at(n)["k"]
        u, before = (1 - k) * u + k * before + factors[n] * fs[n](u), u
    torch.testing.assert_close(found, u)


def test_one_coin_for_all_stages_of_a_step():
    torch.manual_seed(1)
    layers = 8
    fs = residuals(layers)
    net = ODENet(StochasticDepth(fs, [0.6] * layers), "rk4").train()
    x = torch.randn(2, 5, dtype=torch.float64)
    found, drawn = coins(net, x, layers)
    u = x
    for f, (m,) in zip(fs, drawn, strict=True):
        k1 = m * f(u)
        k2 = m * f(u + k1 / 2)
        k3 = m * f(u + k2 / 2)
        k4 = m * f(u + k3)
        u = u + (k1 + 2 * k2 + 2 * k3 + k4) / 6
    torch.testing.assert_close(found, u)


def test_evaluation_takes_the_mean_field():
    fs = residuals(4)
    x = torch.randn(2, 5, dtype=torch.float64)
    plain = ODENet(fs, "heun").eval()(x)
    for field in (StochasticDepth(fs, [0.5] * 4), AdditiveNoise(fs, 0.3)):
        assert torch.equal(ODENet(field, "heun").eval()(x), plain)
    pairs = list(zip(residuals(4), residuals(4, seed=1), strict=True))
    u = x
    for f, g in pairs:
        u = u + 0.5 * (f(u) + g(u))
    torch.testing.assert_close(ODENet(ShakeShake(pairs), "euler").eval()(x), u)


@pytest.mark.parametrize(
    ("forward", "backward"), [("shake", "shake"), ("shake", "keep"), ("shake", "even"), ("even", "shake")]
)
def test_shake_shake_mixes_by_one_weight_and_differentiates_by_another(forward, backward):
    f, g = nn.Linear(3, 3, dtype=torch.float64), nn.Linear(3, 3, dtype=torch.float64)
    net = ODENet(ShakeShake([(f, g)], forward, backward), "euler").train()
    x = torch.randn(5, 3, dtype=torch.float64)
    state = torch.get_rng_state()
    found = net(x)
    torch.set_rng_state(state)
    alpha, beta = net.field.draw(0, x, 1.0)
    assert alpha.shape == (5, 1)
    torch.testing.assert_close(found, x + alpha * f(x) + (1 - alpha) * g(x))
    found.sum().backward()
    torch.testing.assert_close(f.bias.grad, (beta * torch.ones(5, 3)).sum(0).double())
    torch.testing.assert_close(g.bias.grad, ((1 - beta) * torch.ones(5, 3)).sum(0).double())
    assert (forward == "even") == bool((alpha == 0.5).all())
    assert (backward == "even") == bool((beta == 0.5).all())
    assert (backward == "keep") == torch.equal(alpha, beta)


# The equations below are linear, so their first two moments are known exactly (Ito):
# dX = a X dt + b X dB has E X = exp(a t), E X^2 = exp((2 a + b^2) t);
# dX = a X dt + s dB has E X = exp(a t), Var X = s^2 (exp(2 a t) - 1) / (2 a).
P, RATE, SIGMA = 0.7, -1.0, 0.5
FIELDS = {
    "stochastic depth": (
        lambda n: StochasticDepth([Linear(RATE)] * n, [P] * n, per_sample=True),
        math.exp(RATE),
        math.exp(2 * RATE + RATE**2 * (1 - P) / P),
    ),
    "shake-shake": (
        lambda n: ShakeShake([(Linear(-1.5), Linear(0.5))] * n),
        math.exp(-0.5),
        math.exp(2 * -0.5 + 2.0**2 / 12),
    ),
    "additive noise": (
        lambda n: AdditiveNoise([Linear(RATE)] * n, SIGMA),
        math.exp(RATE),
        math.exp(2 * RATE) + SIGMA**2 * (1 - math.exp(2 * RATE)) / (-2 * RATE),
    ),
}


@pytest.mark.parametrize("name", FIELDS)
def test_weakly_approximates_its_stochastic_differential_equation(name):
    make, mean, square = FIELDS[name]
    errors = []
    for steps in (4, 8, 16):
        torch.manual_seed(steps)
        x = ODENet(make(steps), "euler", h=1 / steps).train()(torch.ones(SAMPLES, 1, dtype=torch.float64))
        sampling = [5 * moment.std().item() / math.sqrt(SAMPLES) for moment in (x, x**2)]
        errors.append([abs(x.mean().item() - mean), abs((x**2).mean().item() - square)])
        # Weak order 1: the errors fall like h (constants below 1.1 here), up to five standard errors of sampling.
        assert errors[-1][0] < 1.1 * 0.5 / steps + sampling[0]
        assert errors[-1][1] < 1.1 * 0.5 / steps + sampling[1]
    # The mean, whose sampling error is the smaller one, shows the order itself.
    observed = math.log2(errors[0][0] / errors[2][0]) / 2
    assert observed == pytest.approx(1.0, abs=0.15)


def test_several_stages_see_the_stratonovich_equation():
    # One realisation at both stages of heun: the drift of dX = a X dt + b X dB gains b^2/2 (Wong & Zakai 1965).
    torch.manual_seed(0)
    steps, survival = 64, 0.5
    layers = StochasticDepth([Linear(RATE)] * steps, [survival] * steps, per_sample=True)
    x = ODENet(layers, "heun", h=1 / steps).train()(torch.ones(SAMPLES, 1, dtype=torch.float64))
    stratonovich = math.exp(RATE + 0.5 * RATE**2 * (1 - survival) / survival)
    sampling = 5 * x.std().item() / math.sqrt(SAMPLES)
    assert abs(x.mean().item() - stratonovich) < 1.1 / steps + sampling
    assert abs(x.mean().item() - math.exp(RATE)) > 5 * (1.1 / steps + sampling)


def test_an_initial_velocity_sees_the_noise_of_its_step():
    torch.manual_seed(3)
    (f,) = residuals(1)
    net = ODENet(StochasticDepth([f], [0.5]), "alf").train()
    x = torch.randn(2, 5, dtype=torch.float64)
    found, ((m,),) = coins(net, x, 1)
    v = m * f(x)
    half = x + v / 2
    torch.testing.assert_close(found, half + (v + 2 * (m * f(half) - v)) / 2)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: StochasticDepth(residuals(3), [0.5, 0.5]), "one probability"),
        (lambda: StochasticDepth(residuals(1), [0.0]), r"probability in \(0, 1\]"),
        (lambda: survival_schedule(4, 0.0), "p_L"),
        (lambda: ShakeShake([residuals(2)], forward="keep"), "forward"),
        (lambda: ShakeShake([residuals(3)]), "two branches"),
        (lambda: AdditiveNoise(residuals(1), math.nan), "sigma"),
    ],
)
def test_bad_input(build, message):
    with pytest.raises(FieldError, match=message):
        build()
