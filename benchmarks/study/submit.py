"""The runs of a study as jobs of a cluster, one each, by submitit (facebookincubator/submitit)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import submitit
import yaml

from ..common.errors import ConfigError
from . import distributed, result
from .config import RunConfig
from .runs import Means, run_one
from .study_file import Loader

#: In the folder of the study: what submitit writes, and what the jobs print.
FOLDER = "jobs"


@dataclass(frozen=True)
class Job:
    """Trains one run, in all tasks of the job together if it has several."""

    config: RunConfig
    out: Path
    means: Means

    def __call__(self) -> None:
        """Trains the run to its result, or goes on with it; LockedError if another process has it."""
        if submitit.JobEnvironment().num_tasks > 1:
            submitit.helpers.TorchDistributedEnvironment().export(set_cuda_visible_devices=False)
        with distributed.joined(self.means.device):
            data = self.means.prepare(self.config.data)
            run_one(self.config, data, self.out, self.means, lambda done, error: None)

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        """What submitit queues again when the time of the job is up or its place is wanted: it goes on by its files."""
        return submitit.helpers.DelayedSubmission(self)


def submit(configs: Sequence[RunConfig], out: Path, means: Means, cluster: str, options: Sequence[str]) -> list[str]:
    """Submits the runs that are not finished as an array of jobs; returns their numbers, none if all are finished.

    Args:
        configs: the runs.
        out: folder of the results, which all machines must share.
        means: how each is computed; paths are made absolute.
        cluster: "slurm", or "local" for processes of this machine, all at once.
        options: KEY=VALUE, handed to ``AutoExecutor.update_parameters``; values are YAML.

    Raises:
        ConfigError: an option that submitit does not know, or no slurm here.
    """
    out = out.resolve()
    means = replace(means, data_dir=means.data_dir.resolve())
    values = parsed(options)
    left = [config for config in configs if not (out / config.name / result.NAME).exists()]
    try:
        executor = submitit.AutoExecutor(out / FOLDER, cluster=cluster)
        executor.update_parameters(**values)
    except (AssertionError, NameError, RuntimeError, TypeError, ValueError) as error:
        raise ConfigError(f"--submit {cluster}: {str(error).splitlines()[0]}") from error
    return [job.job_id for job in executor.submit_array([Job(config, out, means) for config in left])] if left else []


def parsed(options: Sequence[str]) -> dict[str, Any]:
    """The values of KEY=VALUE, such as ``timeout_min=600`` or ``slurm_partition=gpu``; a time must be among them."""
    found = {}
    for option in options:
        key, given, value = option.partition("=")
        if not given or not key.isidentifier():
            raise ConfigError(f"--submit-options: got {option!r}, expected KEY=VALUE, such as timeout_min=600")
        found[key] = yaml.load(value, Loader)
    if not {"timeout_min", "slurm_time"} & set(found):
        # submitit's own are 2 and 5 minutes.
        raise ConfigError("--submit-options: got no time, expected timeout_min=MINUTES that a job may take")
    return found
