"""Learned coefficients over layers, epochs and seeds, and the depth that they make of a network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import sympy
import torch

from odenets.analysis.linear.generating_polynomials import effective_step
from odenets.analysis.linear.zero_stability import zero_stable_range
from odenets.net.networks_in_model import networks

from ..config import RunConfig
from ..network import build_model, scheme_of
from ..result import Result
from .cells import by_network

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Learned:
    """One learned coefficient in all seeds of one network. Where a value was not finite there is NaN.

    Attributes:
        config: of one of the runs.
        symbol: of the coefficient, such as k.
        stages, layers: (L,) of each layer that has it, both from 0, layers over all stages.
        values: (seeds, L) after the last epoch; per channel their mean.
        low, high: (seeds, L) the smallest and the largest channel.
        epochs: (seeds, epochs, L) after each epoch; None where a result does not tell, as those of early versions.
    """

    config: RunConfig
    symbol: str
    stages: tuple[int, ...]
    layers: tuple[int, ...]
    values: Numbers
    low: Numbers
    high: Numbers
    epochs: Numbers | None

    @property
    def mean(self) -> Numbers:
        """(L,) over seeds."""
        return self.values.mean(axis=0)

    def of_stage(self, stage: int) -> list[int]:
        """Places of the layers of a stage."""
        return [place for place, own in enumerate(self.stages) if own == stage]


def learned(results: Iterable[Result]) -> list[Learned]:
    """By depth, label and symbol; nothing for networks without learned coefficients."""
    found = []
    for runs in by_network(results):
        records = runs[0].values["learned_coefficients"]
        for symbol in sorted({record["symbol"] for record in records}):
            found.append(_learned(runs, symbol))
    return found


def _learned(runs: Sequence[Result], symbol: str) -> Learned:
    first = runs[0].values["learned_coefficients"]
    own = [place for place, record in enumerate(first) if record["symbol"] == symbol]
    final = [[run.values["learned_coefficients"][place]["value"] for place in own] for run in runs]
    low, middle, high = (
        np.array([[function(_channels(value)) for value in row] for row in final])
        for function in (np.min, np.mean, np.max)
    )
    epochs = None
    if all("coefficients" in record for run in runs for record in run.values["epochs"]):
        told = [[record["coefficients"] for record in run.values["epochs"]] for run in runs]
        epochs = np.array([[[_channels(row[place]).mean() for place in own] for row in run] for run in told])
    stages, layers = (tuple(first[place][name] for place in own) for name in ("stage", "layer"))
    return Learned(runs[0].config, symbol, stages, layers, middle, low, high, epochs)


def _channels(value: Any) -> Numbers:
    """The values of a coefficient, one for all channels or one each; null in JSON is NaN."""
    return np.array(value, dtype=np.float64, ndmin=1)


def stable_ends(config: RunConfig) -> tuple[float, ...]:
    """The finite ends of the values for which the scheme is zero-stable: -1 and 1 for lm; none of several symbols."""
    scheme = scheme_of(config)
    if len(scheme.symbols) != 1:
        return ()
    stable = zero_stable_range(scheme)
    return tuple(float(end) for end in (stable.inf, stable.sup) if end.is_finite)


@dataclass(frozen=True, eq=False)
class EffectiveDepth:
    """The time that a network with learned coefficients advances u' = f by: the sum of h σ(1)/ρ'(1) over its steps.

    Of lm that is h/(1 + k_n). Steps without a learned coefficient (the first of a stage) count h.

    Attributes:
        config: of one of the runs.
        plain: the sum of h.
        final: (seeds,) after the last epoch.
        epochs: (seeds, epochs); None where a result does not tell.
    """

    config: RunConfig
    plain: float
    final: Numbers
    epochs: Numbers | None


def effective_depths(results: Iterable[Result]) -> list[EffectiveDepth]:
    """By depth and label, of networks with learned coefficients."""
    found = []
    for runs in by_network(results):
        if runs[0].values["learned_coefficients"]:
            over = [_over_epochs(run) for run in runs]
            epochs = None if any(one is None for one in over) else np.array(over)
            found.append(EffectiveDepth(runs[0].config, sum(step_sizes(runs[0].config)), _final(runs), epochs))
    return found


def _final(runs: Iterable[Result]) -> Numbers:
    return np.array([_sum(run, [record["value"] for record in run.values["learned_coefficients"]]) for run in runs])


def _over_epochs(run: Result) -> list[float] | None:
    rows = [record.get("coefficients") for record in run.values["epochs"]]
    return None if any(row is None for row in rows) else [_sum(run, row) for row in rows]


def _sum(run: Result, values: Sequence[Any]) -> float:
    """The effective depth for values in the order of the result's learned coefficients."""
    sizes = step_sizes(run.config)
    symbols, advance = _advance(replace(run.config, seed=0))
    layers: dict[int, dict[str, Numbers]] = {}
    for record, value in zip(run.values["learned_coefficients"], values, strict=True):
        layers.setdefault(record["layer"], {})[record["symbol"]] = _channels(value)
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = [
            h * np.mean(advance(*(own[symbol] for symbol in symbols))) if (own := layers.get(layer)) else h
            for layer, h in enumerate(sizes)
        ]
    return float(np.sum(steps))


@cache
def _advance(config: RunConfig) -> tuple[list[str], Any]:
    """The names of a scheme's coefficients, and effective step over h as a function of them."""
    scheme = scheme_of(config)
    symbols = list(scheme.symbols)
    return [str(symbol) for symbol in symbols], sympy.lambdify(symbols, effective_step(scheme), "numpy")


def step_sizes(config: RunConfig) -> tuple[float, ...]:
    """The h of every step of a network, over all its stages."""
    return _step_sizes(replace(config, seed=0))


@cache
def _step_sizes(config: RunConfig) -> tuple[float, ...]:
    """It is built for that, without memory."""
    with torch.device("meta"):
        model = build_model(config)
    return tuple(net.h for net in networks(model) for _ in range(net.steps))
