"""The numerical diagnosis of the finished runs of a study that have weights: ``odenets study diagnose``.

Each network is diagnosed at the first images of the test set (odenets.analysis.diagnose). A figure, the numbers as JSON
and a report as text are put into the run's folder, where the study's report links them.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from odenets import analysis

from ..common import files, machine
from ..common.errors import CheckpointError, ConfigError
from ..data.dataset import Dataset
from ..data.sources import load
from . import run_checkpoint
from .network import build_model
from .result import Result
from .runs import WEIGHTS

if TYPE_CHECKING:
    from odenets.analysis.networks.diagnosis import Diagnosis  # whose module loads scipy

#: Of the files in a run's folder, without their suffixes.
STEM = "diagnosis"
SUFFIXES = (".png", ".json", ".txt")
#: Options on which the numbers depend: a run that was diagnosed with the same ones is left alone.
SETTINGS = {
    "samples": (2, "test images, the first ones"),
    "values": (6, "eigenvalues at each end of a spectrum"),
    "dense_limit": (512, "largest dimension for the whole spectrum"),
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--data-dir", type=Path, default=Path("data"), help="folder of the data set; data")
    parser.add_argument("--run", action="append", metavar="NAME", help="a run, by its folder; all unless given")
    for name, (default, text) in SETTINGS.items():
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=int, default=default, metavar="N", help=f"{text}; {default}")


def chosen(results: Iterable[Result], out: Path, names: Sequence[str] | None) -> list[Result]:
    """The results that have weights beside them, of the names that are given.

    Raises:
        ConfigError: a name that is no finished run with weights, or no such run at all.
    """
    found = {run.config.name: run for run in results if (out / run.config.name / WEIGHTS).is_file()}
    if missing := [name for name in names or () if name not in found]:
        raise ConfigError(
            f"--run: got {missing[0]!r}, expected one of {', '.join(found) or 'none'}, the finished runs with {WEIGHTS}"
        )
    if not found:
        raise ConfigError(f"{out}: no finished run with {WEIGHTS} in it; run the study here, results alone have none")
    return [run for name, run in found.items() if not names or name in names]


def load_network(run: Result, directory: Path, data: Dataset) -> nn.Module:
    """The trained network of a finished run, in evaluation mode.

    Raises:
        CheckpointError: its weights are damaged or another network's.
    """
    path = directory / WEIGHTS
    model = build_model(run.config, data)
    try:
        model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except (*run_checkpoint.DAMAGE, TypeError, AttributeError) as error:
        reason = str(error).partition("\n")[0]
        raise CheckpointError(f"{path} does not hold this run's network ({reason}); train the run again") from error
    return model.eval()


def write(diagnosis: Diagnosis, stem: Path, title: str, facts: dict[str, Any]) -> None:
    """Figure, JSON and text, whose paths are the stem with a suffix. The JSON is the last: with it the others are."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    figure, numbers, text = (stem.with_name(stem.name + suffix) for suffix in SUFFIXES)
    analysis.plot.save(analysis.plot.diagnosis(diagnosis, title=title), figure)
    lines = [f"{key}: {value}" for key, value in facts.items()]
    files.write_atomic(text, "\n".join([*lines, "", diagnosis.text(), ""]).encode())
    files.write_json(numbers, {**facts, **diagnosis.as_dict()})


def diagnose_all(results: Sequence[Result], out: Path, options: argparse.Namespace, command: str) -> None:
    """Diagnoses what was not yet, and prints a line a run.

    Raises:
        CheckpointError: damaged weights. DataError: the data cannot be read.
    """
    settings = {name: getattr(options, name) for name in SETTINGS}
    data = cache(lambda name: load(name, options.data_dir))
    for run in chosen(results, out, options.run):
        name = run.config.name
        if _settings(out / name / f"{STEM}.json") == settings:
            print(f"{name}: is diagnosed", flush=True)
            continue
        seconds = diagnose_one(run, out / name, data, settings, command)
        print(f"{name}: {seconds:.1f} s, {out / name / STEM}{', '.join(SUFFIXES)}", flush=True)


def _settings(path: Path) -> Any:
    """What a diagnosis was made with; None where there is none, or one of another version."""
    try:
        return json.loads(path.read_bytes())["options"]
    except (OSError, ValueError, LookupError, TypeError):
        return None


def diagnose_one(
    run: Result, directory: Path, data: Callable[[str], Dataset], settings: dict[str, int], command: str
) -> float:
    """Diagnoses one run and writes what came out; returns the seconds that it took."""
    config = run.config
    loaded = data(config.data)
    model = load_network(run, directory, loaded)
    images, _ = next(loaded.test_batches(settings["samples"]))
    begun, processor = time.perf_counter(), time.process_time()
    found = analysis.diagnose(model, images, **settings)
    seconds = time.perf_counter() - begun
    facts = {
        "run": config.name,
        "command": command,
        "options": settings,
        "images": f"first {len(images)} of the test set",
        "seconds": round(seconds, 1),
        "processor_seconds": round(time.process_time() - processor, 1),
        "threads": torch.get_num_threads(),
        "versions": machine.versions(),
    }
    title = f"{config.label}, depth {config.depth}, {config.data}, {config.epochs} epochs, seed {config.seed}"
    write(found, directory / STEM, title, facts)
    return seconds


def diagnosed(results: Iterable[Result], out: Path) -> list[Result]:
    """Those whose diagnosis is there."""
    return [run for run in results if (out / run.config.name / f"{STEM}.json").is_file()]
