"""Runs as jobs of a cluster: the executor of this machine, and what is refused."""

import builtins
import json
import sys
import time

import pytest
import submitit
import yaml

from odenets.__main__ import main
from odenets.benchmarks.study import runs, study_file, submit


@pytest.fixture
def file(tmp_path):
    """A study of two runs of two steps, the second of which is finished."""
    path, recipe = tmp_path / "jobs.yaml", {"epochs": 1, "batch_size": 650}
    groups = [{"schemes": ["euler"], "depths": [8], "seeds": [0, 1]}]
    path.write_text(
        yaml.safe_dump({"name": "jobs", "title": "T", "data": "digits", "recipe": recipe, "groups": groups})
    )
    finished = tmp_path / "out" / study_file.load(str(path)).runs[1].name
    finished.mkdir(parents=True)
    (finished / "result.json").write_text("{}")
    return path


def command(file, *options):
    return main(["study", "run", str(file), "--threads=1", "--out=out", *options])


@pytest.mark.skipif(sys.platform == "win32", reason="submitit needs signals")
@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")  # submitit lets go of its jobs
def test_two_tasks_of_a_job_train_together_the_run_that_is_not_finished(file, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)  # what is said is relative, what the jobs are told is not
    assert command(file, "--submit=local", "--submit-options", "timeout_min=10", "tasks_per_node=2") == 0
    submitted, where, after = capsys.readouterr().out.splitlines()
    number = submitted.removeprefix("submitted 1 jobs, a run each: ")
    assert where == f"What they print is in out/jobs. Where they stand: odenets study status {file} --out out"
    assert after == f"In the end: odenets study report {file} --out out"
    (run, _) = study_file.load(str(file)).runs
    folder = tmp_path / "out" / run.name
    assert not (folder / "result.json").exists()  # it has returned at once
    paths = [submitit.core.utils.JobPaths(tmp_path / "out" / "jobs", number, task) for task in (0, 1)]
    end = time.monotonic() + 900
    while not all(path.result_pickle.exists() for path in paths):
        assert time.monotonic() < end
        time.sleep(0.1)
    assert [submitit.core.utils.pickle_load(path.result_pickle) for path in paths] == [("success", None)] * 2
    assert json.loads((folder / "result.json").read_text())["hardware"]["processes"] == 2
    assert (folder / runs.WEIGHTS).exists()
    assert (tmp_path / "out" / "study-jobs.json").exists()


def test_a_job_that_is_stopped_is_queued_again_as_it_is(file, tmp_path):
    (run, _) = study_file.load(str(file)).runs
    job = submit.Job(run, tmp_path, runs.Means("test"))
    assert job.checkpoint().function == job


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--submit=local"], "--submit-options: got no time, expected timeout_min=MINUTES that a job may take"),
        (
            ["--submit=local", "--submit-options", "timeout"],
            "got 'timeout', expected KEY=VALUE, such as timeout_min=600",
        ),
        (
            ["--submit=local", "--submit-options", "timeout_min=1", "nodse=2"],
            "--submit local: Parameter 'nodse' need to be prefixed by an executor name.",
        ),
        (
            ["--submit=local", "--submit-options", "timeout_min=1", "nodes=two"],
            '--submit local: Parameter "nodes" expected type <class \'int\'> (but value: "two")',
        ),
        (["--submit=slurm", "--submit-options", "slurm_time=1"], '--submit slurm: Could not detect "srun"'),
        (["--submit=local", "--jobs=2"], "got --jobs 2 and --submit local, expected one of them"),
        (["--submit-options", "nodes=1"], "--submit-options: got ['nodes=1'] without --submit, expected both"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_submitted(file, capsys, monkeypatch, options, complaint):
    tmp_path = file.parent
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    assert command(file, *options) == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1
    assert not list(tmp_path.rglob("*.pkl"))
    assert not list(tmp_path.rglob("study-*.json"))


def test_without_submitit_it_says_how_to_install_it(file, monkeypatch, capsys):
    found = builtins.__import__

    def absent(name, *args, **options):
        if name == "submitit":
            raise ModuleNotFoundError("No module named 'submitit'", name="submitit")
        return found(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", absent)
    monkeypatch.delitem(sys.modules, "odenets.benchmarks.study.submit")
    assert command(file, "--submit=local", "--submit-options", "timeout_min=1") == 2
    assert capsys.readouterr().err == "odenets: error: submitit is not installed: pip install 'odenets[cluster]'\n"
