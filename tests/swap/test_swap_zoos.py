"""swap_scheme on the models of torchvision, timm and transformers; skipped where a package is not installed.

The loops of the schemes are typed here, over the blocks' own submodules.
"""

import copy
from contextlib import suppress

import pytest
import torch
from torch.nn import functional as F

from odenets import FieldError, swap_report, swap_scheme, unswap
from odenets.benchmarks.common.zoos import torchvision as import_torchvision
from odenets.net.learnable_coefficients import is_added

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
IMAGE = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
TOKENS = torch.randint(0, 50, (2, 7), generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="module")
def vision():
    try:
        return import_torchvision().models
    except ImportError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def timm(vision):
    return pytest.importorskip("timm")


@pytest.fixture(scope="module")
def transformers():
    with suppress(ImportError):
        import_torchvision()  # transformers asks for it, and takes it for there where it cannot be imported
    package = pytest.importorskip("transformers")
    package.logging.set_verbosity_error()
    return package


def randomise(model):
    """Statistics and scales as if it had been trained: LayerScale, last norms and heads start at 0 or 1e-6."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5, generator=generator)
            elif name.endswith("running_mean") or (tensor.is_floating_point() and tensor.dim() == 1):
                tensor.add_(torch.empty_like(tensor).normal_(0, 0.1, generator=generator))
            elif tensor.is_floating_point() and not tensor.any():
                tensor.normal_(0, 0.1, generator=generator)
    return model.eval()


def run(model, example):
    found = model(**example) if isinstance(example, dict) else model(example)
    if isinstance(found, torch.Tensor):
        return found
    return found["logits"] if "logits" in found else found["last_hidden_state"]


def assert_euler_is_the_original(model, example, blocks):
    randomise(model)
    swapped = swap_scheme(model, "euler", example=example)
    report = swap_report(swapped)
    assert sum(len(chain.blocks) for chain in report.chains) == blocks, str(report)
    assert torch.equal(run(swapped, example), run(model, example))
    with torch.no_grad():  # where torch takes its fast path for attention, but not under a mode such as ours
        torch.testing.assert_close(run(swapped, example), run(model, example), rtol=1e-4, atol=1e-4)
    assert list(swapped.state_dict()) == list(model.state_dict())
    changed = swap_scheme(model, "heun", example=example)
    assert not torch.allclose(run(changed, example), run(model, example), rtol=1e-3)
    assert torch.equal(run(unswap(changed), example), run(model, example))
    return report


# ---------------------------------------------------------------------------------------------- torchvision


@pytest.mark.parametrize(("name", "blocks"), [("resnet18", 5), ("resnet34", 13), ("resnet50", 12)])
def test_torchvision_resnets(vision, name, blocks):
    report = assert_euler_is_the_original(getattr(vision, name)(), IMAGE, blocks)
    assert {len(chain.activation) for chain in report.chains} == {1}
    assert all("changes the shape" in reason for _, reason in report.left)


def test_torchvision_vit(vision):
    model = vision.vit_b_16(image_size=32, num_classes=10)
    report = assert_euler_is_the_original(model, IMAGE[:, :, :32, :32], 12)
    assert [chain.sums for chain in report.chains] == [(2,) * 12]


def basic(block):
    """The branch of torchvision's BasicBlock, from He et al. (2016), figure 2."""
    return lambda x: block.bn2(block.conv2(F.relu(block.bn1(block.conv1(x)))))


def loop(name, fs, u, k, after=F.relu):
    """Steps u+ = after(...) of a scheme; the first one, where it needs a history, is after(u + f(u))."""
    before, slope, v = None, None, torch.zeros_like(u)
    for f in fs:
        old, f_old, slope = u, slope, f(u)
        if name == "momentum":  # Sander et al. (2021), gamma = 9/10
            v = 0.9 * v + 0.1 * slope
            u = u + v
        elif name == "heun":
            u = u + (slope + f(u + slope)) / 2
        elif name == "lm" and before is not None:  # Lu et al. (2018)
            u = (1 - k) * u + k * before + slope
        elif name == "ab2" and f_old is not None:
            u = u + 1.5 * slope - 0.5 * f_old
        else:
            u = u + slope
        u, before = after(u), old
    return u


