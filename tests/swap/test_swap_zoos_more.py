"""More of swap_scheme on torchvision, timm and transformers: diagnosis, gradients, copies, caches, random depth."""

import copy
import pickle
from functools import partial

import pytest
import swap_zoos
import test_swap_zoos as zoos
import torch
from swap_zoos import IMAGES, Logits, assert_same, gpt2, gradients, k_of, resnet, steps, vit
from test_swap_zoos import TOKENS, basic, loop
from torch.nn import functional as F

from odenets import FieldError, swap_scheme, unswap
from odenets.analysis import diagnose

pytestmark = zoos.pytestmark
vision, timm, transformers = swap_zoos.vision, swap_zoos.timm, swap_zoos.transformers
UNCACHED = {"input_ids": TOKENS, "use_cache": False}


# ---------------------------------------------------------------------------------------------------- diagnosis


def test_diagnosis_of_a_resnet(vision):
    torch.manual_seed(0)
    model, x = resnet(vision), IMAGES[:2, :, :8, :8]
    found = diagnose(swap_scheme(model, "lm", example=x, coefficients=0.3), x, schemes="heun", modified=False)
    assert [stage.steps for stage in found.stages] == [2, 1, 1, 1]
    assert [block.dimension for block in found.blocks] == [256, 256, 128, 256, 512]
    assert sum("activation after their sum" in warning for warning in found.warnings) == 1
    model = model.double()
    u = model.maxpool(F.relu(model.bn1(model.conv1(x.double()))))
    swap_zoos.assert_spectrum(found.blocks[0], basic(model.layer1[0]), u)
    u = model.layer2[0](loop("lm", map(basic, model.layer1), u, 0.3))
    swap_zoos.assert_spectrum(found.blocks[2], basic(model.layer2[1]), u)


@pytest.mark.parametrize("kind", ["timm", "transformers"])
def test_diagnosis_of_transformers(request, kind):
    torch.manual_seed(0)
    model = (vit if kind == "timm" else gpt2)(request.getfixturevalue(kind))
    wrapped, x = (model, IMAGES) if kind == "timm" else (Logits(model), TOKENS)
    found = diagnose(swap_scheme(wrapped, "ab2", example=x), x, samples=2)
    assert [stage.steps for stage in found.stages] == [6]
    assert {block.dimension for block in found.blocks} == {(5 if kind == "timm" else 7) * 8}
    model.double()
    for n in range(3):
        swap_zoos.assert_spectrum(found.blocks[n], swap_zoos.branches(model)[n], steps(model, "ab2", number=n)[:2])


# ----------------------------------------------------------------------------------- autocast, copies, state_dict


