"""result.json: what a finished run leaves, and how it is read back."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NoReturn

import odenets
from odenets import analysis

from ..common import machine
from ..common.errors import ConfigError, ResultError
from .config import RunConfig
from .distributed import processes
from .run_state import State

NAME = "result.json"
#: Of the layout of result.json; a reader of another number must refuse it.
FORMAT = 1
KINDS = {
    "parameters": int,
    "evaluations": int,
    "learned_coefficients": list,
    "versions": dict,
    "hardware": dict,
    "date": str,
    "command": str,
}
#: Of every epoch. An epoch may have "coefficients" besides: the values of ``learned_coefficients`` after it, in their
#: order; results written before it was recorded are of the same layout without it, hence of the same format.
EPOCH_FIELDS = ("epoch", "train_loss", "train_error", "test_error", "seconds")


@dataclass(frozen=True, eq=False)
class Result:
    """A result.json that was read and checked: its configuration, and all its values as they stand there."""

    config: RunConfig
    values: dict[str, Any]

    @property
    def final_test_error(self) -> float:
        """After the last epoch, in %."""
        return float(self.values["final_test_error"])


def summarise(config: RunConfig, state: State, command: str) -> dict[str, Any]:
    """The values of result.json for a finished run. Errors in %, times in seconds, losses in nats.

    The best test error is chosen by looking at the test set, so comparisons use the final one.
    """
    errors = [record["test_error"] for record in state.history]
    return {
        "format": FORMAT,
        "name": config.name,
        "config": config.to_dict(),
        "config_hash": config.hash,
        "milestones": list(config.milestones) if config.schedule == "steps" else [],
        "epochs": state.history,
        "final_test_error": errors[-1],
        "best_test_error": min(errors),
        "learned_coefficients": [record.as_dict() for record in analysis.learned_coefficients(state.tested)],
        "parameters": sum(parameter.numel() for parameter in state.tested.parameters()),
        "evaluations": odenets.count_evaluations(state.tested),
        "seconds": sum(record["seconds"] for record in state.history),
        "versions": machine.versions(),
        "hardware": machine.hardware(state.losses.device, processes()),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": command,
    }


def read(path: Path) -> Result:
    """The result in a file.

    Raises:
        ResultError: the file is damaged, incomplete, inconsistent or not a result of this benchmark.
    """
    try:
        values = json.loads(path.read_bytes(), parse_constant=_refuse)
        return Result(config=_check(values), values=values)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}" if isinstance(error, (LookupError, TypeError)) else str(error)
        raise ResultError(
            f"{path} is not a whole result of this benchmark ({reason}); delete it to train the run again"
        ) from error


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _check(values: dict[str, Any]) -> RunConfig:
    """The configuration of a result whose parts fit together; any other error type means they do not."""
    if values["format"] != FORMAT:
        raise ResultError(f"its format is {values['format']!r}, expected {FORMAT}")
    config = RunConfig.from_dict(values["config"])
    if values["config_hash"] != config.hash:
        raise ConfigError(f"its hash is {values['config_hash']!r}, its configuration has {config.hash!r}")
    numbers = [[_finite(record[name], name) for name in EPOCH_FIELDS] for record in values["epochs"]]
    if [row[0] for row in numbers] != list(range(1, config.epochs + 1)):
        raise ResultError(f"it has {len(numbers)} epochs, its configuration {config.epochs}")
    expected = {"final_test_error": numbers[-1][3], "best_test_error": min(row[3] for row in numbers)}
    for name, value in expected.items():
        if values[name] != value:
            raise ResultError(f"its {name} is {values[name]!r}, its epochs say {value!r}")
    if missing := set(KINDS) - set(values):
        raise ResultError(f"it lacks {sorted(missing)}")
    _finite(values["seconds"], "seconds")
    for name, kind in KINDS.items():
        if type(values[name]) is not kind or (kind is int and values[name] < 1):
            raise ResultError(f"its {name} is {values[name]!r}, expected {kind.__name__}")
    _check_coefficients(values["learned_coefficients"], values["epochs"])
    return config


def _check_coefficients(final: list[Any], epochs: list[dict[str, Any]]) -> None:
    """The final records are whole; epochs that tell of coefficients (those of older results do not) fit them."""
    wanted = {field.name for field in fields(analysis.LearnedCoefficient)}
    for record in final:
        if not isinstance(record, dict) or set(record) != wanted:
            raise ResultError(f"it has a learned coefficient {record!r}, expected {sorted(wanted)}")
    own = [record["value"] for record in final]
    told = [record["coefficients"] for record in epochs if "coefficients" in record]
    for row in told:
        if not isinstance(row, list) or len(row) != len(own):
            raise ResultError(f"it has an epoch with the coefficients {row!r}, expected a list of {len(own)}")
    if told and told[-1] != own:
        raise ResultError(f"its learned coefficients are {own!r}, its last epoch says {told[-1]!r}")


def _finite(value: Any, name: str) -> float:
    """The number itself; ResultError for text, a truth value or an infinity."""
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ResultError(f"its {name} is {value!r}, expected a finite number")
    return float(value)


def read_all(out: Path) -> list[Result]:
    """All results one level below ``out``, by data, depth, scheme and seed.

    Raises:
        ResultError: naming the first file that is no whole result, or ``out`` if there is none.
    """
    results = [read(path) for path in sorted(out.glob(f"*/{NAME}"))]
    if not results:
        raise ResultError(f"{out}: no finished run (*/{NAME}) in it; train first, or give the right --out")
    return sorted(results, key=lambda r: (r.config.recipe_name, r.config.depth, r.config.scheme, r.config.seed))
