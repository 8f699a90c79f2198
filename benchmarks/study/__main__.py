"""Depth against accuracy: ``odenets study run|status|plan|report|diagnose``.

Claim to be tested: at equal depth and recipe, a network whose skip connections follow another
numerical scheme errs less, and by more than the spread over seeds. A study is a file that names
its runs; each leaves a folder with its result.json, and the report has mean and sample standard
deviation over seeds.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from odenets import OdenetsError
from odenets.analysis.text.console import require

from ..common.command_line import FAILED_RUNS, INTERRUPTED, USER_ERROR, as_given
from ..common.errors import ConfigError
from ..common.files import write_json
from ..common.machine import has_fast_bfloat16
from ..data.dataset import Dataset
from . import diagnose, distributed, plan, result, standing, study_file
from .command_line import COMMAND, check_together, folder, means_of, parse
from .on_streams import check, on_streams
from .runs import Ended, Means, Outcome, in_turn, run_all
from .side_by_side import side_by_side
from .study_file import Study

SLOW_BFLOAT16 = (
    "warning: bf16 on this processor, which has no AVX-512: torch computes bfloat16 by plain loops here, several times "
    f"slower than fp32. `{COMMAND} plan` tells the hours; precision: fp32 is another study."
)


def run(options: argparse.Namespace, command: str) -> int:
    """Trains what is not finished, and reports."""
    check_together(options)
    require("markdown", "matplotlib")  # of the report in the end
    study = study_file.load(options.study)
    standing.evaluations(study.runs)
    if options.submit:
        return submit(study, options, command)
    with distributed.joined(options.device):
        try:
            return train(study, options, command)
        except KeyboardInterrupt:
            if distributed.first():
                where = folder(options, study)
                print(f"interrupted: the same command goes on from the last checkpoints in {where}", file=sys.stderr)
            return INTERRUPTED


def submit(study: Study, options: argparse.Namespace, command: str) -> int:
    """Submits what is not finished, and says how to follow it."""
    module = importlib.import_module(f"{__package__}.submit")  # it needs a package that the other commands do not
    out = folder(options, study)
    jobs = module.submit(study.runs, out, means_of(options, command), options.submit, options.submit_options)
    write_json(out / f"study-{study.name}.json", study.resolved())
    again = f"{options.study}" + (f" --out {options.out}" if options.out else "")
    print(f"submitted {len(jobs)} jobs, a run each: {' '.join(jobs)}" if jobs else "every run is finished")
    print(f"What they print is in {out / module.FOLDER}. Where they stand: {COMMAND} status {again}")
    print(f"In the end: {COMMAND} report {again}")
    return 0


def train(study: Study, options: argparse.Namespace, command: str) -> int:
    """Trains what is not finished, and reports, in this process or in all that were started together."""
    out, means = folder(options, study), means_of(options, command)
    data = prepared(study, means)
    one_pass = way_of(options, study, data)
    # Before the runs, so that an unfinished folder says what it is part of; replaced when the study's file changes.
    out.mkdir(parents=True, exist_ok=True)
    distributed.by_first(partial(write_json, out / f"study-{study.name}.json", study.resolved()))
    outcome = run_all(study.runs, data, out, means, one_pass)
    return distributed.by_first(partial(present, out, outcome))


def prepared(study: Study, means: Means) -> Dataset:
    """The study's data, on their device; says so if that has no use for the precision of the study's runs."""
    data = means.prepare(study.data)
    if any(config.precision == "bf16" for config in study.runs) and not has_fast_bfloat16(data.device):
        distributed.by_first(partial(print, SLOW_BFLOAT16, file=sys.stderr))
    return data


def way_of(options: argparse.Namespace, study: Study, data: Dataset) -> Callable[..., Ended]:
    """How the options say that the runs go through: one after the other, a process each, or on streams of a GPU."""
    if options.at_once is None:
        return partial(side_by_side, jobs=options.jobs) if options.jobs > 1 else in_turn
    check(study.runs, data)
    return partial(on_streams, at_once=options.at_once)


def present(out: Path, outcome: Outcome) -> int:
    """Writes and prints the report of what is in ``out``, and what is not; returns the exit code."""
    # Where no run has ended there is nothing to report, and saying so would hide why.
    if any(out.glob(f"*/{result.NAME}")):
        report(result.read_all(out), out)
    if outcome.elsewhere:
        names = ", ".join(config.name for config in outcome.elsewhere)
        print(f"{len(outcome.elsewhere)} runs are being trained by other processes: {names}", file=sys.stderr)
    if outcome.failures:
        print(f"error: {len(outcome.failures)} runs failed:", *outcome.failures, sep="\n  ", file=sys.stderr)
    return FAILED_RUNS if outcome.failures else 0


def report(results: Sequence[result.Result], out: Path) -> None:
    """Writes the report and prints it."""
    # Loaded when there is something to report: matplotlib and scipy take as long as torch.
    print(importlib.import_module(f"{__package__}.report.page").write(results, out))


def show_status(options: argparse.Namespace, command: str) -> int:
    """Where each run stands."""
    study = study_file.load(options.study)
    print(study.title, standing.table(study.runs, folder(options, study)), sep="\n")
    return 0


def show_plan(options: argparse.Namespace, command: str) -> int:
    """What the study takes here."""
    study = study_file.load(options.study)
    standing.evaluations(study.runs)
    data = prepared(study, means_of(options, command))
    print(study.title, plan.table(study.runs, data, folder(options, study)), sep="\n")
    print(f"Hours of one run after the other; with --jobs {os.cpu_count()}, as many as this machine has cores, fewer.")
    return 0


def show_report(options: argparse.Namespace, command: str) -> int:
    """The report of what is there, training nothing."""
    out = existing(options)
    report(result.read_all(out), out)
    return 0


def existing(options: argparse.Namespace) -> Path:
    """The folder of a study, or the one that is given: its results say what they are."""
    if options.study is None and options.out is None:
        raise ConfigError(f"{options.command}: got neither a study nor --out, expected one of them")
    return options.out or folder(options, study_file.load(options.study))


def show_diagnoses(options: argparse.Namespace, command: str) -> int:
    """The diagnoses of the finished runs, and the report with them."""
    out = existing(options)
    results = result.read_all(out)
    diagnose.diagnose_all(results, out, options, command)
    report(results, out)
    return 0


COMMANDS: dict[str, tuple[Callable[[argparse.Namespace, str], int], str]] = {
    "run": (run, "train every run that is not finished, and report; the same command goes on where it was stopped"),
    "status": (show_status, "where each run stands"),
    "plan": (show_plan, "runs, images, evaluations and hours on this machine, measured on a few steps of each network"),
    "report": (show_report, "findings, tables and figures of the finished runs"),
    "diagnose": (show_diagnoses, "spectra of the layers of the finished runs, and what follows from them"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 0, 1 if runs failed, 2 for a user error, 130 if interrupted."""
    options = parse(argv, {name: text for name, (_, text) in COMMANDS.items()}, __doc__)
    try:
        return COMMANDS[options.command][0](options, as_given(COMMAND, argv))
    except KeyboardInterrupt:
        return INTERRUPTED
    except (OdenetsError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return USER_ERROR


if __name__ == "__main__":
    sys.exit(main())