@pytest.mark.parametrize("name", ["euler", "lm", "heun"])
@pytest.mark.parametrize("kind", ["vision", "timm", "transformers"])
def test_autocast_copies_and_checkpoints(request, kind, name):
    torch.manual_seed(0)
    package = request.getfixturevalue(kind)
    make = {"vision": resnet, "timm": vit, "transformers": lambda package: Logits(gpt2(package))}[kind]
    model, trained, x = make(package).eval(), make(package).eval(), TOKENS if kind == "transformers" else IMAGES
    swap = partial(swap_scheme, scheme=name, example=x, coefficients=k_of(name))
    swapped = swap(model)
    exact = swapped(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, plain = swapped(x), model(x)
    assert found.dtype == plain.dtype == torch.bfloat16
    assert torch.equal(found, plain) == (name == "euler")
    # bfloat16 has 8 bits; a few layers lose a few of them
    assert (found - exact).abs().max() < 0.1 * exact.abs().max()
    for other in (copy.deepcopy(swapped), pickle.loads(pickle.dumps(swapped))):
        assert torch.equal(other(x), exact)
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.add_(torch.randn_like(parameter))
        assert torch.equal(swapped(x), exact)
        assert not torch.allclose(other(x), exact)
    swapped.load_state_dict(trained.state_dict())
    assert not torch.allclose(swapped(x), exact)
    assert torch.equal(swapped(x), swap(trained)(x))
    model.load_state_dict(unswap(swapped).state_dict())
    assert torch.equal(model(x), trained(x))


# ------------------------------------------------------------------------------- what transformers adds of its own


def test_generation(transformers):
    torch.manual_seed(0)
    model, tokens = gpt2(transformers), TOKENS.clamp(2)  # 0 is taken for padding
    plain, found = model.generate(tokens, use_cache=True, **swap_zoos.GREEDY), set()
    padded = torch.cat([torch.zeros_like(tokens[:, :3]), tokens], 1)
    for name in ("euler", "lm", "ab2", "heun"):
        swapped = swap_scheme(model, name, example={"input_ids": tokens}, coefficients=k_of(name))
        expected = plain if name == "euler" else swap_zoos.greedy(model, name, tokens)
        found.add(tuple(expected.flatten().tolist()))
        assert torch.equal(swapped.generate(tokens, use_cache=False, **swap_zoos.GREEDY), expected)
        if name == "heun":
            with pytest.raises(FieldError, match=r"got a DynamicCache.*use_cache=False"):
                swapped.generate(tokens, use_cache=True, **swap_zoos.GREEDY)
            continue
        assert torch.equal(swapped.generate(tokens, use_cache=True, **swap_zoos.GREEDY), expected)
        assert torch.equal(swapped.generate(padded, use_cache=True, **swap_zoos.GREEDY)[:, 3:], expected)
    assert len(found) == 4  # the schemes are told apart by their tokens


@pytest.mark.parametrize("name", ["euler", "lm", "heun"])
@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing_of_transformers(transformers, name, reentrant):
    torch.manual_seed(0)
    swapped = swap_scheme(Logits(gpt2(transformers)).double(), name, example=TOKENS, coefficients=k_of(name)).train()
    torch.manual_seed(1)
    expected = gradients(swapped, TOKENS)
    swapped.model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    torch.manual_seed(1)
    found = swapped(TOKENS).square().sum()
    if name == "lm" and reentrant:
        with pytest.raises(FieldError, match="no reentrant activation checkpointing"):
            found.backward()
        return
    found.backward()
    assert_same([p.grad for p in swapped.parameters()], expected)


@pytest.mark.parametrize("name", ["euler", "lm", "heun"])
def test_attentions_are_one_a_block(transformers, name):
    """Those at the states, with their gradient."""
    torch.manual_seed(0)
    model, example = gpt2(transformers, attn_implementation="eager").double(), {**UNCACHED, "output_attentions": True}
    swapped = swap_scheme(model, name, example=example, coefficients=k_of(name))
    found, expected = swapped(**example).attentions, model(**example).attentions
    assert len(found) == len(expected)
    torch.testing.assert_close(found[0], expected[0])
    assert torch.autograd.grad(found[1].square().sum(), swapped.transformer.wte.weight)[0].any()


# ---------------------------------------------------------------------------------------- what timm adds of its own


def test_features_of_timm(timm):
    torch.manual_seed(0)
    model = vit(timm)
    euler, lm = (swap_scheme(model, name, example=IMAGES, coefficients=k_of(name)) for name in ("euler", "lm"))
    assert torch.equal(euler.forward_features(IMAGES), model.forward_features(IMAGES))
    found, expected = (m.forward_intermediates(IMAGES, indices=3, norm=True) for m in (euler, model))
    assert all(map(torch.equal, [found[0], *found[1]], [expected[0], *expected[1]]))
    final, states = lm.forward_intermediates(IMAGES, output_fmt="NLC")
    for i, state in enumerate(states):
        torch.testing.assert_close(state, steps(model, "lm", number=2 * i + 2)[:, 1:], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(final, lm.forward_features(IMAGES))


@pytest.mark.parametrize("name", ["euler", "heun", "lm"])
@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing_of_timm(timm, name, reentrant, monkeypatch):
    torch.manual_seed(0)
    swapped = swap_scheme(vit(timm).double(), name, example=IMAGES.double()).train()
    x = IMAGES.double().requires_grad_()
    expected = gradients(swapped, x)
    swapped.set_grad_checkpointing(True)
    monkeypatch.setattr("timm.models._manipulate.use_reentrant_ckpt", lambda: reentrant)
    if name == "lm" and reentrant:
        with pytest.raises(FieldError, match="no reentrant activation checkpointing"):
            swapped(x).square().sum().backward()
        return
    swapped(x).square().sum().backward()
    assert_same([p.grad for p in swapped.parameters()], expected)


def test_random_depth(timm):
    torch.manual_seed(0)
    model, x, found = vit(timm, drop_path_rate=0.3).train(), torch.cat([IMAGES] * 4), []
    for one in (model, *(swap_scheme(model, name, example=x) for name in ("euler", "heun"))):
        torch.manual_seed(1)
        found.append(one(x))
    assert torch.equal(found[0], found[1])
    torch.manual_seed(1)
    torch.testing.assert_close(found[2], swap_zoos.heun_at_random_depth(model, x), rtol=1e-4, atol=1e-5)
