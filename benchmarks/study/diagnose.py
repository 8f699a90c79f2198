"""The numerical diagnosis of trained networks: ``odenets bench diagnose RUN [RUN ...]``.

A RUN is the folder of a finished run of ``odenets study``, with result.json and
weights.pt. Its network is diagnosed on the first images of the test set (odenets.analysis.diagnose). For each
run a figure, the numbers as JSON and a report as text are written to --out.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from odenets import OdenetsError
from odenets.analysis import plot
from odenets.analysis.networks.diagnosis import Diagnosis, diagnose
from odenets.analysis.plot import style

from ..common import files, machine
from ..common.command_line import USER_ERROR, Parser, as_given
from ..common.errors import CheckpointError, ConfigError
from ..data.dataset import Dataset
from ..data.sources import load
from . import result, run_checkpoint
from .config import RunConfig
from .network import build_model

COMMAND = "odenets bench diagnose"
WEIGHTS = "weights.pt"


def make_parser() -> Parser:
    """The command line."""
    parser = Parser(prog=COMMAND, description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help=f"folder with {result.NAME} and {WEIGHTS}")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder with the files of the data set")
    parser.add_argument("--out", type=Path, default=Path("out/diagnosis"), help="folder of the results")
    parser.add_argument("--samples", type=int, default=2, help="test images, the first ones")
    parser.add_argument("--values", type=int, default=6, help="eigenvalues at each end of a spectrum")
    parser.add_argument("--dense-limit", type=int, default=512, help="largest dimension for the whole spectrum")
    return parser


def load_network(run: Path, data: Dataset) -> nn.Module:
    """The trained network of a finished run, in evaluation mode.

    Raises:
        CheckpointError: its weights are missing, damaged or another network's.
        ResultError: its result.json is.
    """
    path = run / WEIGHTS
    model = build_model(result.read(run / result.NAME).config, data)
    try:
        model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except (*run_checkpoint.DAMAGE, TypeError, AttributeError) as error:
        reason = str(error).partition("\n")[0]
        raise CheckpointError(f"{path} does not hold this run's network ({reason}); train the run again") from error
    return model.eval()


def configuration(run: Path) -> RunConfig:
    """What was trained in a folder; ResultError where nothing was, or not to its end."""
    path = run / result.NAME
    if not path.is_file():
        raise ConfigError(f"{path} is missing; give the folder of a finished run of odenets study")
    return result.read(path).config


def write(diagnosis: Diagnosis, name: str, title: str, facts: dict[str, Any], out: Path) -> None:
    """Figure, JSON and text of one run."""
    out.mkdir(parents=True, exist_ok=True)
    style.save(plot.diagnosis(diagnosis, title=title), out / f"diagnosis-{name}.png")
    files.write_json(out / f"diagnosis-{name}.json", {**facts, **diagnosis.as_dict()})
    lines = [f"{key}: {value}" for key, value in facts.items()]
    files.write_atomic(out / f"diagnosis-{name}.txt", "\n".join([*lines, "", diagnosis.text(), ""]).encode())


def run_one(run: Path, data: Dataset, options: argparse.Namespace, command: str) -> None:
    """Diagnose one run, write what came out and print it."""
    config = configuration(run)
    model = load_network(run, data)
    images, _ = next(data.test_batches(max(options.samples, 1)))
    begun, processor = time.perf_counter(), time.process_time()
    found = diagnose(model, images, samples=options.samples, values=options.values, dense_limit=options.dense_limit)
    title = f"{config.scheme}, depth {config.depth}, {config.data}, {config.epochs} epochs, seed {config.seed}"
    facts = {
        "run": config.name,
        "command": command,
        "images": f"first {len(images)} of the test set",
        "seconds": round(time.perf_counter() - begun, 1),
        "processor_seconds": round(time.process_time() - processor, 1),
        "threads": torch.get_num_threads(),
        "versions": machine.versions(),
    }
    write(found, config.name, title, facts, options.out)
    print(f"{config.name}\n\n{found.text()}\n")
    print(f"{facts['seconds']} s; wrote {options.out}/diagnosis-{config.name}.png, .json and .txt\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 0, or 2 for a user error."""
    options = make_parser().parse_args(argv)
    command = as_given(COMMAND, argv)
    try:
        data: dict[str, Dataset] = {}
        for run in options.runs:
            name = configuration(run).data
            if name not in data:
                data[name] = load(name, options.data)
            run_one(run, data[name], options, command)
    except (OdenetsError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return USER_ERROR
    return 0


if __name__ == "__main__":
    sys.exit(main())
