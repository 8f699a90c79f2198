"""The record of one layer: its spectrum, and what its scheme makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from odenets import ODENet, Scheme

from .alternatives import alternatives
from .amplification import does_not_grow, of_decided, points_of
from .conditioning import discs_of, reach, undecided
from .flow import relative_step
from .jacobian import Jacobian
from .layer_products import largest_of_sequence, sequence_of
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
from .modified_terms import leading_term
from .records import BlockDiagnosis, LayerSequence
from .residual_function import ResidualFunction, piecewise_linear
from .spectrum import largest_factor, spectrum
from .spectrum_record import Options, Spectrum
from .step_matrix import StepMatrices, normal_norm
from .step_operator import step_operator


@dataclass(frozen=True)
class Setup:
    """What is the same for all layers."""

    options: Options
    schemes: Sequence[Scheme]
    modified: bool


def block_of(
    setup: Setup,
    place: BlockDiagnosis,
    net: ODENet,
    n: int,
    *,
    residual: ResidualFunction,
    u: Tensor,
    jacobians: Sequence[Jacobian],
) -> BlockDiagnosis:
    """The record of one function of layer n at the states u."""
    learned = coefficients(net, n)
    free = reduced(net.program_of(n).scheme)
    scheme = substituted(free, learned)
    values = channels(net, n, u[:1])
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
    setup: Setup,
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
    amplified = of_decided(scheme, points, margin, rough)
    factor = max(1.0, 1.0 if np.isnan(amplified.maximum) else amplified.maximum)
    return replace(
        record,
        spectrum=found,
        amplification=amplified,
        amplification_range=corner_range(free, record.coefficients, points, margin),
        alternatives=alternatives(schemes, scheme, record.coefficients, decided, margin),
        sequence_maximum=None
        if once is None
        else largest_of_sequence(once, decided[does_not_grow(scheme, decided, margin)]),
        channel_maximum=channel_maximum,
        step_norm=step_norm,
        normal_norm=None if step_norm is None else normal_norm(ends, points),
        normal_powers=1.0 if free.carried == 1 or not len(decided) else normal_norm(ends, decided, layers, factor),
        pseudospectrum=reach(scheme, discs, rough) if rough.any() else None,
    )
