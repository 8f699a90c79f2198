"""Other schemes on the spectrum of a layer, over the time that the layer advances its flow by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from odenets import Scheme, as_scheme
from odenets.passes.starting import can_start
from odenets.program import compile_scheme

from .amplification import amplification
from .flow import Flow, flow_of
from .jacobian import Array
from .records import Alternative, Coefficient


def alternatives(
    schemes: Sequence[Scheme | str], own: Scheme, coefficients: Sequence[Coefficient], points: Array, margin: float
) -> tuple[Alternative, ...]:
    """Each scheme on the flow of the layer; symbols take the layer's own values of that name.

    A step of the scheme covers what the layer does: with w the exponent of the layer's flow, h_eff lambda,
    it is applied at the z for which its own flow is exp(w). At the same h, lm at k = -1/2 would be
    compared with schemes that advance half as far. Left out are a scheme with a symbol that the layer
    has no value for, a partitioned scheme where the layer is not partitioned in the same way, and all
    where the layer follows no flow, or one backwards in time.
    """
    values = {c.symbol: c.mean for c in coefficients}
    flow = flow_of(own)
    found = []
    for scheme in map(as_scheme, schemes):
        names = [str(symbol) for symbol in scheme.symbols]
        fits = not scheme.several or scheme.functions == own.functions
        if flow is None or flow.step <= 0 or not fits or not set(names) <= set(values):
            continue
        entry = _alternative(scheme, {name: values[name] for name in names}, flow, points, margin)
        found += [] if entry is None else [entry]
    return tuple(found)


def _alternative(
    scheme: Scheme, values: Mapping[str, Any], flow: Flow, points: Array, margin: float
) -> Alternative | None:
    settled = scheme.substitute(values)
    its = flow_of(settled)
    if its is None or its.step == 0:
        return None
    at = points if its == flow else its.inverse(flow.exponent(points))
    near = margin * abs(flow.step / its.step)
    cost = compile_scheme(settled, 1.0).evaluations
    at_step = amplification(settled, at, near)
    at_cost = at_step if cost == 1 else amplification(settled, at, near, stride=cost)
    return Alternative(_label(scheme, values), cost, settled.explicit, at_step, at_cost, can_start(scheme))


def _label(scheme: Scheme, values: Mapping[str, Any]) -> str:
    shown = ", ".join(f"{name}={value:.3g}" for name, value in values.items())
    return f"{scheme.name}({shown})" if shown else scheme.name
