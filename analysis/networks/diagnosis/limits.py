"""Where the analysis does not hold, or holds less than it seems."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from odenets import TimeField
from odenets.fields.random_fields import RandomLayers
from odenets.swap.chain import Chain

from .layer_lists import layers, layers_of
from .records import BlockDiagnosis, StageDiagnosis
from .states import Visited
from .suggestion import far_from_normal

#: Residuals up to this leave three digits of an eigenvalue that is not very sensitive.
RESIDUAL = 1e-6
#: Relative errors of a difference quotient that rounding and switching ReLUs explain.
QUOTIENT = {"float64": 1e-3, "float32": 5e-2}
BENDS = (nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.ReLU6, nn.RReLU, nn.Hardtanh, nn.Hardswish, nn.MaxPool2d)


def activations(visited: Sequence[Visited]) -> list[str]:
    """Names of what follows the sums of swapped blocks."""
    chains = [one.net for one in visited if isinstance(one.net, Chain)]
    return list(dict.fromkeys(name for chain in chains for one in chain.sums for name in one.activations))


def limits(
    model: nn.Module,
    visited: Sequence[Visited],
    blocks: Sequence[BlockDiagnosis],
    stages: Sequence[StageDiagnosis],
    settings: dict[str, Any],
) -> list[str]:
    """The warnings of a diagnosis, one sentence each."""
    trusted = QUOTIENT[settings["dtype"]]
    schemes = _of_schemes(visited, blocks, stages, settings["samples"])
    return [
        *_of_quick(settings),
        *_of_fields(model, visited, blocks),
        *_of_spectra(blocks, trusted, settings["quick"]),
        *schemes,
    ]


def _of_quick(settings: dict[str, Any]) -> Iterator[str]:
    if settings["quick"]:
        yield (
            "Quick: of large states the largest |zeta| of each layer's step was searched for, which says whether the "
            "network grows, and the largest Re lambda, which says whether its equation does. Where both do, a step may "
            "amplify besides what its equation damps: that was not looked for. Other schemes, the modified equation "
            "and the product of the steps were not computed."
        )


def _of_fields(model: nn.Module, visited: Sequence[Visited], blocks: Sequence[BlockDiagnosis]) -> Iterator[str]:
    inner = [module for one in visited for module in one.net.field.modules()]
    bent = [b for b in blocks if b.piecewise_linear]
    if bent or any(isinstance(module, BENDS) for module in inner):
        where = f" in {layers_of(bent)}" if bent else ""
        yield (
            f"f has kinks (ReLU){where}: f' exists almost everywhere, f'' does not. Of the modified equation only "
            "the terms f'f, f'f'f, ... mean something, and the eigenvalues hold until a unit switches."
        )
    if any(isinstance(module, _BatchNorm) and module.running_mean is not None for module in inner):
        yield "BatchNorm: analysed with its running statistics; in training the batch couples the samples."
    if model.training:
        yield "The model is in training mode; a copy in evaluation mode was analysed."
    if any(module._forward_hooks or module._backward_hooks for module in model.modules()):
        yield "Hooks: the copy that was analysed runs without the model's forward and backward hooks."
    if any(isinstance(module, _DropoutNd) and module.p > 0 for module in inner):
        yield "Dropout: analysed without it, as in evaluation."
    if any(isinstance(one.net.field, RandomLayers) for one in visited):
        yield "The field is random in training (stochastic depth, shake-shake, noise): its mean was analysed."
    if any(isinstance(one.net.field, TimeField) for one in visited):
        yield "f depends on time: each spectrum is that of f(t_n, .), the time held fixed."
    elif sum(one.net.steps for one in visited) > 1:
        yield (
            "Every layer has its own f: the theory of u' = f(u) holds layer by layer, and |zeta| of several layers "
            "must not be multiplied. What they do together is the product of their steps."
        )
    dtypes = {p.dtype for p in model.parameters() if p.is_floating_point()} - {torch.float64}
    if dtypes:
        names = ", ".join(sorted(str(d).removeprefix("torch.") for d in dtypes))
        yield f"The model's parameters are {names}: its own runs round more than the numbers here show."


def _of_spectra(blocks: Sequence[BlockDiagnosis], trusted: float, quick: bool) -> Iterator[str]:
    found = [(b, b.spectrum) for b in blocks if b.spectrum is not None]
    if partial := [b for b, s in found if not s.complete]:
        yield (
            f"{layers_of(partial, start=True)}: only eigenvalues at the {'right end' if quick else 'ends'} of the "
            "spectrum, and those a step multiplies most, were computed. Shares are of these, not of all. Others lie "
            f"{'left of' if quick else 'between'} them: the largest |zeta| {_found(partial)}. No eigenvalue is beyond "
            "the log norm and ||J||."
        )
    if far := far_from_normal(blocks):
        pairs = [(b.spectrum.norm, b.spectrum.radius) for b in far if b.spectrum]
        most = max(norm / radius if radius else math.inf for norm, radius in pairs)
        unknown = any(b.step_norm is None for b in far)
        note = "; ||step|| was not computed, since J was not made" if unknown else " and ||step||"
        yield (
            f"{layers_of(far, start=True)}: J is far from normal, ||J|| up to {most:.3g} times the largest |lambda|. "
            f"A step may grow at once by more than |zeta| says (transient growth); see the log norm{note}."
        )
    if off := [(b, b.quotient_error) for b in blocks if b.quotient_error is not None and b.quotient_error > trusted]:
        yield (
            f"{layers_of([b for b, _ in off], start=True)}: J v differs from a difference quotient of f by "
            f"{max(error for _, error in off):.2g} of its size: the layer detaches, rounds or jumps, or a state sits "
            "on a kink. J then is not the derivative of what the layer does."
        )
    if none := [b for b in blocks if b.kind != "transition" and b.spectrum is None]:
        yield f"{layers_of(none, start=True)}: no eigenvalue converged; raise dense_limit, if memory allows."
    if lost := [b for b, s in found if s.missing]:
        count = sum(b.spectrum.missing for b in lost if b.spectrum)
        yield f"{layers_of(lost, start=True)}: {count} values did not converge and are left out."
    if rough := [b for b, s in found if s.residual > RESIDUAL]:
        worst = max(b.spectrum.residual for b in rough if b.spectrum)
        yield f"{layers_of(rough, start=True)}: residuals of eigenvalues reach {worst:.0e} of ||J||."


def _found(blocks: Sequence[BlockDiagnosis]) -> str:
    """What the search for the largest |zeta| came to."""
    if missed := [b for b in blocks if b.spectrum is not None and b.spectrum.factor is None]:
        return f"is a lower bound in {layers_of(missed)}, where the search for it did not converge"
    return "was searched for, and found; below growth of the equation smaller ones may be unstable all the same"


def _of_schemes(
    visited: Sequence[Visited], blocks: Sequence[BlockDiagnosis], stages: Sequence[StageDiagnosis], samples: int
) -> Iterator[str]:
    if changing := [b for b in blocks if b.kind == "transition"]:
        yield f"{layers_of(changing, start=True)} change the shape of the state: no square Jacobian, not analysed."
    if ranged := [b for b in blocks if b.amplification_range is not None]:
        yield (
            f"{layers_of(ranged, start=True)}: coefficients per channel make matrices of the scheme's numbers; "
            "analysed at their means. The range of max |zeta| over the ends of theirs does not bound the layer: J "
            "mixes the channels."
        )
    if shifted := [b for b in blocks if b.scheme is not None and not b.scheme.series.preconsistent]:
        yield (
            f"{layers_of(shifted, start=True)}: the step does not keep u' = 0. The flow that growth is compared with "
            "is that of u' = f + (V - 1) u / h, in-ResNet's u' = f - lam u / h."
        )
    if several := [b for b in blocks if b.function is not None]:
        yield (
            f"{layers_of(several, start=True)}: several functions stand for one f. Each is analysed at u_n as "
            "if it were the only one; together they have no common spectrum."
        )
    if after := activations(visited):
        yield (
            f"Swapped blocks have an activation after their sum ({', '.join(after)}), which is no part of f: all "
            "|zeta| and eigenvalues are those of the step before it. The step taken is its derivative times that; "
            "relu, whose norm is at most 1, can turn growth into decay."
        )
    if any(one.net.scheme.linear_only for one in visited):
        yield "The scheme approximates u' = f for linear f only (PolyNet)."
    if flat := [s for s in stages if s.given is not None and s.given > samples]:
        most = max(s.given or 0 for s in flat)
        yield (
            f"Stages {layers(s.stage for s in flat)}: the model has up to {most} states in its run for {samples} "
            f"samples; the first {samples} were analysed."
        )
    if again := [s.stage for s in stages if s.calls > 1]:
        yield f"Stages {layers(again)}: run several times by the model; the first time was analysed."
