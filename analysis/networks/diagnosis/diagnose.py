"""From a model and a batch to a Diagnosis: each layer of each ODENet in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from odenets import FieldError, ODENet, Scheme, as_scheme
from odenets.scheme.given_numbers import integer

from ...linear.region import TOLERANCE
from .alternatives import alternatives
from .amplification import does_not_grow, of_decided, points_of
from .conditioning import discs_of, reach, undecided
from .diagnosis import Diagnosis
from .findings import conclude
from .flow import relative_step
from .jacobian import Jacobian
from .layer_products import largest_of_sequence, parasitic_growth, sequence_of
from .layer_scheme import (
    Channels,
    channels,
    coefficients,
    corner_range,
    corners,
    is_zero_stable,
    parasitic_roots,
    reduced,
    substituted,
)
from .limits import activations, limits
from .modified_terms import leading_term
from .records import BlockDiagnosis, LayerSequence, StageDiagnosis
from .residual_function import ResidualFunction, check_separate, piecewise_linear, residual_functions
from .spectrum import largest_factor, spectrum
from .spectrum_record import FAR, Options, Spectrum
from .states import Visited, check_device, undisturbed, visit
from .step_matrix import StepMatrices, normal_norm
from .step_operator import step_operator

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
) -> Diagnosis:
    """The layers of a trained network as steps of its scheme: spectra, stability, k_n, modified equation.

    A copy of the model runs on x in evaluation mode; the model itself is not touched. For every
    layer n of every ODENet, at the states u_n that the samples reach,

    - the eigenvalues lambda of J_n = df_n/du: all of them up to ``dense_limit`` dimensions, else
      those at the ends of the spectrum, by ARPACK on products J v (torch.func.jvp);
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
        setup = _Setup(Options(dense_limit, values, tolerance, seed), others, modified)
        blocks: list[BlockDiagnosis] = []
        stages: list[StageDiagnosis] = []
        for stage, one in enumerate(visited):
            found = _stage(setup, stage, sum(earlier.net.steps for earlier in visited[:stage]), one)
            blocks += found
            stages.append(_summary(stage, one))
    settings: dict[str, Any] = {"samples": len(x[:samples]), "values": values, "dense_limit": dense_limit}
    settings |= {"seed": seed, "dtype": str(precision).removeprefix("torch."), "tolerance": tolerance}
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


@dataclass(frozen=True)
class _Setup:
    """What is the same for all layers."""

    options: Options
    schemes: Sequence[Scheme]
    modified: bool


def _stage(setup: _Setup, stage: int, before: int, one: Visited) -> list[BlockDiagnosis]:
    """The records of one ODENet, ``before`` layers into the model."""
    net = one.net
    found = []
    for n in range(net.steps):
        scheme = net.program_of(n).scheme
        kind = "transition" if n < one.first else "regular" if scheme == net.scheme else "starting"
        place = BlockDiagnosis(stage, before + n, None, kind, scheme.name, net.h)
        if n < one.first:
            found.append(place)
        else:
            u = one.states[n - one.first]
            found += [_block(setup, place, net, n, residual=residual, u=u) for residual in residual_functions(net, n)]
    return found


def _block(
    setup: _Setup, place: BlockDiagnosis, net: ODENet, n: int, *, residual: ResidualFunction, u: Tensor
) -> BlockDiagnosis:
    """The record of one function of layer n at the states u."""
    check_separate(residual.function, u, place.label)
    learned = coefficients(net, n)
    free = reduced(net.program_of(n).scheme)
    scheme = substituted(free, learned)
    values = channels(net, n, u[:1])
    jacobians = [Jacobian(residual.function, u[i : i + 1], place.label) for i in range(len(u))]
    found = spectrum(jacobians, setup.options, lambda jacobian: step_operator(jacobian, scheme, net.h, {}))
    step = relative_step(scheme)
    record = replace(
        place,
        function=residual.index,
        dimension=u[0].numel(),
        coefficients=learned,
        effective_step=None if step is None else net.h * step,
        parasitic_roots=parasitic_roots(scheme),
        zero_stable=is_zero_stable(free, values),
        quotient_error=max(jacobian.quotient_error(setup.options.seed) for jacobian in jacobians),
        scheme=scheme,
        sequence=_sequence(net, n, place.kind),
    )
    if not found.eigenvalues:
        return record
    term, note = leading_term(free, learned, residual, u, net.h) if setup.modified else (None, "not asked for")
    bent = piecewise_linear(residual.function, u[:1])
    record = replace(record, modified=term, modified_note=note, piecewise_linear=bent)
    return _amplified(setup, record, found, jacobians, free=free, values=values, layers=net.steps)


def _sequence(net: ODENet, n: int, kind: str) -> LayerSequence | None:
    """What follows a starting step n, at the coefficients of the first regular layer; the scheme's own without any."""
    if kind != "starting":
        return None
    steps = [net.program_of(m).scheme for m in range(n, net.steps)]
    starts = [scheme for scheme in steps if scheme != net.scheme]
    after = coefficients(net, n + len(starts)) if len(starts) < len(steps) else ()
    return sequence_of(net, n, starts, substituted(net.scheme, after))


def _amplified(
    setup: _Setup,
    record: BlockDiagnosis,
    found: Spectrum,
    jacobians: Sequence[Jacobian],
    *,
    free: Scheme,
    values: Channels,
    layers: int,
) -> BlockDiagnosis:
    """The record with what follows from the spectrum."""
    scheme = substituted(free, record.coefficients)
    points, margin = points_of(found, record.h, setup.options.tolerance)
    discs = discs_of(found, points, record.h)
    rough = undecided(scheme, discs, margin)
    decided, once = points[~rough], record.sequence
    schemes = setup.schemes if len(decided) else ()
    steps = StepMatrices(jacobians, record.h, free=free, values=values)
    channel_maximum, step_norm = steps.radius, steps.norm
    if step_norm is None and steps.ranged:
        free_steps = [(j, step_operator(j, free, record.h, values)) for j in jacobians]
        radii = [largest_factor(j, step, setup.options) for j, step in free_steps]
        channel_maximum = None if None in radii else max(filter(None, radii))
    ends = corners(free, record.coefficients)
    normal = None if step_norm is None else normal_norm(ends, points)
    # Powers of the step can grow only where one step does.
    more = step_norm is not None and normal is not None and step_norm > max(normal, 1.0) + TOLERANCE
    powers = steps.powers(layers) if more or rough.any() or found.norm > FAR * found.radius else None
    return replace(
        record,
        spectrum=found,
        amplification=of_decided(scheme, points, margin, rough),
        amplification_range=corner_range(free, record.coefficients, points, margin),
        alternatives=alternatives(schemes, scheme, record.coefficients, decided, margin),
        sequence_maximum=None
        if once is None
        else largest_of_sequence(once, decided[does_not_grow(scheme, decided, margin)]),
        channel_maximum=channel_maximum,
        step_norm=step_norm,
        normal_norm=normal,
        power_norms=powers,
        normal_powers=None if powers is None else normal_norm(ends, points, layers),
        pseudospectrum=reach(scheme, discs, rough) if rough.any() else None,
    )


def _summary(stage: int, one: Visited) -> StageDiagnosis:
    """The stage with the growth of its parasitic component."""
    net = one.net
    regular = next((n for n in range(one.first, net.steps) if net.program_of(n).scheme == net.scheme), net.steps)
    whole, peak = parasitic_growth(net, regular) or (None, None)
    return StageDiagnosis(stage, net.steps, whole, peak, one.calls, one.given)
