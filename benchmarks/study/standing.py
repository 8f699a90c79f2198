"""Where the runs of a folder stand, and what share of the work that is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from pathlib import Path

import torch

import odenets

from . import result, run_checkpoint, run_state
from .config import RunConfig
from .network import build_model

#: Holds why a run failed, in its folder, until it is begun again.
FAILURE = "failure.txt"


@dataclass(frozen=True)
class Standing:
    """Of one run: the share of its steps that is done, exactly, and in words."""

    share: Fraction
    text: str


def standing(config: RunConfig, out: Path) -> Standing:
    """Where a run stands, by its files.

    Raises:
        ResultError, CheckpointError: one of them is damaged.
    """
    directory = out / config.name
    if (directory / result.NAME).exists():
        error = result.read(directory / result.NAME).final_test_error
        return Standing(Fraction(1), f"done, test error {error:.2f} %")
    failure = directory / FAILURE
    try:
        share, text = _checkpointed(config, directory / run_checkpoint.NAME)
        if failure.exists():
            text = f"failed: {failure.read_text(encoding='utf-8').strip()}"
    except FileNotFoundError:
        return standing(config, out)  # another process has finished it, or begun it again, between two looks
    return Standing(share, text)


def _checkpointed(config: RunConfig, path: Path) -> tuple[Fraction, str]:
    if not path.exists():
        return Fraction(0), "waiting"
    content = run_checkpoint.read(path, config, run_state.content_of(config))
    per_epoch = len(content["losses"])
    share = Fraction(content["epoch"] * per_epoch + content["step"], config.epochs * per_epoch)
    return share, f"epoch {content['epoch']} of {config.epochs}"


@cache
def _evaluations(config: RunConfig) -> int:
    with torch.device("meta"):
        return odenets.count_evaluations(build_model(config))


def evaluations(configs: Iterable[RunConfig]) -> dict[RunConfig, int]:
    """Function evaluations a step of each run, from its network built without memory.

    It is the unit of all estimates (rk4 takes four times euler's time), and building every network
    first finds every depth and scheme that cannot be before anything is trained.

    Raises:
        FieldError, UnknownSchemeError, SchemeError, ConfigError: of the first network that cannot be.
    """
    return {config: _evaluations(replace(config, seed=0)) for config in configs}


def table(configs: Sequence[RunConfig], out: Path) -> str:
    """A line a run, and the share of the whole, in function evaluations."""
    costs = evaluations(configs)
    found = {config: standing(config, out) for config in configs}
    work = {config: costs[config] * config.epochs for config in configs}
    share = sum(work[config] * found[config].share for config in configs) / sum(work.values())
    done = sum(one.share == 1 for one in found.values())
    # A name does not tell what is done to the coefficients, but for its hash.
    names = [config.name + (f" {config.label}" if config.label != config.scheme else "") for config in configs]
    width = max(map(len, names))
    lines = [f"{name:{width}}  {found[config].text}" for name, config in zip(names, configs, strict=True)]
    return "\n".join([*lines, f"{done} of {len(configs)} runs done, {float(share):.1%} of the function evaluations"])
