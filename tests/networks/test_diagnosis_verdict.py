"""Growth told from instability, the modified term, what the model keeps, and what is refused."""

import json

import numpy as np
import pytest
import torch
from test_diagnosis import Linear, network, states
from torch import nn

import odenets
from odenets import FieldError, ODENet, TimeField, UnknownSchemeError
from odenets.analysis.networks.diagnosis import diagnose


def skew(*frequencies):
    """Block diagonal with eigenvalues ± i w."""
    size = 2 * len(frequencies)
    a = np.zeros((size, size))
    for i, w in enumerate(frequencies):
        a[2 * i, 2 * i + 1], a[2 * i + 1, 2 * i] = w, -w
    return a


# ------------------------------------------------------------ whose growth it is


def test_euler_on_oscillations_is_unstable_and_the_flow_is_not():
    d = diagnose(network([skew(0.5, 1.0, 1.5)]), states(1, 6))
    a = d.blocks[0].amplification
    assert (a.outside, a.unstable, a.growing, a.excess) == (1, 1, 0, 0)
    assert a.maximum == pytest.approx(abs(1 + 1.5j))
    assert "growth is in the equation" not in d.suggestion
    # ssprk33 is the cheapest on the list that reaches sqrt(3) on the imaginary axis.
    assert "ssprk33 at the same step (" in d.suggestion
    # |1 + 1.5i/n|^n goes to 1
    assert f"{abs(1 + 1.5j / 32) ** 32 - 1:.2g} at h/32" in d.suggestion
    found = {x.scheme: x for x in d.blocks[0].alternatives}
    assert found["rk4"].same_step.unstable == 0
    # |R(iy)|^2 of Heun is 1 + y^4/4
    assert found["heun"].same_step.maximum == pytest.approx((1 + 1.5**4 / 4) ** 0.5)
    # At the same cost: step 2 h, and the factor per h
    assert found["heun"].same_cost.maximum == pytest.approx((1 + 3**4 / 4) ** 0.25)
    assert found["heun"].evaluations == 2
    assert not found["backward_euler"].explicit


def test_growth_of_the_equation_is_not_the_schemes_fault():
    d = diagnose(network([np.diag([0.5, 1.0, -0.5])]), states(1, 3))
    a = d.blocks[0].amplification
    assert (a.outside, a.growing, a.unstable) == pytest.approx((2 / 3, 2 / 3, 0))
    assert a.excess == 0  # 1 + x < exp(x)
    assert "growth is in the equation itself, a scheme that follows the flow does not change that" in d.suggestion
    assert "numerical instability" not in d.suggestion


def test_growth_faster_than_the_flow_is_told_apart():
    # lambda = 0.01 ± 2i: |1 + lambda| = 2.24, and the flow grows by exp(0.01) only.
    a = diagnose(network([skew(2.0) + 0.01 * np.eye(2)]), states(1, 2)).blocks[0].amplification
    assert (a.growing, a.excess, a.unstable) == (1, 1, 0)


def test_a_smaller_step_is_suggested_where_it_helps():
    d = diagnose(network([np.diag([-3.0, -7.0])]), states(1, 2), schemes=["euler", "heun"])
    # 2/h' > 7: a quarter
    assert "4 times as many layers of step h/4" in d.suggestion
    assert d.blocks[0].amplification.maximum == pytest.approx(6)


def test_nothing_to_do():
    d = diagnose(network([np.diag([-0.5, -1.0])]), states(1, 2))
    assert d.suggestion == (
        "None is needed: every eigenvalue is in the stability region of its layer, and the product of the steps of a "
        "stage multiplies some disturbance by up to 0.5."
    )
    assert d.blocks[0].amplification.outside == 0


def test_lm_compared_at_the_layers_own_k():
    net = network([np.diag([-1.0, -2.0])] * 2, "lm")
    nn.init.constant_(net.coefficients_at(1)["k"], -0.5)
    first, second = diagnose(net, states(1, 2)).blocks
    assert "lm" not in [a.scheme.partition("(")[0] for a in first.alternatives]
    (lm,) = [a for a in second.alternatives if a.scheme == "lm(k=-0.5)"]
    assert lm.same_step == second.amplification


# ---------------------------------------------------------------- modified term


def size_of(a, x, power, factor):
    top = [np.linalg.norm(np.linalg.matrix_power(a, power) @ u) / np.linalg.norm(a @ u) for u in x.numpy()]
    return factor * np.mean(top), factor * max(top)


