"""Which blocks swap_scheme finds in networks as people write them, and what it says about the others."""

import copy
import inspect
import warnings

import pytest
import torch
from swap_networks import (
    V1,
    V2,
    Deep,
    Outer,
    Position,
    PostLN,
    ResNetV1,
    Smooth,
    Statement,
    Transformer,
    smooth_network,
)
from torch import nn

import odenets
from odenets import FieldError, SchemeError, UnknownSchemeError, swap_report, swap_scheme, unswap
from odenets.analysis import diagnose

IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
TOKENS = torch.randn(2, 5, 2, generator=torch.Generator().manual_seed(2))
POINTS = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def blocks_of(model, example, scheme="euler", **options):
    report = swap_report(swap_scheme(model, scheme, example=example, **options))
    return [chain.blocks for chain in report.chains], [chain.sums for chain in report.chains], dict(report.left)


def test_a_resnet_is_chains_between_the_blocks_that_change_the_shape():
    chains, sums, left = blocks_of(ResNetV1(), IMAGES)
    assert chains == [("layer1.0", "layer1.1", "layer1.2"), ("layer2.1", "layer2.2", "layer2.3")]
    assert sums == [(1, 1, 1)] * 2
    assert list(left) == ["layer2.0"]
    assert "changes the shape, from (2, 4, 8, 8) to (2, 8, 4, 4)" in left["layer2.0"]


def test_attention_and_mlp_are_two_sums_of_one_block():
    chains, sums, left = blocks_of(Transformer(), TOKENS)
    assert (chains, sums, left) == ([("blocks.0", "blocks.1", "blocks.2")], [(2, 2, 2)], {})


@pytest.mark.parametrize("block", [Smooth, V2, Deep, Position, Statement])
def test_a_block_is_the_module_whose_input_is_added(block):
    chains, sums, left = blocks_of(smooth_network(3, block=block), POINTS)
    assert (chains, sums, left) == ([("1.0", "1.1", "1.2")], [(1, 1, 1)], {})


class Long(nn.Module):
    """A skip around many blocks, as in a UNet."""

    def __init__(self, width=6):
        super().__init__()
        self.inner = nn.Sequential(*[Smooth(width) for _ in range(3)])

    def forward(self, x):
        return x + self.inner(x)


def test_of_nested_sums_the_outer_one_is_taken_unless_it_goes_around_many():
    swapped = swap_scheme(smooth_network(2, block=Outer), "euler", example=POINTS)
    assert [chain.blocks for chain in swap_report(swapped).chains] == [("1.0", "1.1")]
    inner = [one for one in swap_report(swapped).sums if one.chain < 0]
    assert [one.module for one in inner] == [f"1.{i}.inner.{j}" for i in range(2) for j in range(2)]
    assert all("is part of what is added by 1." in one.reason for one in inner)
    chains, _, left = blocks_of(smooth_network(1, block=Long), POINTS)
    assert chains == [("1.0.inner.0", "1.0.inner.1", "1.0.inner.2")]
    assert left == {"1.0": "it goes around 3 sums, which are taken in its place"}


def test_a_model_that_is_one_block_itself():
    model = Smooth()
    swapped = swap_scheme(model, "euler", example=torch.randn(2, 6))
    x = torch.randn(3, 6)
    assert torch.equal(swapped(x), model(x))
    assert "the model" in str(swap_report(swapped))


def test_parameters_after_the_sum_are_refused():
    mixed = nn.Sequential(Smooth(), PostLN(), Smooth())
    chains, _, left = blocks_of(mixed, torch.randn(2, 6))
    assert chains == [("0",), ("2",)]
    assert "parameters follow its sum (1.norm.weight)" in left["1"]
    with pytest.raises(FieldError, match=r"without a residual block.*parameters follow its sum \(0\.norm\.weight\)"):
        swap_scheme(nn.Sequential(PostLN()), "euler", example=torch.randn(2, 6))


def test_an_error_names_each_reason_once():
    with pytest.raises(FieldError) as caught:
        swap_scheme(nn.Sequential(*[PostLN() for _ in range(4)]), "euler", example=torch.randn(2, 6))
    assert str(caught.value).count("parameters follow its sum") == 1


class Stages(nn.Module):
    """Pre-norm blocks, a token, more blocks from behind a norm, and a norm at last: nothing is post-LN."""

    def __init__(self, width=6):
        super().__init__()
        self.one, self.two = (nn.Sequential(*[Smooth(width) for _ in range(2)]) for _ in range(2))
        self.token, self.norm, self.last = nn.Parameter(torch.zeros(1, width)), nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x):
        x = torch.cat([self.token, self.one(x)])
        return self.last(self.two(self.norm(x)))


