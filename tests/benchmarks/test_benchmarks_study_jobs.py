"""Several runs at once, and what becomes of them when something is killed."""

import os
import signal
import sys

import commands
import killed_study
import pytest
import torch

from odenets.benchmarks.common.lock import exclusive
from odenets.benchmarks.data import sources
from odenets.benchmarks.study import run_checkpoint as checkpoint, run_state, runs, side_by_side, study_file, training
from odenets.benchmarks.study.__main__ import main
from odenets.benchmarks.study.progress import Progress

STEPS = 11
#: Three runs of 3 epochs of STEPS steps.
STUDY = """
{name: three, title: T, data: digits, recipe: {epochs: 3, batch_size: 128, schedule: one_cycle},
 groups: [{schemes: [momentum], depths: [8], seeds: [0, 1, 2]}]}
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "three.yaml"
    path.write_text(STUDY)
    return path


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture(autouse=True)
def one_thread():
    """That of the processes of the runs too: the order of sums, hence the last bits, depends on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = True


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """Weights of the three runs, trained one after the other in this process."""
    folder = tmp_path_factory.mktemp("expected")
    (folder / "three.yaml").write_text(STUDY)
    data, found = sources.load("digits", folder), {}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for run in study_file.load(str(folder / "three.yaml")).runs:
        (folder / run.name).mkdir()
        found[run.name] = training.train(run, data, folder / run.name).model.state_dict()
    torch.set_num_threads(threads)
    return found


def check(out, expected):
    assert sorted(path.parent.name for path in out.glob("*/result.json")) == sorted(expected)
    for name, weights in expected.items():
        found = torch.load(out / name / runs.WEIGHTS, weights_only=True)
        assert all(torch.equal(found[key], value) for key, value in weights.items())
    assert not list(out.rglob("*.partial"))
    assert not list(out.rglob(checkpoint.NAME))


def test_a_killed_process_ends_its_run_alone_and_the_next_command_finishes_it(file, out, expected, monkeypatch, capfd):
    started, watch, start = {}, Progress.watch, side_by_side.start

    def noted(config, *args):
        connection, started[config] = start(config, *args)
        return connection, started[config]

    def kill_seed_0(progress, config, done, error):
        watch(progress, config, done, error)
        # One step after the first epoch; its process may be ahead of what is heard.
        if config.seed == 0 and done == STEPS + 1:
            started[config].kill()

    monkeypatch.setattr(side_by_side, "start", noted)
    monkeypatch.setattr(Progress, "watch", kill_seed_0)
    assert main(["run", str(file), "--jobs", "2", f"--out={out}"]) == 1
    error = capfd.readouterr().err
    assert "1 runs failed:\n  digits-momentum-8-s0-" in error
    assert "its process ended (exit code -9); the same command goes on from its checkpoint" in error
    assert [path.parent.name.split("-")[3] for path in sorted(out.glob("*/result.json"))] == ["s1", "s2"]
    monkeypatch.setattr(Progress, "watch", watch)
    assert main(["run", str(file), "--threads=1", f"--out={out}"]) == 0
    assert len(started) == 3
    assert "Traceback" not in capfd.readouterr().err
    check(out, expected)
    # As one that was killed between its last two acts leaves it: finished, with its checkpoint.
    (next(out.glob("*/result.json")).parent / checkpoint.NAME).touch()
    assert main(["run", str(file), "--jobs", "2", f"--out={out}"]) == 0
    assert len(started) == 3
    check(out, expected)


def position(path, run):
    content = checkpoint.read(path, run, run_state.CONTENT)
    return content["epoch"] * STEPS + content["step"]


@pytest.mark.skipif(sys.platform != "linux", reason="reads the processes of a group from /proc")
def test_interrupted_and_shared_by_two_commands_it_ends_with_the_same_weights(file, tmp_path):
    # Long enough to be interrupted.
    file.write_text(STUDY.replace("epochs: 3, batch_size: 128", "epochs: 20, batch_size: 64"))
    configs, log = study_file.load(str(file)).runs, tmp_path / "log"
    peace, out = tmp_path / "peace", tmp_path / "out"

    def start(where, jobs):
        options = f"--jobs={jobs}", "--threads=1", "--checkpoint-every=2", f"--out={where}"
        return commands.command(log, "study", "run", file, *options)

    def ended(*groups):
        commands.wait_for(lambda: not any(map(commands.living, groups)))
        said = log.read_text()
        log.unlink()
        return said

    assert "exit code 0" in ended(start(peace, 1))
    interrupted = start(out, 2)
    commands.wait_for(lambda: killed_study.positions(out, configs)[configs[0]] >= 2)
    os.killpg(interrupted, signal.SIGINT)  # as Ctrl-C does: all of them
    said = ended(interrupted)
    assert "exit code 130" in said
    assert f"interrupted: the same command goes on from the last checkpoints in {out}" in said
    assert "Traceback" not in said
    for folder in out.glob("digits-*"):
        with exclusive(folder):  # LockedError if one were still at work
            assert not (folder / "result.json").exists()
    assert ended(start(out, 1), start(out, 1)).count("exit code 0") == 2
    killed_study.compare(peace, out, configs)


def test_a_run_whose_command_was_killed_ends_at_its_next_step(file, out):
    """The command's end of the pipe is closed, as the system does when it is killed."""
    ours, theirs = side_by_side.PROCESSES.Pipe(duplex=False)
    ours.close()
    (first, *_) = study_file.load(str(file)).runs
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with pytest.raises(SystemExit):
            side_by_side.work(theirs, first, out, runs.Means("test", checkpoint_every=1))
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    theirs.close()
    with exclusive(out / first.name):
        assert position(out / first.name / checkpoint.NAME, first) == 1
