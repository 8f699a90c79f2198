"""What tests of swapped models run and compare: networks with their inputs, outputs, gradients."""

import torch
from swap_networks import Deep, Position, ResNetV1, Statement, Transformer, randomise, smooth_network

from odenets.net.learnable_coefficients import is_added

IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))
TOKENS = torch.randn(2, 5, 2, generator=torch.Generator().manual_seed(2))
POINTS = torch.randn(4, 3, generator=torch.Generator().manual_seed(3))
MASK = torch.full((5, 5), -torch.inf).triu(1)


def networks():
    torch.manual_seed(0)
    return {
        "resnet": (randomise(ResNetV1()), (IMAGES,)),
        "transformer": (Transformer(), (TOKENS, MASK)),
        "statement": (smooth_network(4, dtype=torch.float32, block=Statement), (POINTS,)),
        "deep": (smooth_network(4, dtype=torch.float32, block=Deep), (POINTS,)),
        "position": (smooth_network(4, dtype=torch.float32, block=Position), (POINTS,)),
    }


def output(model, args):
    found = model(*args)
    return found[0] if isinstance(found, tuple) else found


def placed(model):
    """The learned coefficients."""
    found = [p for key, p in model.named_parameters() if is_added(key)]
    assert found
    return found


def gradients(model, args):
    model.zero_grad()
    # Not the sum of squares, which after a LayerNorm is the same for every state.
    output(model, args).sin().sum().backward()
    return [p.grad.clone() for p in model.parameters()]


def compare(found, expected, swapped, model):
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    names = [name for name, _ in model.named_parameters()]
    own = dict(swapped.named_parameters())
    coefficients = [p for name, p in own.items() if name not in names]  # which the loop is given, too
    a, b = (
        torch.autograd.grad(y.sin().sum(), [*parameters, *coefficients], allow_unused=True)
        for y, parameters in ((found, [own[name] for name in names]), (expected, list(model.parameters())))
    )
    for one, other in zip(a, b, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