def test_norms_between_and_behind_blocks_are_no_post_norm():
    assert blocks_of(Stages(), torch.randn(2, 6)) == ([("one.0", "one.1"), ("two.0", "two.1")], [(1, 1)] * 2, {})


class Twice(nn.Module):
    """One block called twice; not two with a history."""

    def __init__(self):
        super().__init__()
        self.block, self.other = Smooth(), Smooth()

    def forward(self, x):
        return self.other(self.block(self.block(x)))


class Between(nn.Module):
    """Something between two blocks."""

    def __init__(self):
        super().__init__()
        self.one, self.two = Smooth(), Smooth()

    def forward(self, x):
        return self.two(2 * self.one(x))


class Written(nn.Module):
    """The input is written to before it is added: the block is relu(x) + f(relu(x))."""

    def __init__(self, width=6):
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x):
        x.relu_()
        return x + self.linear(x)


class Gelu(nn.Module):
    """x + c x^3 is added inside an activation, and is no block."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x):
        return 0.5 * self.linear(x) * (1 + torch.tanh(x + 0.044715 * x**3))


class Twofold(nn.Module):
    """f(x) + g(x), as of a shortcut with weights."""

    def __init__(self, width=6):
        super().__init__()
        self.f, self.g = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x):
        return self.f(x) + self.g(x)


class Parallel(nn.Module):
    """(x + f(x)) + g(x): the second branch is at x, not at the sum before it."""

    def __init__(self, width=6):
        super().__init__()
        self.f, self.g = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x):
        return x + self.f(x) + self.g(x)


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (Gelu(), "No such sum was seen"),
        (Twofold(), "neither of its operands is what the other is made of"),
        (nn.Sequential(nn.Linear(6, 6), nn.ReLU()), "No such sum was seen"),
    ],
)
def test_what_is_no_block(model, why):
    with pytest.raises(FieldError, match=why):
        swap_scheme(model, "euler", example=torch.randn(2, 6))


def test_any_tensor_may_be_the_state():
    torch.manual_seed(0)
    x = torch.randn(2, 6)
    for model, f in (
        (Written(), lambda u, m: m.linear(u)),
        (Parallel(), lambda u, m: m.f(u) + m.g(u)),
    ):
        u = torch.relu(x) if isinstance(model, Written) else x
        slope = f(u, model)
        expected = u + (slope + f(u + slope, model)) / 2
        torch.testing.assert_close(swap_scheme(model, "heun", example=x.clone())(x.clone()), expected)


def test_chains_end_where_something_comes_between():
    assert blocks_of(Between(), torch.randn(2, 6))[0] == [("one",), ("two",)]
    assert blocks_of(Twice(), torch.randn(2, 6))[:2] == ([("block", "other")], [(2, 1)])


class Alias(nn.Module):
    """What follows the sum goes on with another name of the tensor that it was written to."""

    def __init__(self, width=6):
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x):
        out = self.linear(x)
        same = out
        out += x
        return same


def test_a_sum_that_is_written_to_is_written_to():
    model = nn.Sequential(Alias(), Alias())
    x = torch.randn(3, 6)
    assert torch.equal(swap_scheme(model, "euler", example=x)(x), model(x))
    heun, f = swap_scheme(nn.Sequential(Alias()), "heun", example=x), model[0].linear
    heun[0].load_state_dict(model[0].state_dict())
    torch.testing.assert_close(heun(x), x + (f(x) + f(x + f(x))) / 2)


def test_post_activation_may_be_refused():
    with pytest.raises(FieldError, match=r"relu_? follows its sum, and post_activation='refuse'"):
        swap_scheme(ResNetV1(), "heun", example=IMAGES, post_activation="refuse")
    with pytest.raises(FieldError, match="got 'stages', expected one of project, refuse"):
        swap_scheme(ResNetV1(), "heun", example=IMAGES, post_activation="stages")


@pytest.mark.parametrize(
    ("scheme", "gradient", "error", "why"),
    [
        ("leapfrog", "reversible", FieldError, "got gradient=reversible for somebody else's model, expected 'direct'"),
        ("euler", "checkpoint", FieldError, r"torch\.utils\.checkpoint around its blocks"),
        ("euler", "adjoint", FieldError, "got gradient=adjoint"),
        ("backward_euler", None, SchemeError, "backward_euler, which is implicit.*expected an explicit scheme"),
    ],
)
def test_what_other_models_do_not_allow_is_refused_by_name(scheme, gradient, error, why):
    with pytest.raises(error, match=why):
        swap_scheme(ResNetV1(), scheme, example=IMAGES, gradient=gradient)


def test_the_report_is_a_text():
    text = str(swap_report(swap_scheme(ResNetV1(), "ab2", example=IMAGES)))
    lines, first = inspect.getsourcelines(V1.forward)
    line = first + next(i for i, text in enumerate(lines) if "out += identity" in text)
    assert text.splitlines() == [
        "ab2: 6 steps in 6 modules, 2 chains, 6 evaluations",
        "  chain 0: 3 steps, 1 of them to start, 3 evaluations; relu after each (project)",
        "    layer1.0, layer1.1, layer1.2",
        f"    made in swap_networks.py:{line}",
        "  chain 1: 3 steps, 1 of them to start, 3 evaluations; relu after each (project)",
        "    layer2.1, layer2.2, layer2.3",
        f"    made in swap_networks.py:{line}",
        "left alone:",
        f"  layer2.0 (swap_networks.py:{line}): it changes the shape, from (2, 4, 8, 8) to (2, 8, 4, 4)",
    ]


def test_the_probing_pass_leaves_no_trace():
    model = ResNetV1().train()
    model.layer1[0].norm.eval()
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    swapped = swap_scheme(model, "heun", example=IMAGES)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    own = dict(swapped.named_modules())
    assert all(own[name].training == module.training for name, module in model.named_modules())
    assert not any(m._forward_hooks or m._forward_pre_hooks or "forward" in m.__dict__ for m in model.modules())
    assert not swapped.layer1[0].norm.training


def test_in_place_and_back():
    model = ResNetV1().eval()
    expected, keys = model(IMAGES), list(model.state_dict())
    assert swap_scheme(model, "heun", example=IMAGES, inplace=True) is model
    assert not torch.equal(model(IMAGES), expected)
    back = unswap(model)
    assert list(back.state_dict()) == keys
    assert torch.equal(back(IMAGES), expected)
    assert unswap(model, inplace=True) is model
    assert torch.equal(model(IMAGES), expected)
    with pytest.raises(FieldError, match="not swapped"):
        unswap(model)


def test_a_swapped_model_is_swapped_again():
    model = ResNetV1().eval()
    euler = swap_scheme(model, "euler", example=IMAGES)
    with pytest.raises(FieldError, match=r"got no example.*also where the model is swapped already"):
        swap_scheme(euler, "lm", coefficients=0)
    again = swap_scheme(euler, "lm", example=IMAGES, coefficients=0)
    assert swap_report(again).scheme == "lm"
    torch.testing.assert_close(again(IMAGES), model(IMAGES), rtol=0, atol=1e-6)
    assert swap_report(euler).scheme == "euler"


@pytest.mark.parametrize(
    ("call", "error", "why"),
    [
        (lambda: swap_scheme(Smooth(), "euler"), FieldError, "got no example"),
        (lambda: swap_scheme(Smooth(), "nothing", example=torch.ones(1, 6)), UnknownSchemeError, "nothing"),
        (lambda: swap_scheme(torch.sin, "euler", example=torch.ones(1, 6)), FieldError, "expected an nn.Module"),
        (lambda: swap_scheme(Smooth(), "verlet", example=torch.ones(1, 6)), SchemeError, "2 functions a step"),
        (lambda: swap_scheme(Smooth(), "euler", example=torch.ones(1, 6), coefficients=1), FieldError, "coefficients"),
        (lambda: swap_scheme(Smooth(), "lm", example=torch.ones(1, 6), coefficients={"q": 1}), FieldError, r"\['k'\]"),
        (lambda: swap_scheme(Smooth(), "euler", example=torch.ones(1, 6), gradient="adjoint"), FieldError, "adjoint"),
        (lambda: swap_report(Smooth()), FieldError, "not swapped"),
    ],
)
def test_bad_arguments(call, error, why):
    with pytest.raises(error, match=why):
        call()


def test_shapes_other_than_the_examples_are_taken():
    model = ResNetV1().eval()
    swapped = swap_scheme(model, "euler", example=IMAGES)
    x = torch.randn(5, 3, 12, 10)
    assert torch.equal(swapped(x), model(x))


def test_functions_of_the_library_see_the_chains():
    swapped = swap_scheme(smooth_network(), "lm", example=POINTS)
    assert odenets.count_evaluations(swapped) == 5
    groups = odenets.parameter_groups(swapped, weight_decay=0.1)
    assert [len(group["params"]) for group in groups] == [14, 4]
    assert odenets.set_gradient(swapped, "direct") == 1
    with pytest.raises(FieldError, match="got gradient=reversible for somebody else's model"):
        odenets.set_gradient(swap_scheme(ResNetV1(), "leapfrog", example=IMAGES), "reversible")


class Vectors(nn.Module):
    """Adds one vector, then another."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(2, 2), nn.Linear(2, 2)
        with torch.no_grad():
            for linear, bias in ((self.one, [1.0, 0.0]), (self.two, [0.0, 1.0])):
                linear.weight.zero_()
                linear.bias.copy_(torch.tensor(bias))

    def forward(self, x):
        x = x + self.one(x)
        return x + self.two(x)


