import json
import pathlib
import signal
import subprocess
import sys
import time

import pytest
import torch

from odenets.benchmarks.data import sources as data
from odenets.benchmarks.data.dataset import Dataset
from odenets.benchmarks.study import grid, training
from odenets.benchmarks.study import run_checkpoint as checkpoint
from odenets.benchmarks.study.__main__ import main
from odenets.benchmarks.study.config import RunConfig

ROOT = pathlib.Path(__file__).resolve().parents[2]
PYTHON = [sys.executable, "-W", "error"]
#: One run of 3 epochs of 82 steps, for which a second is short: killing it in mid-epoch is easy.
KILLED = ["--data=digits", "--depths=14", "--schemes=lm", "--seeds=0", "--epochs=3", "--batch-size=16", "--threads=1"]
RUN = RunConfig(data="digits", depth=14, scheme="lm", seed=0, epochs=3, batch_size=16)
STEPS = 82


@pytest.fixture(autouse=True)
def torch_settings(monkeypatch):
    """The command line sets torch up for its whole process, which is not this one."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    threads, tf32 = torch.get_num_threads(), torch.backends.cudnn.allow_tf32
    yield
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = True
    torch.backends.cudnn.allow_tf32 = tf32
    torch.set_num_threads(threads)


@pytest.fixture
def toy(monkeypatch):
    """``--data toy``: 24 images of noise, 3 steps an epoch with --batch-size 8."""
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (24, 1, 8, 8), dtype=torch.uint8, generator=random)
    labels = torch.arange(24) % 2
    loaded = Dataset("toy", images, labels, images, labels, num_classes=2, crop_padding=1, flip=False)
    monkeypatch.setitem(data.SOURCES, "toy", data.Source(lambda folder: loaded, epochs=2))


def toy_grid(out, *options):
    common = ["--data=toy", "--batch-size=8", "--threads=1", f"--out={out}", "--depths", "8"]
    return main([*common, "--schemes", "euler", "--seeds", "0", *options])


def directories(out):
    return sorted(path.name.rpartition("-")[0] for path in out.iterdir() if path.is_dir())


# ---------------------------------------------------------------- killed and started again


def command(out, *options):
    return [*PYTHON, "-m", "odenets", "study", *KILLED, f"--out={out}", *options]


def run_to_the_end(out):
    subprocess.run(command(out), cwd=ROOT, check=True, capture_output=True)
    directory = out / RUN.name
    return torch.load(directory / grid.WEIGHTS, weights_only=True), json.loads((directory / "result.json").read_text())


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return run_to_the_end(tmp_path_factory.mktemp("whole"))


def position(path):
    content = checkpoint.read(path, RUN, training.CONTENT)
    return content["epoch"] * STEPS + content["step"]


def reached(path, wanted, process):
    """Wait for the checkpoint of that step; a file is read once, since reading it takes a core from the training."""
    deadline, seen = time.monotonic() + 120, None
    while True:
        assert process.poll() is None
        assert time.monotonic() < deadline
        # Replaced as a whole: another checkpoint is another file.
        now = path.stat() if path.exists() else None
        if now is not None and (now.st_ino, now.st_mtime_ns) != seen:
            if position(path) >= wanted:
                return
            seen = now.st_ino, now.st_mtime_ns
        time.sleep(0.002)


@pytest.mark.parametrize(("every", "wanted"), [(0, STEPS), (10, STEPS + 30)])
def test_killed_in_mid_epoch_and_started_again_it_ends_with_the_same_weights(tmp_path, uninterrupted, every, wanted):
    path = tmp_path / RUN.name / checkpoint.NAME
    process = subprocess.Popen(
        command(tmp_path, f"--checkpoint-every={every}"), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    reached(path, wanted, process)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    # Behind a checkpoint of the second epoch's start or middle, and not yet at its end: in mid-epoch.
    assert wanted <= position(path) < 2 * STEPS
    assert not (path.parent / "result.json").exists()
    weights, result = run_to_the_end(tmp_path)
    expected, expected_result = uninterrupted
    assert weights.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in weights.items())
    for field in ("final_test_error", "learned_coefficients", "config_hash", "milestones"):
        assert result[field] == expected_result[field]
    assert not path.exists()


def test_interrupted_by_the_keyboard_it_says_so_and_goes_on(tmp_path, toy, monkeypatch, capsys):
    watch, calls = grid.Progress.watch, []

    def interrupt(progress, config, state):
        calls.append((state.epoch, state.step))
        if len(calls) == 4:
            raise KeyboardInterrupt
        watch(progress, config, state)

    monkeypatch.setattr(grid.Progress, "watch", interrupt)
    assert toy_grid(tmp_path) == 130
    assert f"interrupted: the same command goes on from the last checkpoints in {tmp_path}" in capsys.readouterr().err
    assert not list(tmp_path.rglob("result.json"))
    assert toy_grid(tmp_path) == 0
    # The fourth call was epoch 2's first step; that epoch is done again, the first is not.
    assert calls[3:] == [(1, 1), (1, 1), (1, 2), (2, 0)]


# -------------------------------------------------------------------------- finished runs


def test_a_grid_has_a_result_and_weights_a_run_and_a_table(tmp_path, toy, capsys):
    assert toy_grid(tmp_path, "--depths", "8", "14", "--schemes", "euler", "lm", "--seeds", "0", "1") == 0
    names = [f"toy-{s}-{d}-s{n}" for s in ("euler", "lm") for d in (14, 8) for n in (0, 1)]
    assert directories(tmp_path) == names
    for path in tmp_path.glob("*/result.json"):
        content = json.loads(path.read_text())
        depth, scheme = content["config"]["depth"], content["config"]["scheme"]
        assert {e["layer"] for e in content["learned_coefficients"]} == (
            {1, 3, 5} if (depth, scheme) == (14, "lm") else set()
        )
        assert content["evaluations"] == {8: 3, 14: 6}[depth]
        assert content["hardware"]["threads"] == 1
        assert content["command"].startswith("odenets study --data=toy")
        assert (path.parent / "weights.pt").exists()
    printed = capsys.readouterr().out
    assert "| depth |" in printed
    assert printed.count("(n=2)") == 4


def test_finished_runs_are_left_alone_and_reported_again_without_training(tmp_path, toy, capsys, monkeypatch):
    assert toy_grid(tmp_path) == 0
    first = capsys.readouterr().out
    (path,) = tmp_path.glob("*/result.json")
    before = path.read_bytes(), path.stat().st_mtime_ns
    report = (tmp_path / "report.md").read_bytes()
    (tmp_path / "report.md").unlink()
    monkeypatch.setattr(training, "train", lambda *args, **options: pytest.fail("trained"))
    assert toy_grid(tmp_path) == 0
    assert capsys.readouterr().out == first
    assert main(["--report-only", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out == first
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert (tmp_path / "report.md").read_bytes() == report


# ------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--schemes", "eulr"], "unknown scheme 'eulr'; did you mean 'euler'"),
        (["--schemes", "euler", "euler"], "--schemes: got euler more than once"),
        (["--depths", "8", "15"], "depth: got 15, expected 6n + 2"),
        (["--epochs", "0"], "epochs: got 0, expected 1 or more"),
        (["--lr", "nan"], "lr: got nan, expected a finite number above 0"),
        (["--report-only"], "no finished run (*/result.json) in it"),
        pytest.param(
            ["--device", "cuda"],
            "--device: got cuda, but torch finds no CUDA device",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU"),
        ),
    ],
)
def test_a_mistake_is_one_line_exit_code_2_and_nothing_written(tmp_path, toy, capsys, options, complaint):
    out = tmp_path / "out"
    assert toy_grid(out, *options) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ")
    assert complaint in printed.err
    assert printed.err.count("\n") == 1
    assert not printed.out
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--epoch", "3"], "unknown option '--epoch', did you mean --epochs?"),
        (["--weight_decay=1"], "unknown option '--weight_decay=1', did you mean --weight-decay?"),
        (["--depths", "eight"], "argument --depths: invalid int value: 'eight'"),
        (["--data", "mnist"], "argument --data: invalid choice: 'mnist'"),
        (["--precision", "fp16"], "argument --precision: invalid choice: 'fp16'"),
        (["--threads", "0"], "--threads: got 0, expected 1 or more"),
        (["--checkpoint-every", "-1"], "--checkpoint-every: got -1, expected 0 or more"),
    ],
)
def test_an_option_typo_is_one_line_and_exit_code_2(tmp_path, capsys, options, complaint):
    with pytest.raises(SystemExit, match="2"):
        main(["--out", str(tmp_path / "out"), *options])
    error = capsys.readouterr().err
    assert error.startswith(f"error: {complaint}")
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_diverged_run_is_named_and_leaves_no_result(tmp_path, toy, capsys):
    assert toy_grid(tmp_path, "--lr", "1e30") == 1
    printed = capsys.readouterr()
    assert "error: toy-euler-8-s0-" in printed.err
    assert "at epoch 1, step 2 of 3; the last good checkpoint is kept" in printed.err
    assert not printed.out
    assert [path.name for path in tmp_path.rglob("*.*") if path.is_file()] == [checkpoint.NAME]


@pytest.mark.parametrize("name", ["checkpoint.pt", "result.json"])
def test_a_damaged_file_of_a_run_ends_the_grid_before_it_starts(tmp_path, toy, capsys, name):
    assert toy_grid(tmp_path) == 0
    (path,) = tmp_path.glob("*/result.json")
    if name != path.name:
        path.unlink()
    path.with_name(name).write_bytes(b"half")
    capsys.readouterr()
    assert toy_grid(tmp_path, "--seeds", "1", "0") == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {path.with_name(name)} is ")
    assert error.count("\n") == 1
    assert path.with_name(name).read_bytes() == b"half"
    assert directories(tmp_path) == ["toy-euler-8-s0"]


def test_another_process_keeps_its_run_and_lets_go_when_killed(tmp_path, toy, capsys):
    held = RunConfig(data="toy", depth=8, scheme="euler", seed=0, epochs=2, batch_size=8).name
    code = (
        "import pathlib, sys, time\nfrom odenets.benchmarks.common.files import exclusive\n"
        "with exclusive(pathlib.Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(600)"
    )
    holder = subprocess.Popen([*PYTHON, "-c", code, str(tmp_path / held)], cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b"held\n"
        assert toy_grid(tmp_path, "--seeds", "0", "1") == 1
        assert f"{held} is being trained by another process" in capsys.readouterr().err
        assert [path.parent.name[:14] for path in tmp_path.glob("*/result.json")] == ["toy-euler-8-s1"]
        (tmp_path / held / ".result.json.1.partial").write_text("half")
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    assert toy_grid(tmp_path, "--seeds", "0", "1") == 0
    assert len(list(tmp_path.glob("*/result.json"))) == 2
    assert not list(tmp_path.rglob("*.partial"))
