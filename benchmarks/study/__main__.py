"""Depth against accuracy: ``odenets study``.

Claim to be tested: at equal depth and recipe, a network whose skip connections follow another
numerical scheme errs less, and by more than the spread over seeds. Trains the grid depth x scheme
x seed, one directory with a result.json a run, and reports mean and sample standard deviation.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from odenets import OdenetsError

from ..common import machine
from ..common.command_line import FAILED_RUNS, INTERRUPTED, USER_ERROR, Parser, as_given
from ..data.sources import SOURCES, load, source
from . import grid, report, result
from .config import PRECISIONS, RunConfig

MANY = 2**31
COMMAND = "odenets study"


def make_parser() -> Parser:
    """The command line. No abbreviations: --epoch for --epochs is a mistake, not a wish."""
    parser = Parser(prog=COMMAND, description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.ArgumentDefaultsHelpFormatter
    what = parser.add_argument_group("grid")
    what.add_argument("--data", choices=sorted(SOURCES), default="digits", help="data set")
    what.add_argument("--data-dir", type=Path, default=Path("data"), help="folder with the files of the data set")
    what.add_argument("--depths", type=int, nargs="+", default=[8, 14], metavar="D", help="6n+2, from 164 on 9n+2")
    what.add_argument("--schemes", nargs="+", default=["euler", "lm"], metavar="S", help="names in odenets.schemes")
    what.add_argument("--seeds", type=int, nargs="+", default=[0, 1], metavar="N", help="one run each")
    what.add_argument("--out", type=Path, default=Path("out"), help="folder of the results; started runs go on")
    what.add_argument("--report-only", action="store_true", help="report what is in --out, train nothing")
    add_recipe(parser.add_argument_group("recipe (part of a run's identity)"))
    how = parser.add_argument_group("how it is computed")
    how.add_argument("--device", choices=machine.DEVICES, default="auto", help="where")
    how.add_argument("--threads", type=int, help="of the processor; torch's choice unless given")
    how.add_argument("--checkpoint-every", type=int, default=0, metavar="STEPS", help="beside one after each epoch")
    return parser


def add_recipe(group: argparse._ArgumentGroup) -> None:
    """Options that RunConfig checks; its defaults are theirs."""
    epochs = ", ".join(f"{name} {entry.epochs}" for name, entry in SOURCES.items())
    group.add_argument("--epochs", type=int, help=f"lr falls by 10 after 1/2 and 3/4 of them; unless given {epochs}")
    group.add_argument("--batch-size", type=int, default=RunConfig.batch_size, help="images a step")
    group.add_argument("--lr", type=float, default=RunConfig.lr, help="learning rate of the first half")
    group.add_argument("--momentum", type=float, default=RunConfig.momentum, help="of SGD")
    group.add_argument("--weight-decay", type=float, default=RunConfig.weight_decay, help="not of k_n")
    group.add_argument("--precision", choices=PRECISIONS, default=RunConfig.precision, help="bf16: autocast")
    group.add_argument("--channels-last", action="store_true", help="memory format; faster with bf16")
    group.add_argument("--per-channel", action="store_true", help="learned coefficients per channel, not per layer")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options; a misspelt one ends the program with the nearest that exists."""
    parser = make_parser()
    options, unknown = parser.parse_known_args(argv)
    if unknown:
        name = unknown[0].partition("=")[0]
        close = difflib.get_close_matches(name, parser._option_string_actions, n=1)
        parser.error(f"unknown option {unknown[0]!r}" + (f", did you mean {close[0]}?" if close else ""))
    for name, low in (("threads", 1), ("checkpoint_every", 0)):
        value = getattr(options, name)
        if value is not None and not low <= value < MANY:
            parser.error(f"--{name.replace('_', '-')}: got {value}, expected {low} or more, below {MANY}")
    return options


def configurations(options: argparse.Namespace) -> list[RunConfig]:
    """The runs of the grid; ConfigError for a value that cannot be."""
    epochs = source(options.data).epochs if options.epochs is None else options.epochs
    names = ("data", "batch_size", "lr", "momentum", "weight_decay", "precision", "channels_last", "per_channel")
    recipe = {name: getattr(options, name) for name in names}
    return [
        RunConfig(depth=depth, scheme=scheme, seed=seed, epochs=epochs, **recipe)
        for depth, scheme, seed in grid.combine(options.depths, options.schemes, options.seeds)
    ]


def train(options: argparse.Namespace, command: str) -> list[str]:
    """Trains the grid; returns the messages of failed runs."""
    configs = configurations(options)
    data = load(options.data, options.data_dir)
    machine.make_repeatable()
    if options.threads:
        torch.set_num_threads(options.threads)
    return grid.run_all(
        configs,
        data.to(machine.choose_device(options.device)),
        options.out,
        command=command,
        checkpoint_every=options.checkpoint_every,
    )


def present(out: Path, failures: Sequence[str]) -> int:
    """Writes and prints the report of what is in ``out``; returns the exit code."""
    # Where every run failed there is nothing to report, and saying so would hide why.
    if not failures or any(out.glob(f"*/{result.NAME}")):
        print(report.write(result.read_all(out), out))
    if failures:
        print(f"error: {len(failures)} runs failed:", *failures, sep="\n  ", file=sys.stderr)
    return FAILED_RUNS if failures else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 0, 1 if runs failed, 2 for a user error, 130 if interrupted."""
    options = parse(argv)
    command = as_given(COMMAND, argv)
    try:
        return present(options.out, [] if options.report_only else train(options, command))
    except KeyboardInterrupt:
        print(f"interrupted: the same command goes on from the last checkpoints in {options.out}", file=sys.stderr)
        return INTERRUPTED
    except (OdenetsError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return USER_ERROR


if __name__ == "__main__":
    sys.exit(main())