def test_schemes_with_a_parasitic_root_weigh_sums_against_each_other():
    model, x = nn.Sequential(*[Vectors() for _ in range(6)]), torch.zeros(1, 2)
    # u_{n+1} = u_{n-1} + 2 f_n from u_1 = f_0: u_2 = 2 f_1, u_12 = 2 (f_1 + f_3 + ... + f_11)
    swapped = swap_scheme(model, "leapfrog", example=x)
    torch.testing.assert_close(swapped(x)[0], torch.tensor([0.0, 12.0]))
    for block in diagnose(swapped, x, samples=1).blocks[1:]:
        assert block.parasitic_roots == pytest.approx([-1])


def test_the_report_tells_of_chains_of_starting_steps_alone():
    x = torch.zeros(1, 6)
    text = str(swap_report(swap_scheme(nn.Sequential(*[Smooth() for _ in range(3)]), "ab4", example=x)))
    assert "every step is a starting step" in text
    assert "every step" not in str(swap_report(swap_scheme(nn.Sequential(Smooth(), Smooth()), "lm", example=x)))


class Scales(nn.Module):
    """Adds something that has a vector as its only weight; after a sum that has a matrix, or alone."""

    def __init__(self, alone):
        super().__init__()
        self.scale, self.linear = nn.Parameter(torch.ones(6)), None if alone else nn.Linear(6, 6)

    def forward(self, x):
        x = x + self.scale * torch.tanh(x)
        return x if self.linear is None else x + self.linear(x)