@pytest.mark.parametrize("name", ["lm", "ab2", "heun", "momentum"])
def test_resnet34_equals_a_loop_by_hand(vision, name):
    torch.manual_seed(0)
    model = randomise(vision.resnet34()).double()
    x = IMAGE.double()
    swapped = swap_scheme(model, name, example=x, coefficients=0.3 if name == "lm" else None)
    u = model.maxpool(F.relu(model.bn1(model.conv1(x))))
    u = loop(name, map(basic, model.layer1), u, 0.3)
    for stage in (model.layer2, model.layer3, model.layer4):
        u = loop(name, list(map(basic, stage))[1:], stage[0](u), 0.3)
    expected = model.fc(u.mean((2, 3)))
    found = swapped(x)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    own = [p for key, p in swapped.named_parameters() if not is_added(key)]
    both = torch.autograd.grad(found.sum(), own), torch.autograd.grad(expected.sum(), list(model.parameters()))
    for a, b in zip(*both, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-9 * float(b.abs().max()))


def test_resnet18_trains(vision):
    torch.manual_seed(0)
    model, labels = vision.resnet18(num_classes=10), torch.tensor([3, 7])
    for name in ("lm", "heun"):
        swapped = swap_scheme(model, name, example=IMAGE).train()
        optimizer, losses = torch.optim.SGD(swapped.parameters(), lr=0.01), []
        for _ in range(4):
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = F.cross_entropy(swapped(IMAGE), labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < losses[0]
        assert all(p.grad is not None for p in swapped.parameters())


def test_resnet18_compiles(vision):
    torch._dynamo.reset()
    model = swap_scheme(randomise(vision.resnet18()), "lm", example=IMAGE)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(IMAGE), copy.deepcopy(model)(IMAGE))
    torch._dynamo.reset()


# ---------------------------------------------------------------------------------------------------- timm

TIMM = [("resnet26", 4), ("regnetx_002", 9), ("convnext_atto", 12), ("resnetv2_50", 12), ("efficientnet_b0", 9)]


@pytest.mark.parametrize(("name", "blocks"), TIMM)
def test_timm(timm, name, blocks):
    assert_euler_is_the_original(timm.create_model(name, num_classes=10), IMAGE, blocks)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "deit3_small_patch16_224"])
def test_timm_transformers(timm, name):
    model = timm.create_model(name, num_classes=10, img_size=32, depth=4, drop_path_rate=0.1)
    report = assert_euler_is_the_original(model, IMAGE[:, :, :32, :32], 4)
    assert [chain.sums for chain in report.chains] == [(2,) * 4]


# --------------------------------------------------------------------------------------------- transformers

SMALL = {"num_hidden_layers": 3, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4}


def gpt2(transformers):
    config = transformers.GPT2Config(
        n_layer=3, n_embd=32, n_head=4, vocab_size=50, n_positions=32, bos_token_id=0, eos_token_id=1
    )
    return transformers.GPT2LMHeadModel(config).eval()


def llama(transformers):
    config = transformers.LlamaConfig(**SMALL, num_key_value_heads=2, vocab_size=50)
    return transformers.LlamaForCausalLM(config).eval()


def test_transformers(transformers):
    torch.manual_seed(0)
    resnet = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[2, 3], layer_type="basic")
    vit = transformers.ViTConfig(**SMALL, image_size=32, patch_size=8)
    cases = [
        (transformers.ResNetForImageClassification(resnet), {"pixel_values": IMAGE}, [2, 2]),
        (transformers.ViTForImageClassification(vit), {"pixel_values": IMAGE[:, :, :32, :32]}, [3]),
        (gpt2(transformers), {"input_ids": TOKENS, "use_cache": False}, [3]),
        (llama(transformers), {"input_ids": TOKENS, "use_cache": False}, [3]),
    ]
    for model, example, chains in cases:
        report = assert_euler_is_the_original(model, example, sum(chains))
        assert [len(chain.blocks) for chain in report.chains] == chains