def test_leading_modified_term():
    rng = np.random.default_rng(0)
    a, h, k, x = rng.standard_normal((4, 4)), 0.3, 0.25, states(2, 4)
    net = network([a, a], "lm", h=h)
    nn.init.constant_(net.coefficients_at(1)["k"], k)
    euler, lm = diagnose(net, x).blocks
    # Euler: -(h/2) f'f. LM: f/(1 + k) - (1 - k) h/(2 (1 + k)^3) f'f (Lu et al. 2018, solved for u'), the second
    # term relative to the first one.
    assert (euler.modified.relative, euler.modified.largest) == pytest.approx(size_of(a, x, 2, h / 2))
    after = torch.from_numpy(x.numpy() @ (np.eye(4) + h * a).T)
    expected = size_of(a, after, 2, (1 - k) * h / (2 * (1 + k) ** 2))
    assert (lm.modified.relative, lm.modified.largest) == pytest.approx(expected)
    assert (euler.modified.order, lm.modified.order) == (1, 1)
    # log R(z) = z - z^5/120 + ... for order 4 and R of degree 4.
    rk4 = diagnose(network([a], "rk4", h=h), x).blocks[0].modified
    assert rk4.order == 4
    assert (rk4.relative, rk4.largest) == pytest.approx(size_of(a, x, 5, h**4 / 120))


def test_modified_term_of_a_function_of_time():
    # u' = t: f'f of the system (u, t) is (1, 0), so (h/2) |1| / |t_n|.
    net = ODENet(TimeField(lambda t, x: t + 0 * x, 1.0, 2.0, steps=2), "euler")
    sizes = [b.modified.relative for b in diagnose(net, states(2, 1)).blocks]
    assert sizes == pytest.approx([0.25 / 1.0, 0.25 / 1.5])


def test_where_there_is_no_modified_term_it_says_why():
    a = np.diag([-1.0, -0.5])
    assert diagnose(network([a]), states(1, 2), modified=False).blocks[0].modified_note == "not asked for"
    note = diagnose(ODENet([[Linear(a), Linear(a)]], "verlet"), states(1, 4)).blocks[0].modified_note
    assert note == "a split or partitioned scheme"
    assert diagnose(network([a], "dopri5"), states(1, 2)).blocks[0].modified_note.startswith("order 5")


# ------------------------------------------------------------ the model is left as it is


def trained():
    torch.manual_seed(0)
    block = [nn.BatchNorm1d(6), nn.ReLU(inplace=True), nn.Dropout(0.3), nn.Linear(6, 6)]
    model = nn.Sequential(nn.Linear(6, 6), ODENet([nn.Sequential(*block), nn.Linear(6, 6)], "lm"))
    model[0].weight.requires_grad_(False)
    model(torch.randn(4, 6)).sum().backward()
    model[1].field.layers[0][0].eval()
    return model