def test_sums_without_matrices_are_told_or_taken():
    x = torch.zeros(1, 6)
    report = swap_report(swap_scheme(nn.Sequential(Smooth(), Scales(True), Smooth()), "euler", example=x))
    assert dict(report.left) == {"1": "what it adds has no weight of two dimensions or more"}
    report = swap_report(swap_scheme(nn.Sequential(Smooth(), Scales(False), Smooth()), "lm", example=x))
    assert [chain.sums for chain in report.chains] == [(1, 2, 1)]


class Timed(nn.Module):
    """A block of a UNet for diffusion: an embedding of the time is added inside its branch, and to every position."""

    def __init__(self, width=4):
        super().__init__()
        self.one, self.two = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.time = nn.Linear(5, width)

    def forward(self, x, time):
        h = self.one(torch.tanh(x)) + self.time(time)[:, :, None, None]
        return x + self.two(torch.tanh(h))


class Denoiser(nn.Module):
    """Blocks that are given a time, which its embedding makes of the image's mean."""

    def __init__(self):
        super().__init__()
        self.embed, self.blocks = nn.Linear(1, 5), nn.ModuleList(Timed() for _ in range(3))
        self.out = nn.Linear(5, 4)

    def forward(self, x):
        time = torch.tanh(self.embed(x.mean((1, 2, 3))[:, None]))
        for block in self.blocks:
            x = block(x, time)
        return x + self.out(time)[:, :, None, None]


def test_an_embedding_that_is_broadcast_to_a_state_is_told():
    report = swap_report(swap_scheme(Denoiser(), "heun", example=torch.randn(2, 4, 3, 3)))
    assert [chain.sums for chain in report.chains] == [(1, 1, 1)]
    reason = "it adds to a state (2, 4, 3, 3) what is broadcast to it, (2, 4, 1, 1), and not made of it"
    assert report.left == (("", reason),)
    (parts,) = [line for line in str(report).splitlines() if line.startswith("parts of what is added: ")]
    assert parts.count("test_swap_find.py:") == 1  # the line in the blocks, once


@pytest.mark.filterwarnings("always")
@pytest.mark.parametrize(("name", "words"), [("ab2", "one step each"), ("ab4", "at most 3 steps"), ("lm", None)])
def test_chains_of_starting_steps_alone_are_told_of_once(name, words):
    model = nn.Sequential(*[Smooth() for _ in range(3)])
    if name == "ab2":
        model = nn.Sequential(Smooth(), nn.Linear(6, 6), Smooth())
    with warnings.catch_warnings(record=True) as caught:
        swap_scheme(model, name, example=torch.zeros(1, 6))
    texts = [str(one.message) for one in caught]
    assert len(texts) == (words is not None)
    assert all(f"for chains of {words}" in text for text in texts)
