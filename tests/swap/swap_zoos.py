"""Small models of torchvision, timm and transformers, and the branches of their blocks typed by hand."""

import numpy as np
import test_swap_zoos as zoos
import torch
from scipy.optimize import linear_sum_assignment
from test_swap_zoos import TOKENS, gpt2_branches, loop, randomise
from torch import nn

vision, timm, transformers = zoos.vision, zoos.timm, zoos.transformers  # fixtures, which skip
IMAGES = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(5))
GREEDY = {"max_new_tokens": 5, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}


def resnet(vision):
    return randomise(vision.resnet18(num_classes=5))


def encoder(vision, **options):
    small = {"image_size": 16, "patch_size": 8, "num_layers": 3, "num_heads": 2, "hidden_dim": 8, "mlp_dim": 16}
    return randomise(vision.VisionTransformer(**small, num_classes=5, **options))


def larger(blocks, factor):
    """The libraries draw weights of 0.02, with which the branches are next to nothing at a width of 8."""
    with torch.no_grad():
        for parameter in blocks.parameters():
            if parameter.dim() > 1:
                parameter.mul_(factor)


def vit(timm, factor=10.0, **options):
    small = {"img_size": 16, "patch_size": 8, "embed_dim": 8, "depth": 3, "num_heads": 2, "num_classes": 5}
    model = randomise(timm.models.vision_transformer.VisionTransformer(**small, **options))
    larger(model.blocks, factor)
    return model


def gpt2(transformers, factor=20.0, **options):
    small = {"n_layer": 3, "n_embd": 8, "n_head": 2, "n_positions": 32}
    config = transformers.GPT2Config(**small, vocab_size=50, bos_token_id=0, eos_token_id=1, **options)
    model = randomise(transformers.GPT2LMHeadModel(config))
    larger(model, factor)
    return model


class Logits(nn.Module):
    """A language model as a function of one tensor."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, tokens):
        return self.model(input_ids=tokens, use_cache=False).logits


def vit_branches(block):
    """Both branches of a pre-norm block (Dosovitskiy et al. 2021, equations 2 and 3)."""
    return lambda x: block.attn(block.norm1(x)), lambda x: block.mlp(block.norm2(x))


def before_blocks(model, x=None):
    """The state that the first block of a ViT of timm, or of GPT-2, is given."""
    if hasattr(model, "transformer"):
        x = TOKENS if x is None else x
        return model.transformer.wte(x) + model.transformer.wpe(torch.arange(x.shape[1]))
    x = IMAGES.to(model.pos_embed.dtype) if x is None else x
    return torch.cat([model.cls_token.expand(len(x), -1, -1), model.patch_embed(x)], 1) + model.pos_embed


def branches(model):
    """Those of every block of a ViT of timm, or of GPT-2, in order."""
    if hasattr(model, "transformer"):
        return [f for block in model.transformer.h for f in gpt2_branches(block, 2)]
    return [f for block in model.blocks for f in vit_branches(block)]


def steps(model, name, x=None, number=None):
    """The state after so many steps, or all, with k_n = 0.3 for LM."""
    return loop(name, branches(model)[:number], before_blocks(model, x), 0.3, after=lambda u: u)


def gradients(model, x):
    return torch.autograd.grad(model(x).square().sum(), list(model.parameters()))


def assert_same(found, expected, tolerance=1e-8):
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=tolerance * max(float(b.abs().max()), 1e-6))


def k_of(name):
    return 0.3 if name == "lm" else None


def assert_spectrum(block, f, states):
    """That of a diagnosis is the eigenvalues of the Jacobians at the states, in any order."""
    values = []
    for u in states.detach():
        matrix = torch.func.jacrev(lambda flat, u=u: f(flat.view_as(u)[None]).flatten())(u.flatten())
        values.append(np.linalg.eigvals(matrix.detach().numpy()))
    found, expected = np.array(block.spectrum.eigenvalues), np.concatenate(values)
    assert found.shape == expected.shape
    assert np.abs(expected).max() > 1e-2
    distance = np.abs(found[:, None] - expected)
    # Attention has many eigenvalues 0 in Jordan blocks of 2, which are as exact as a root of rounding.
    assert distance[linear_sum_assignment(distance)].max() < 1e-6 * np.abs(expected).max()


def greedy(model, name, tokens):
    """Tokens one by one, each the likeliest under a loop typed by hand."""
    for _ in range(GREEDY["max_new_tokens"]):
        u = model.transformer.ln_f(steps(model, name, tokens))
        tokens = torch.cat([tokens, model.lm_head(u)[:, -1:].argmax(-1)], 1)
    return tokens


def heun_at_random_depth(model, x):
    """A ViT of timm in training, whole branches left out by sample (Huang et al. 2016), the same at both stages."""
    u, dropped = before_blocks(model, x), 0
    for block in model.blocks:
        keep = 1.0 if isinstance(block.drop_path1, nn.Identity) else 1 - block.drop_path1.drop_prob
        for f in vit_branches(block):
            mask = torch.ones(len(x), 1, 1) if keep == 1 else torch.empty(len(x), 1, 1).bernoulli_(keep) / keep
            dropped += int((mask == 0).sum())
            slope = mask * f(u)
            u = u + (slope + mask * f(u + slope)) / 2
    assert dropped
    return model.head(model.norm(u)[:, 0])
