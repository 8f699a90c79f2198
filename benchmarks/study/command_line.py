"""The options of ``odenets study``, checked, and what they say."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..common import machine
from ..common.command_line import Parser
from ..common.errors import ConfigError
from . import diagnose, distributed, study_file
from .runs import Means
from .study_file import Study

MANY = 2**31
COMMAND = "odenets study"
CLUSTERS = ("slurm", "local")
#: Lowest value of each option that is a number.
LOWEST = {"jobs": 1, "at_once": 1, "threads": 1, "checkpoint_every": 0, **dict.fromkeys(diagnose.SETTINGS, 1)}


def make_parser(commands: Mapping[str, str], description: str | None) -> Parser:
    """The command line, with a line of help for each command. No abbreviations: --thread is a mistake, not a wish."""
    parser = Parser(prog=COMMAND, description=description, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    one_of = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in commands.items():
        one = one_of.add_parser(name, help=text, description=text, allow_abbrev=False)
        shipped = ", ".join(study_file.shipped())
        optional = {"nargs": "?"} if name in ("report", "diagnose") else {}
        one.add_argument("study", metavar="FILE|NAME", help=f"a study's file .yaml, or one of {shipped}", **optional)
        one.add_argument("--out", type=Path, metavar="DIR", help="folder of the results; out/ and the study's name")
        if name in ("run", "plan"):
            add_means(one)
        if name == "run":
            one.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at once, a process each")
            one.add_argument("--at-once", type=int, metavar="N", help="runs at once on one GPU, in this process")
            one.add_argument("--checkpoint-every", type=int, default=0, metavar="STEPS", help="beside each epoch's")
            one.add_argument(
                "--compile", action="store_true", help="torch.compile: faster steps, a minute to begin with"
            )
            add_cluster(one)
        if name == "diagnose":
            diagnose.add_options(one)
    return parser


def add_means(parser: argparse.ArgumentParser) -> None:
    """How runs are computed, which is no part of what they are."""
    parser.add_argument("--data-dir", type=Path, default=Path("data"), help="folder of the data set; data")
    parser.add_argument("--device", choices=machine.DEVICES, default="auto", help="where; auto is cuda if there")
    parser.add_argument(
        "--threads", type=int, help="of the processor, a run; with several --jobs 1, else torch's choice"
    )


def add_cluster(parser: argparse.ArgumentParser) -> None:
    """Whether the runs are jobs of a cluster, and what it is to give them."""
    parser.add_argument("--submit", choices=CLUSTERS, help="submit each run as a job, and return at once")
    parser.add_argument(
        "--submit-options",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="of submitit, such as timeout_min=600 gpus_per_node=1 cpus_per_task=8 slurm_partition=NAME",
    )


def parse(argv: Sequence[str] | None, commands: Mapping[str, str], description: str | None) -> argparse.Namespace:
    """The options; a misspelt one ends the program with the nearest that exists."""
    parser = make_parser(commands, description)
    options, unknown = parser.parse_known_args(argv)
    if unknown:
        name = unknown[0].partition("=")[0]
        known = [f"--{one.replace('_', '-')}" for one in vars(options) if one not in ("command", "study")]
        close = difflib.get_close_matches(name, known, n=1)
        parser.error(f"unknown option {unknown[0]!r}" + (f", did you mean {close[0]}?" if close else ""))
    for name, low in LOWEST.items():
        value = getattr(options, name, None)
        if value is not None and not low <= value < MANY:
            parser.error(f"--{name.replace('_', '-')}: got {value}, expected {low} or more, below {MANY}")
    return options


def folder(options: argparse.Namespace, study: Study) -> Path:
    """Where the results of a study are."""
    return options.out or Path("out") / study.name


def means_of(options: argparse.Namespace, command: str) -> Means:
    """How the options say that runs are computed."""
    threads = options.threads or (1 if getattr(options, "jobs", 1) > 1 else None)
    every, compiled = (getattr(options, name, 0) for name in ("checkpoint_every", "compile"))
    return Means(command, options.data_dir, options.device, threads, every, bool(compiled))


def check_together(options: argparse.Namespace) -> None:
    """Raises ConfigError unless at most one is asked for: runs at once, processes for one run, jobs of a cluster."""
    ways = {
        f"--jobs {options.jobs}": options.jobs > 1,
        f"{distributed.launched()} processes that train a run together": distributed.launched() > 1,
        f"--submit {options.submit}": options.submit is not None,
        f"--at-once {options.at_once}": options.at_once is not None,
    }
    asked = [way for way, wanted in ways.items() if wanted]
    if len(asked) > 1:
        raise ConfigError(f"got {' and '.join(asked)}, expected one of them")
    if options.at_once and options.compile:
        raise ConfigError(f"got --at-once {options.at_once} and --compile, expected one of them")
    if options.submit_options and not options.submit:
        raise ConfigError(f"--submit-options: got {options.submit_options} without --submit, expected both")
