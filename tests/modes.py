"""Networks in every gradient mode: which scheme has which mode, the same network twice, its gradients."""

import torch
from helpers import blocks_for, explicit_schemes, loss

from odenets import Checkpoint, ODENet, Reversible, mccallum_foster, schemes

#: a one-step scheme made reversible, beside those of the zoo
COUPLED = mccallum_foster(schemes["rk4"])
EXPLICIT = {name: schemes[name] for name in explicit_schemes()}
REVERSIBLE = {name: scheme for name, scheme in EXPLICIT.items() if scheme.reversible} | {COUPLED.name: COUPLED}
SCHEMES = EXPLICIT | REVERSIBLE
#: the one whose steps, undone, magnify rounding errors least
FIRST = min((name for name, s in REVERSIBLE.items() if not s.symbols), key=lambda name: SCHEMES[name].inverse[3].norm())


def kind(scheme):
    """What matters for how a scheme is carried back: what it carries, learns, visits and starts from."""
    return (
        scheme.reversible,
        scheme.starting_values,
        scheme.needs_slope,
        bool(scheme.symbols),
        scheme.components,
        len(scheme.modules) > scheme.components,
        max(scheme.modules),
    )


#: one scheme of each kind, the one of fewest stages
KINDS = {kind(scheme): name for name, scheme in sorted(SCHEMES.items(), key=lambda item: -len(item[1].modules))}
CASES = [(name, "direct") for name in SCHEMES] + [(name, "reversible") for name in REVERSIBLE]
EVERY_CASE = [*CASES, *((name, "checkpoint") for name in SCHEMES)]
#: each mode with one scheme of each kind
KIND_CASES = [(name, mode) for name, mode in EVERY_CASE if name in KINDS.values()]
RECOMPUTING = [(name, mode) for name, mode in KIND_CASES if mode != "direct"]
#: beside the names of the modes: few states, and a tolerance that makes for many anchors
OPTIONS = [Checkpoint(states=1), Checkpoint(states=2), Reversible(tolerance=1e-13)]


def layers_for(name, more=4):
    """Layers enough for the starting steps and ``more`` of the scheme's own."""
    return SCHEMES[name].starting_values + more


def make(name, mode="direct", layers=None, seed=0, h=0.5, **options):
    """Smooth float64 layers of width 6; the same network for every mode."""
    blocks = blocks_for(SCHEMES[name], layers or layers_for(name), seed=seed)
    return ODENet(blocks, SCHEMES[name], gradient=mode, h=h, **options)


def output_and_gradients(net, x, call=None, **options):
    """The output, and the gradients for x and the parameters."""
    x = x.detach().clone().requires_grad_()
    y = (net if call is None else call)(x)
    return y, *torch.autograd.grad(loss(y), [x, *net.parameters()], **options)


def assert_same(found, expected, tolerance=1e-12):
    """Equal up to rounding, relative to the size of each tensor."""
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        size = max(float(b.detach().abs().max()), 1.0) if b.numel() else 1.0
        torch.testing.assert_close(a, b, rtol=0, atol=tolerance * size)
