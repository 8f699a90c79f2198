"""cifar_resnet: its parameters to the unit, its transitions by hand."""

import pytest
import torch
from helpers import explicit_schemes

import odenets
from odenets import FieldError, ODENet
from odenets.models import cifar_resnet

# Lu et al. (2018), the authors' code, as an independent reproduction counted it.
AUTHORS_COUNT = {20: 273_475, 32: 467_913, 44: 662_351, 56: 856_789, 110: 1_731_760}


def parameters(model):
    return sum(p.numel() for p in model.parameters())


def counted_by_hand(depth, learned):
    """Parameters of the basic network: BN 2C each, bare convolutions, one k per active layer."""
    n = (depth - 2) // 6
    stem = 3 * 3 * 3 * 16

    def layer(before, width):
        return 2 * before + 9 * before * width + 2 * width + 9 * width * width

    def shortcut(before, width):
        return 2 * before + before * width

    stages = n * layer(16, 16)
    stages += layer(16, 32) + shortcut(16, 32) + (n - 1) * layer(32, 32)
    stages += layer(32, 64) + shortcut(32, 64) + (n - 1) * layer(64, 64)
    head = 2 * 64 + 64 * 10 + 10
    return stem + stages + head + (3 * n - 3 if learned else 0)


@pytest.mark.parametrize("depth", AUTHORS_COUNT)
def test_parameter_count_is_explained(depth):
    assert parameters(cifar_resnet(depth, "euler")) == counted_by_hand(depth, learned=False)
    ours = parameters(cifar_resnet(depth, "lm"))
    assert ours == counted_by_hand(depth, learned=True)
    # The authors' count exceeds ours by the same 1,091 at every depth, so by nothing that is
    # repeated: 3 coefficients k of the first layer of each stage, which has no history to weigh,
    # and 1,088 in layers outside the repeated blocks.
    assert AUTHORS_COUNT[depth] - ours == 1_091


def test_depth_20_to_the_unit():
    assert parameters(cifar_resnet(20, "euler")) == 272_378
    assert parameters(cifar_resnet(20, "lm")) == 272_378 + 6


def test_bottleneck_from_depth_164():
    model = cifar_resnet(164, "lm")
    assert [stage.steps for stage in (model.stage1, model.stage2, model.stage3)] == [18, 18, 18]
    assert len(list(model.stage1.coefficients.parameters())) == 17
    # 1,703,760 is the authors' count; 3 unused k and the 32 parameters of one 16-channel BN are not here.
    assert parameters(model) == 1_703_760 - 3 - 32
    assert model(torch.randn(2, 3, 8, 8)).shape == (2, 10)


def test_lm_acts_in_all_layers_but_three():
    model = cifar_resnet(32, "lm")
    active = [len(list(stage.coefficients.parameters())) for stage in (model.stage1, model.stage2, model.stage3)]
    assert active == [4, 4, 4]
    assert len(list(cifar_resnet(8, "lm").stage1.coefficients.parameters())) == 0


def test_forward_by_hand_with_history_reseeded_at_transitions():
    torch.manual_seed(0)
    model = cifar_resnet(20, "lm").double().eval()
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    u = model.stem(x)
    for stage in (model.stage1, model.stage2, model.stage3):
        f = stage.field.layers
        before = u if stage.shortcut is None else stage.shortcut(u)
        u = before + f[0](u)
        for n in (1, 2):
            k = stage.coefficients_at(n)["k"]
            u, before = (1 - k) * u + k * before + f[n](u), u
    u = torch.relu(model.head[0](u)).mean((2, 3))
    torch.testing.assert_close(model(x), model.classifier(u))


def test_three_step_scheme_starts_anew_in_each_stage():
    torch.manual_seed(0)
    model = cifar_resnet(26, "zerosnet").double().eval()
    x = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    u = model.stem(x)
    for stage in (model.stage1, model.stage2, model.stage3):
        f = stage.field.layers
        past = [u if stage.shortcut is None else stage.shortcut(u)]
        past.append(past[0] + f[0](u))
        past.append(past[1] + f[1](past[1]))
        for n in (2, 3):
            past.append((3 * past[-1] + 5 * past[-2] + past[-3] + 16 * f[n](past[-1])) / 9)
        u = past[-1]
    u = torch.relu(model.head[0](u)).mean((2, 3))
    torch.testing.assert_close(model(x), model.classifier(u))


def test_momentum_rests_after_a_transition():
    torch.manual_seed(0)
    model = cifar_resnet(14, "momentum").double().eval()
    x = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    u = model.stem(x)
    for stage in (model.stage1, model.stage2, model.stage3):
        f, v = stage.field.layers, 0
        for n, layer in enumerate(f):
            if n == 0 and stage.shortcut is not None:
                u = stage.shortcut(u) + layer(u)
            else:
                v = 0.9 * v + 0.1 * layer(u)
                u = u + v
    u = torch.relu(model.head[0](u)).mean((2, 3))
    torch.testing.assert_close(model(x), model.classifier(u))


@pytest.mark.parametrize("name", [n for n in explicit_schemes() if not any(odenets.schemes[n].modules)])
def test_every_scheme_trains(name):
    torch.manual_seed(0)
    model = cifar_resnet(14, name, in_channels=1)
    loss = torch.nn.functional.cross_entropy(model(torch.randn(8, 1, 8, 8)), torch.arange(8))
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_one_seed_gives_all_schemes_the_same_weights():
    weights = {}
    for name in ("euler", "lm", "rk4"):
        torch.manual_seed(3)
        model = cifar_resnet(14, name)
        weights[name] = [p for key, p in model.named_parameters() if "coefficients" not in key]
    for name in ("lm", "rk4"):
        assert all(torch.equal(a, b) for a, b in zip(weights["euler"], weights[name], strict=True))


def test_initialisation():
    torch.manual_seed(0)
    conv = cifar_resnet(20, "euler").stage3.field.layers[1][2]
    assert conv.weight.std().item() == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.02)


def test_a_coefficient_per_channel():
    model = cifar_resnet(14, "lm", per_channel=True)
    shapes = [m.coefficients_at(1)["k"].shape for m in model.modules() if isinstance(m, ODENet)]
    assert shapes == [(16, 1, 1), (32, 1, 1), (64, 1, 1)]
    model(torch.randn(2, 3, 8, 8)).sum().backward()


def test_count_evaluations():
    assert odenets.count_evaluations(cifar_resnet(20, "euler")) == 9
    # the two transitions are plain residual steps
    assert odenets.count_evaluations(cifar_resnet(20, "rk4")) == 7 * 4 + 2


@pytest.mark.parametrize("depth", [2, 7, 19, 21, 163, 165, 20.0, "20", True, -4])
def test_other_depths_are_refused(depth):
    with pytest.raises(FieldError, match="depth: got"):
        cifar_resnet(depth)


def test_refused_depth_names_the_nearest():
    with pytest.raises(FieldError, match="such as 14 or 20"):
        cifar_resnet(17)
    with pytest.raises(FieldError, match=r"9n \+ 2.* such as 164 or 173"):
        cifar_resnet(165)
