"""Heun's method and AB2 on models of many families, against loops typed by hand over the modules of their blocks.

The loop stands in the place of a run of blocks in a copy of the model, which is otherwise run as it is.
"""

import copy

import pytest
import test_swap_zoos as zoos
import torch
from swap_zoos import larger
from test_swap_zoos import TOKENS, loop, randomise
from torch import nn
from torch.nn import functional as F

from odenets import swap_scheme

pytestmark = zoos.pytestmark
vision, timm, transformers = zoos.vision, zoos.timm, zoos.transformers  # fixtures, which skip
IMAGES = torch.randn(2, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


class ByHand(nn.Module):
    """Blocks in a row; ``branches(block, what else it is given)`` are the functions that it adds."""

    def __init__(self, name, blocks, branches, after):
        super().__init__()
        self.name, self.blocks, self.branches, self.after = name, nn.ModuleList(blocks), branches, after

    def forward(self, x, *args, **kwargs):
        fs = [f for block in self.blocks for f in self.branches(block, kwargs)]
        return loop(self.name, fs, x, None, self.after)


def in_place_of(model, name, path, branches, *, residual, after):
    """Runs of residual blocks in a container become one module each, in the place of the first."""
    container = model.get_submodule(path)
    runs, before = [], False
    for block in container:
        now = residual(block)
        if now and before:
            runs[-1].append(block)
        else:
            runs.append([block])
        before = now
    own = [ByHand(name, run, branches, after) if residual(run[0]) else run[0] for run in runs]
    parent, _, last = path.rpartition(".")
    rows = nn.ModuleList(own) if isinstance(container, nn.ModuleList) else nn.Sequential(*own)
    setattr(model.get_submodule(parent), last, rows)


# ------------------------------------------------------------------------------------- branches of images' blocks


def attention_and_mlp(block, _):
    return lambda x: block.attn(block.norm1(x)), lambda x: block.mlp(block.norm2(x))


def mixer(block, _):
    return (
        lambda x: block.mlp_tokens(block.norm1(x).transpose(1, 2)).transpose(1, 2),
        lambda x: block.mlp_channels(block.norm2(x)),
    )


def resmlp(block, _):
    return (
        lambda x: block.ls1 * block.linear_tokens(block.norm1(x).transpose(1, 2)).transpose(1, 2),
        lambda x: block.ls2 * block.mlp_channels(block.norm2(x)),
    )


def gmlp(block, _):
    return (lambda x: block.mlp_channels(block.norm(x)),)


def convnext(block, _):
    return (lambda x: block.gamma[:, None, None] * block.mlp(block.norm(block.conv_dw(x))),)


def encoder(block, _):
    def attention(x):
        y = block.ln_1(x)
        return block.self_attention(y, y, y, need_weights=False)[0]

    return attention, lambda x: block.mlp(block.ln_2(x))


def resnetv2(block, _):
    return (lambda x: block.conv3(block.norm3(block.conv2(block.norm2(block.conv1(block.norm1(x)))))),)


# ------------------------------------------------------------------------------------ branches of layers for text


def llama(layer, given):
    return (
        lambda x: layer.self_attn(hidden_states=layer.input_layernorm(x), **given)[0],
        lambda x: layer.mlp(layer.post_attention_layernorm(x)),
    )


def neox(layer, given):
    """Both of the same state: one step."""

    def both(x):
        attention = layer.attention(layer.input_layernorm(x), **given)[0]
        return layer.mlp(layer.post_attention_layernorm(x)) + attention

    return (both,)


def phi(layer, given):
    def both(x):
        y = layer.input_layernorm(x)
        return layer.self_attn(hidden_states=y, **given)[0] + layer.mlp(y)

    return (both,)


def opt(layer, given):
    return (
        lambda x: layer.self_attn(hidden_states=layer.self_attn_layer_norm(x), **given)[0],
        lambda x: layer.fc2(layer.activation_fn(layer.fc1(layer.final_layer_norm(x)))),
    )


SMALL = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2}
SMALL |= {"intermediate_size": 24, "max_position_embeddings": 32, "num_key_value_heads": 2, "pad_token_id": 0}
TEXT = {
    "llama": (llama, "layers", {}),
    "mistral": (llama, "layers", {}),
    "qwen2": (llama, "layers", {}),
    "stablelm": (llama, "layers", {}),
    "starcoder2": (llama, "layers", {}),
    "gpt_neox": (neox, "layers", {}),
    "phi": (phi, "layers", {}),
    "opt": (opt, "decoder.layers", {"ffn_dim": 24, "word_embed_proj_dim": 16}),
}


def vit(timm, **options):
    small = {"img_size": 32, "patch_size": 16, "embed_dim": 16, "num_classes": 5}
    return timm.models.vision_transformer.VisionTransformer(**small, num_heads=2, depth=3, **options)