def remembered(model):
    return (
        [(name, id(p), p.detach().clone(), p.requires_grad, id(p.grad)) for name, p in model.named_parameters()],
        [(name, id(b), b.clone()) for name, b in model.named_buffers()],
        [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        [(module.training, len(module._forward_hooks), len(module._forward_pre_hooks)) for module in model.modules()],
        [module.gradient for module in model.modules() if isinstance(module, ODENet)],
        torch.get_rng_state(),
    )


def same(a, b):
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def test_nothing_of_the_model_changes():
    model = trained()
    model[0].register_forward_hook(lambda module, args, out: None)
    before = remembered(model)
    diagnose(model, torch.randn(4, 6, generator=torch.Generator().manual_seed(1)))
    assert same(before, remembered(model))


def test_nothing_changes_when_it_fails():
    class Fails(nn.Module):
        def forward(self, x):
            torch.rand(1)
            raise RuntimeError("on purpose")

    model = nn.Sequential(trained(), Fails())
    before = remembered(model)
    with pytest.raises(
        FieldError, match=r"does not run on x of shape \(2, 6\) in torch.float64 \(RuntimeError: on purpose"
    ):
        diagnose(model, torch.ones(2, 6))
    assert same(before, remembered(model))


def test_the_same_again_whatever_the_generators():
    net = network([np.diag(np.linspace(-2, 1, 40)) + 0.1 * np.triu(np.ones((40, 40)), 1)])
    first = diagnose(net, states(), dense_limit=0)
    torch.manual_seed(123)
    np.random.seed(5)
    assert diagnose(net, states(), dense_limit=0).as_dict() == first.as_dict()


def test_the_callers_modes_make_no_difference():
    torch.manual_seed(0)
    net, x = ODENet([nn.Sequential(nn.Linear(4, 4), nn.ReLU())], "euler").eval(), torch.randn(2, 4)
    plain = diagnose(net, x).as_dict()
    for mode in (torch.no_grad(), torch.inference_mode(), torch.autocast("cpu", torch.bfloat16)):
        with mode:
            assert diagnose(net, x + 0).as_dict() == plain


# --------------------------------------------------------------- warnings and errors


def test_warnings_say_where_it_does_not_hold():
    d = diagnose(trained(), torch.ones(2, 6) * torch.arange(1.0, 3.0)[:, None])
    text = "\n".join(d.warnings)
    for expected in ("kinks (ReLU) in layer 0", "BatchNorm", "training mode", "Dropout", "own f", "float32"):
        assert expected in text
    assert d.blocks[0].piecewise_linear
    assert not d.blocks[1].piecewise_linear


def test_no_warning_of_kinks_for_a_smooth_layer():
    d = diagnose(ODENet([nn.Sequential(nn.Linear(4, 4), nn.Tanh())], "euler").eval(), torch.randn(1, 4))
    assert not any("kinks" in warning for warning in d.warnings)
    assert not any("BatchNorm" in warning or "training" in warning for warning in d.warnings)


def test_a_matrix_far_from_normal_is_named():
    d = diagnose(network([np.array([[-0.5, 20.0], [0.0, -0.6]])]), states(1, 2))
    assert any("far from normal" in w and "Layer 0" in w for w in d.warnings)
    assert d.blocks[0].amplification.outside == 0
    assert d.blocks[0].spectrum.log_norm[0] == pytest.approx(-0.55 + (0.05**2 + 10**2) ** 0.5)


def test_values_that_do_not_converge_are_counted(monkeypatch):
    monkeypatch.setattr("odenets.analysis.networks.diagnosis.spectrum.RESTARTS", 1)
    rng = np.random.default_rng(0)
    net = network([rng.standard_normal((300, 300))])
    d = diagnose(net, states(1, 300), dense_limit=0, values=5, modified=False)
    assert d.blocks[0].spectrum is None
    assert any("no eigenvalue converged" in w for w in d.warnings)
    assert "did not converge" in d.text()
    monkeypatch.setattr("odenets.analysis.networks.diagnosis.spectrum.RESTARTS", 4)
    d = diagnose(net, states(1, 300), dense_limit=0, values=5, modified=False)
    assert d.blocks[0].spectrum.missing > 0
    assert any("did not converge and are left out" in w for w in d.warnings)
    json.dumps(d.as_dict(), allow_nan=False)


@pytest.mark.parametrize(
    ("model", "x", "options", "message"),
    [
        (nn.Linear(2, 2), torch.ones(1, 2), {}, "got Linear without any ODENet"),
        (network([np.eye(2)]), torch.ones(0, 2), {}, r"shape \(0, 2\)"),
        (network([np.eye(2)]), [1.0], {}, "got list for x"),
        (network([np.eye(2)]), torch.ones(1, 2), {"samples": 0}, "samples: got 0"),
        (network([np.eye(2)]), torch.ones(1, 2), {"values": 1}, "values: got 1"),
        (network([np.eye(2)]), torch.ones(1, 2), {"dtype": torch.bfloat16}, "dtype: got torch.bfloat16"),
        (network([np.eye(2)]), torch.full((1, 2), torch.nan), {}, "NaN or infinite"),
        (ODENet([nn.Linear(2, 2)], "euler").bfloat16(), torch.ones(1, 2).bfloat16(), {"dtype": None}, "bfloat16"),
    ],
)
def test_what_does_not_fit_is_refused(model, x, options, message):
    with pytest.raises(FieldError, match=message):
        diagnose(model, x, **options)


def test_samples_that_are_coupled_are_refused():
    norm = nn.BatchNorm1d(3, track_running_stats=False)
    with pytest.raises(FieldError, match="layer 0: cannot be evaluated for one sample alone"):
        diagnose(ODENet([norm], "euler").eval(), torch.eye(3), samples=3)

    class Centred(nn.Module):
        def forward(self, x):
            return x - x.mean(0)

    with pytest.raises(FieldError, match="layer 0: got another value for a sample alone"):
        diagnose(ODENet([Centred()], "euler"), torch.eye(3), samples=3)


def test_an_unknown_scheme_to_compare_with():
    with pytest.raises(UnknownSchemeError):
        diagnose(network([np.eye(2)]), states(1, 2), schemes=["no such scheme"])


def test_float32_on_request():
    torch.manual_seed(0)
    net = ODENet([nn.Linear(30, 30)], "euler")
    single = diagnose(net, torch.ones(1, 30), dtype=None, dense_limit=0)
    double = diagnose(net, torch.ones(1, 30), dense_limit=0)
    assert (single.settings["dtype"], double.settings["dtype"]) == ("float32", "float64")
    assert single.blocks[0].spectrum.radius == pytest.approx(double.blocks[0].spectrum.radius, rel=1e-4)


def test_random_fields_are_analysed_at_their_mean():
    model = odenets.models.cifar_resnet(8, "euler", survival=0.5)
    d = diagnose(model, torch.randn(1, 3, 4, 4), modified=False)
    assert any("its mean was analysed" in w for w in d.warnings)