def test_bert_is_refused_with_the_reason(transformers):
    model = transformers.BertModel(transformers.BertConfig(**SMALL, vocab_size=50))
    with pytest.raises(FieldError, match=r"parameters follow its sum.*LayerNorm.*post-LN"):
        swap_scheme(model, "euler", example={"input_ids": TOKENS})


def gpt2_branches(block, heads):
    """Attention and MLP of GPT-2 (Radford et al. 2019), from the block's weights."""

    def attention(x):
        y = block.ln_1(x) @ block.attn.c_attn.weight + block.attn.c_attn.bias
        q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in y.chunk(3, -1))
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        future = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        z = (scores.masked_fill(future, -torch.inf).softmax(-1) @ v).transpose(1, 2).flatten(2)
        return z @ block.attn.c_proj.weight + block.attn.c_proj.bias

    def mlp(x):
        y = block.ln_2(x) @ block.mlp.c_fc.weight + block.mlp.c_fc.bias
        return F.gelu(y, approximate="tanh") @ block.mlp.c_proj.weight + block.mlp.c_proj.bias

    return attention, mlp


@pytest.mark.parametrize("name", ["lm", "ab2", "heun", "momentum"])
def test_gpt2_equals_a_loop_by_hand(transformers, name):
    torch.manual_seed(0)
    model = randomise(gpt2(transformers)).double()
    example = {"input_ids": TOKENS, "use_cache": False}
    swapped = swap_scheme(model, name, example=example, coefficients=0.3 if name == "lm" else None)
    body = model.transformer
    u = body.wte(TOKENS) + body.wpe(torch.arange(TOKENS.shape[1]))
    fs = [f for block in body.h for f in gpt2_branches(block, 4)]
    u = loop(name, fs, u, 0.3, after=lambda u: u)
    expected = model.lm_head(body.ln_f(u))
    torch.testing.assert_close(swapped(**example).logits, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("make", [gpt2, llama])
def test_generation_with_a_cache_is_that_without_or_refused(transformers, make):
    torch.manual_seed(0)
    model = make(transformers)
    options = {"max_new_tokens": 6, "do_sample": False, "output_logits": True, "return_dict_in_generate": True}
    options |= {"pad_token_id": 0, "eos_token_id": None}
    for name in ("euler", "lm", "ab2", "momentum"):
        swapped = swap_scheme(model, name, example={"input_ids": TOKENS}, coefficients=0.3 if name == "lm" else None)
        cached, plain = (swapped.generate(TOKENS, use_cache=use, **options) for use in (True, False))
        assert torch.equal(cached.sequences, plain.sequences)
        for a, b in zip(cached.logits, plain.logits, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    heun = swap_scheme(model, "heun", example={"input_ids": TOKENS})
    with pytest.raises(FieldError, match=r"got a DynamicCache.*use_cache=False"):
        heun.generate(TOKENS, use_cache=True, **options)
    assert heun.generate(TOKENS, use_cache=False, **options).sequences.shape == (2, 13)


def test_gpt2_trains_and_compiles(transformers):
    torch.manual_seed(0)
    model = gpt2(transformers)
    for name in ("lm", "heun"):
        swapped = swap_scheme(model, name, example={"input_ids": TOKENS}).train()
        optimizer, losses = torch.optim.SGD(swapped.parameters(), lr=0.2), []
        for _ in range(5):
            optimizer.zero_grad()
            loss = swapped(input_ids=TOKENS, labels=TOKENS, use_cache=False).loss
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < losses[0]
    torch._dynamo.reset()
    swapped = swap_scheme(model, "heun", example={"input_ids": TOKENS}).eval()
    compiled = torch.compile(
        lambda ids: swapped(input_ids=ids, use_cache=False).logits, fullgraph=True, backend="aot_eager"
    )
    torch.testing.assert_close(compiled(TOKENS), swapped(input_ids=TOKENS, use_cache=False).logits)
    torch._dynamo.reset()


def test_hidden_states_are_collected(transformers):
    model = gpt2(transformers)
    example = {"input_ids": TOKENS, "use_cache": False, "output_hidden_states": True}
    found = swap_scheme(model, "euler", example=example)(**example).hidden_states
    for a, b in zip(found, model(**example).hidden_states, strict=True):
        assert torch.equal(a, b)