def mlp_mixer(timm, block, **options):
    of = timm.models.mlp_mixer
    return of.MlpMixer(5, 32, 3, 16, 3, 16, block_layer=getattr(of, block), **options)


def resmlp_of(timm):
    return mlp_mixer(timm, "ResBlock", mlp_ratio=2, norm_layer=timm.models.mlp_mixer.Affine)


def gmlp_of(timm):
    return mlp_mixer(timm, "SpatialGatingBlock", mlp_ratio=2, mlp_layer=timm.layers.GatedMlp)


def res_connect(block):
    return getattr(block, "use_res_connect", False)


#: name -> package, model of it, paths of its rows of blocks, branches, which blocks have a sum, what follows it
IMAGE = {
    "vit": ("timm", vit, ["blocks"], attention_and_mlp, None, None),
    "mixer": ("timm", lambda timm: mlp_mixer(timm, "MixerBlock"), ["blocks"], mixer, None, None),
    "resmlp": ("timm", resmlp_of, ["blocks"], resmlp, None, None),
    "gmlp": ("timm", gmlp_of, ["blocks"], gmlp, None, None),
    "convnext": (
        "timm",
        lambda timm: timm.create_model("convnext_atto", num_classes=5),
        [f"stages.{i}.blocks" for i in range(4)],
        convnext,
        None,
        None,
    ),
    "resnetv2": (
        "timm",
        lambda timm: timm.models.resnetv2.ResNetV2([2, 3], [128, 256], 5, stem_chs=32),
        ["stages.0.blocks", "stages.1.blocks"],
        resnetv2,
        lambda block: block.downsample is None,
        None,
    ),
    "encoder": (
        "vision",
        lambda vision: vision.VisionTransformer(32, 16, 3, 2, 16, 24, num_classes=5),
        ["encoder.layers"],
        encoder,
        None,
        None,
    ),
    "mobilenet": (
        "vision",
        lambda vision: vision.mobilenet_v2(num_classes=5, width_mult=0.25),
        ["features"],
        lambda block, _: (block.conv,),
        res_connect,
        None,
    ),
    "efficientnet": (
        "vision",
        lambda vision: vision.efficientnet_b0(num_classes=5, stochastic_depth_prob=0.0),
        [f"features.{i}" for i in range(2, 7)],
        lambda block, _: (block.block,),
        res_connect,
        None,
    ),
    "regnet": (
        "vision",
        lambda vision: vision.regnet_x_400mf(num_classes=5),
        [f"trunk_output.block{i}" for i in range(1, 5)],
        lambda block, _: (block.f,),
        lambda block: block.proj is None,
        F.relu,
    ),
}


def compare(model, name, x, call, places):
    """Values to 1e-12, gradients to 1e-9, both relative to the largest."""
    swapped, by_hand = swap_scheme(model, name, example=x), copy.deepcopy(model)
    own = list(by_hand.parameters())
    for path, branches, residual, after in places:
        by = {"residual": residual or (lambda _: True), "after": after or (lambda u: u)}
        in_place_of(by_hand, name, path, branches, **by)
    found, expected = call(swapped, x), call(by_hand, x)
    assert not torch.allclose(found, call(model, x), rtol=1e-7, atol=0)  # the scheme shows
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12 * float(expected.detach().abs().max()))
    pairs = [(found, list(swapped.parameters())), (expected, own)]
    both = (torch.autograd.grad(y.sin().sum(), parameters, allow_unused=True) for y, parameters in pairs)
    for a, b in zip(*both, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, rtol=0, atol=1e-9 * max(float(b.abs().max()), 1e-3))


@pytest.mark.parametrize("name", ["heun", "ab2"])
@pytest.mark.parametrize("family", IMAGE)
def test_models_of_images(request, family, name):
    torch.manual_seed(0)
    package, make, paths, branches, residual, after = IMAGE[family]
    model = randomise(make(request.getfixturevalue(package))).double()
    compare(model, name, IMAGES, lambda m, x: m(x), [(path, branches, residual, after) for path in paths])


@pytest.mark.parametrize("name", ["heun", "ab2"])
@pytest.mark.parametrize("family", TEXT)
def test_models_of_text(transformers, family, name):
    torch.manual_seed(0)
    branches, path, more = TEXT[family]
    model = transformers.AutoModel.from_config(transformers.AutoConfig.for_model(family, **SMALL, **more))
    model = randomise(model).double()
    larger(model, 10.0)
    example = {"input_ids": TOKENS, "use_cache": False}
    compare(model, name, example, lambda m, x: m(**x).last_hidden_state, [(path, branches, None, None)])
