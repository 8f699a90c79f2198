"""From a model and a batch to a Diagnosis: each layer of each ODENet in turn."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from odenets import FieldError, Scheme, as_scheme
from odenets.integrate.progress import Reached, progress_bar
from odenets.scheme.given_numbers import integer

from .diagnosis import Diagnosis
from .findings import conclude
from .flow import flow_of
from .jacobian import Jacobian
from .layer_products import parasitic_growth
from .layer_record import Setup, block_of
from .layer_scheme import channels
from .limits import activations, limits
from .records import BlockDiagnosis, StageDiagnosis
from .residual_function import check_separate, residual_functions
from .spectrum_record import Options
from .stage_products import Layer, stage_product
from .states import Visited, check_device, undisturbed, visit
from .step_matrix import known_by_jacobian

SCHEMES: tuple[str, ...] = ("euler", "heun", "rk4", "ssprk33", "ab2", "lm", "leapfrog", "backward_euler")


def diagnose(
    model: nn.Module,
    x: Tensor,
    *,
    samples: int = 2,
    values: int = 6,
    dense_limit: int = 512,
    schemes: Scheme | str | Sequence[Scheme | str] = SCHEMES,
    dtype: torch.dtype | None = torch.float64,
    modified: bool = True,
    seed: int = 0,
    progress: bool = False,
    quick: bool = False,
) -> Diagnosis:
    """The layers of a trained network as steps of its scheme: spectra, stability, k_n, modified equation.

    A copy of the model runs on x in evaluation mode; the model itself is not touched. For every
    layer n of every ODENet, at the states u_n that the samples reach,

    - the eigenvalues lambda of J_n = df_n/du: all of them up to ``dense_limit`` dimensions, else
      those at the ends of the spectrum, by ARPACK on products J v (two backward passes);
    - for what is beyond them, every lambda has Re lambda <= the largest eigenvalue of
      (J + J^T)/2 and |lambda| <= ||J||_2;
    - |zeta| over z = h lambda under the layer's scheme with its own k_n, the share with |zeta| > 1,
      split by whether the exact flow over the effective step grows as well (Re(h_eff lambda) > 0), and
      the same for ``schemes``, at steps of that length;
    - where J is dense ||M(hJ)||_2, by how much one step may multiply a disturbance;
    - the effective step, h/(1 + k) for lm; the parasitic root, -k for lm, and its growth over the stage;
    - ||h^m f_m|| / ||f_0||, the leading term of the modified equation beside that of h^0, f/(1 + k) for lm.

    A partitioned scheme (RevNet, Verlet) is linearised as the block system x' = f(y), y' = g(x); a
    TimeField at t_n. Layers that change the shape have no square Jacobian and no spectrum.

    Args:
        model: an ODENet, :func:`odenets.models.cifar_resnet`, or any module with ODENets in it that takes x
            alone; wrap one of several inputs in a module that holds the others. Its forward and backward
            hooks are not run.
        x: a batch for it; dimension 0 counts the samples.
        samples: the first so many of the batch are analysed, each by itself.
        values: eigenvalues at each end of the spectrum of each sample, where it is not dense.
        dense_limit: largest dimension N of the state for which the whole matrix is made. Memory is then 6 to
            18 times 8 N^2 bytes, more with a history.
        schemes: what to compare with; one with a symbol takes the layer's own value of it, and is
            left out where the layer has none. A partitioned one is left out where the layer is not.
        dtype: of the copy; float64, since J's eigenvalues are sensitive to rounding. None: the model's.
        modified: whether to compute the modified term.
        seed: of ARPACK's start vector; no other random number is drawn, and torch's are kept.
        progress: show a bar, layer by layer, each as long as its states are large (needs tqdm).
        quick: search for the two numbers that decide alone: the largest |zeta| of each layer's step, by which the
            network grows, and the largest Re lambda, by which its equation does, with the bounds and condition
            numbers that tell how sure they are. The other ends of the spectrum, other schemes, the modified term and
            the product of the steps are not computed, and nothing is said of them.

    Raises:
        FieldError: no ODENet, an input or an option that does not fit, a model that does not run on x, a layer
            that couples samples, is random in evaluation or cannot be differentiated.
        SchemeError: an unknown scheme among ``schemes``.
    """
    _check_input(x, dtype)
    samples, values, dense_limit = (
        integer(value, name, low, FieldError)
        for name, value, low in (("samples", samples, 1), ("values", values, 2), ("dense_limit", dense_limit, 0))
    )
    others = [as_scheme(scheme) for scheme in ([schemes] if isinstance(schemes, (Scheme, str)) else schemes)]
    with undisturbed(x):
        visited = visit(model, x[:samples], dtype)
        # The accuracy asked of ARPACK: a residual, of which an eigenvalue that is sensitive loses some digits.
        precision = next((u.dtype for one in visited for u in one.states), dtype or torch.float64)
        tolerance = torch.finfo(precision).eps ** 0.6
        options = Options(dense_limit, values, tolerance, seed, quick)
        setup = Setup(options, () if quick else others, modified and not quick)
        blocks: list[BlockDiagnosis] = []
        stages: list[StageDiagnosis] = []
        whole = sum(u.numel() for one in visited for u in one.states)
        with progress_bar(whole) if progress else nullcontext(_untold) as reached:
            for stage, one in enumerate(visited):
                before = sum(earlier.net.steps for earlier in visited[:stage])
                found, summary = _stage(setup, stage, before, one, reached)
                blocks += found
                stages.append(summary)
    settings: dict[str, Any] = {"samples": len(x[:samples]), "values": values, "dense_limit": dense_limit}
    settings |= {"seed": seed, "dtype": str(precision).removeprefix("torch."), "tolerance": tolerance, "quick": quick}
    findings, suggestion = conclude(blocks, stages, tolerance, activations(visited))
    warnings = limits(model, visited, blocks, stages, settings)
    return Diagnosis(tuple(blocks), tuple(stages), tuple(findings), suggestion, tuple(warnings), settings)


def _check_input(x: Any, dtype: torch.dtype | None) -> None:
    if not isinstance(x, Tensor) or x.dim() < 1 or not len(x):
        got = f"a tensor of shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise FieldError(f"diagnose: got {got} for x, expected a batch of at least one sample")
    if x.layout != torch.strided or x.is_meta:
        got = "on the meta device" if x.is_meta else f"of layout {x.layout}"
        raise FieldError(f"diagnose: got a tensor {got} for x, expected a dense one with values; use x.to_dense()")
    check_device(x.device, dtype)


def _untold(what: str, further: float) -> None:
    """Nobody wants to know how far it is."""


def _stage(
    setup: Setup, stage: int, before: int, one: Visited, reached: Reached
) -> tuple[list[BlockDiagnosis], StageDiagnosis]:
    """The records of one ODENet, ``before`` layers into the model."""
    net = one.net
    found: list[BlockDiagnosis] = []
    layers: list[Layer] = []
    for n in range(net.steps):
        scheme = net.program_of(n).scheme
        kind = "transition" if n < one.first else "regular" if scheme == net.scheme else "starting"
        place = BlockDiagnosis(stage, before + n, None, kind, scheme.name, net.h)
        if n < one.first:
            found.append(place)
            continue
        u = one.states[n - one.first]
        for residual in residual_functions(net, n):
            check_separate(residual.function, u, place.label)
            jacobians = [Jacobian(residual.function, u[i : i + 1], place.label) for i in range(len(u))]
            found.append(block_of(setup, place, net, n, residual=residual, u=u, jacobians=jacobians))
            if residual.index is None and known_by_jacobian(scheme):
                values, own = channels(net, n, u[:1]), found[-1].scheme
                alike = own is not None and all(value.min() == value.max() for value in values.values())
                layers.append(Layer(scheme, values, jacobians, flow_of(own) if own is not None and alike else None))
        reached(place.label, u.numel())
    summary = _summary(stage, one)
    if layers and len(layers) == net.steps - one.first and not setup.options.quick:
        summary = replace(summary, product=stage_product(layers, net.h, before + one.first, _explained(found)))
    return found, summary


def _explained(blocks: Sequence[BlockDiagnosis]) -> float:
    """:attr:`StageProduct.explained` of the blocks of a stage."""
    known = [(b, b.amplification.maximum) for b in blocks if b.amplification is not None]
    factors = [max(1.0, b.channel_maximum or 1.0, 1.0 if np.isnan(most) else most) for b, most in known]
    with np.errstate(over="ignore"):
        return float(np.prod(factors)) * max((b.normal_powers for b in blocks), default=1.0)


def _summary(stage: int, one: Visited) -> StageDiagnosis:
    """The stage with the growth of its parasitic component."""
    net = one.net
    regular = next((n for n in range(one.first, net.steps) if net.program_of(n).scheme == net.scheme), net.steps)
    whole, peak = parasitic_growth(net, regular) or (None, None)
    return StageDiagnosis(stage, net.steps, whole, peak, one.calls, one.given)
