import json
import os
import pathlib
import re
import signal
import time

import commands
import pytest
import torch
import yaml

from odenets.benchmarks.common.errors import ResultError
from odenets.benchmarks.data import sources as data
from odenets.benchmarks.data.in_memory import InMemoryDataset
from odenets.benchmarks.study import (
    costs,
    run_checkpoint as checkpoint,
    run_state,
    runs,
    standing,
    study_file,
    training,
)
from odenets.benchmarks.study.__main__ import main
from odenets.benchmarks.study.config import RunConfig
from odenets.benchmarks.study.progress import Progress

#: One run of 2 epochs of 58 steps, for which half a second is short: killing it in mid-epoch is easy.
KILLED = {"data": "digits", "depths": [14], "schemes": ["lm"], "recipe": {"epochs": 2, "batch_size": 6}}
RUN = RunConfig(data="digits", depth=14, scheme="lm", seed=0, epochs=2, batch_size=6)
STEPS = 39


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
    """``data: toy``: 24 images of noise, 3 steps an epoch with a batch of 8."""
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (24, 1, 8, 8), dtype=torch.uint8, generator=random)
    labels = torch.arange(24) % 2
    loaded = InMemoryDataset("toy", images, labels, images, labels, num_classes=2, crop_padding=1, flip=False)
    monkeypatch.setitem(data.SOURCES, "toy", data.Source(lambda folder: loaded, epochs=2))


def study(folder, *, data="toy", recipe=None, name="toy", **axes):
    """A study's file of one group."""
    group = {"schemes": ["euler"], "depths": [8], "seeds": [0], **axes}
    values = {
        "name": name,
        "title": "T",
        "data": data,
        "recipe": {"batch_size": 8, **(recipe or {})},
        "groups": [group],
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def toy_run(out, *options, **parts):
    file = study(out.parent, **parts)
    return main(["run", str(file), "--threads=1", f"--out={out}", *options])


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def directories(out):
    return sorted(path.name.rpartition("-")[0] for path in out.iterdir() if path.is_dir())


# ---------------------------------------------------------------- killed and started again


def command(out, *options):
    file = study(out.parent, name="killed", **KILLED)
    return commands.command(out.parent / "log", "study", "run", file, "--threads=1", f"--out={out}", *options)


def run_to_the_end(out, *options):
    group = command(out, *options)
    commands.wait_for(lambda: not commands.living(group))
    directory = out / RUN.name
    return torch.load(directory / runs.WEIGHTS, weights_only=True), json.loads((directory / "result.json").read_text())


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return run_to_the_end(tmp_path_factory.mktemp("whole") / "out")


def position(path):
    content = checkpoint.read(path, RUN, run_state.CONTENT)
    return content["epoch"] * STEPS + content["step"]


def reached(path, wanted, process):
    """Wait for the checkpoint of that step; a file is read once, since reading it takes a core from the training."""
    deadline, seen = time.monotonic() + 120, None
    while True:
        assert commands.living(process)
        assert time.monotonic() < deadline
        # Replaced as a whole: another checkpoint is another file.
        now = path.stat() if path.exists() else None
        if now is not None and (now.st_ino, now.st_mtime_ns) != seen:
            if position(path) >= wanted:
                return
            seen = now.st_ino, now.st_mtime_ns
        time.sleep(0.002)


@pytest.mark.parametrize(("every", "wanted"), [(0, STEPS), (10, STEPS + 10)])
def test_killed_in_mid_epoch_and_started_again_it_ends_with_the_same_weights(out, uninterrupted, every, wanted):
    path = out / RUN.name / checkpoint.NAME
    process = command(out, f"--checkpoint-every={every}")
    reached(path, wanted, process)
    os.kill(process, signal.SIGKILL)
    commands.wait_for(lambda: not commands.living(process))
    # Behind a checkpoint of the second epoch's start or middle, and not yet at its end: in mid-epoch.
    assert wanted <= position(path) < 2 * STEPS
    assert not (path.parent / "result.json").exists()
    weights, result = run_to_the_end(out)
    expected, expected_result = uninterrupted
    assert weights.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in weights.items())
    for field in ("final_test_error", "learned_coefficients", "config_hash", "milestones"):
        assert result[field] == expected_result[field]
    assert not path.exists()


def test_interrupted_by_the_keyboard_it_says_so_and_goes_on(out, toy, monkeypatch, capsys):
    watch, calls = Progress.watch, []

    def interrupt(progress, config, done, error):
        calls.append(divmod(done, 3))
        if len(calls) == 4:
            raise KeyboardInterrupt
        watch(progress, config, done, error)

    monkeypatch.setattr(Progress, "watch", interrupt)
    assert toy_run(out) == 130
    assert f"interrupted: the same command goes on from the last checkpoints in {out}" in capsys.readouterr().err
    assert not list(out.rglob("result.json"))
    assert toy_run(out) == 0
    # The fourth call was epoch 2's first step; that epoch is done again, the first is not.
    assert calls[3:] == [(1, 1), (1, 1), (1, 2), (2, 0)]


# -------------------------------------------------------------------------- finished runs


def test_a_grid_has_a_result_and_weights_a_run_and_a_table(out, toy, capsys):
    assert toy_run(out, depths=[8, 14], schemes=["euler", "lm"], seeds=[0, 1]) == 0
    names = [f"toy-{s}-{d}-s{n}" for s in ("euler", "lm") for d in (14, 8) for n in (0, 1)]
    assert directories(out) == names
    for path in out.glob("*/result.json"):
        content = json.loads(path.read_text())
        depth, scheme = content["config"]["depth"], content["config"]["scheme"]
        assert {e["layer"] for e in content["learned_coefficients"]} == (
            {1, 3, 5} if (depth, scheme) == (14, "lm") else set()
        )
        assert content["evaluations"] == {8: 3, 14: 6}[depth]
        assert content["hardware"]["threads"] == 1
        assert content["command"].startswith(f"odenets study run {out.parent}")
        assert (path.parent / "weights.pt").exists()
    printed = capsys.readouterr().out
    assert "| depth |" in printed
    assert printed.count("(n=2)") == 4


def test_finished_runs_are_left_alone_and_reported_again_without_training(out, toy, capsys, monkeypatch):
    assert toy_run(out) == 0
    first = capsys.readouterr().out
    (path,) = out.glob("*/result.json")
    before = path.read_bytes(), path.stat().st_mtime_ns
    report = (out / "report.md").read_bytes()
    (out / "report.md").unlink()
    monkeypatch.setattr(training, "steps", lambda *args, **options: pytest.fail("trained"))
    assert toy_run(out) == 0
    assert capsys.readouterr().out == first
    assert main(["report", "--out", str(out)]) == 0
    assert capsys.readouterr().out == first
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert (out / "report.md").read_bytes() == report


# ------------------------------------------------------------------- status, plan, report


def test_status_says_where_each_run_stands_and_the_share_in_evaluations(out, toy, capsys, monkeypatch):
    """Depths 8 and 14 have 3 and 6 evaluations. Done are 14 of seed 0, and half of 8: 6 + 1.5 of 18."""
    file = str(study(out.parent, depths=[14, 8], seeds=[0, 1]))
    assert main(["status", file, f"--out={out}"]) == 0
    assert capsys.readouterr().out.endswith("waiting\n0 of 4 runs done, 0.0% of the function evaluations\n")
    assert not out.exists()
    watch = Progress.watch

    def interrupt(progress, config, done, error):
        watch(progress, config, done, error)
        if config.depth == 8 and done == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "watch", interrupt)
    assert main(["run", file, f"--out={out}", "--threads=1"]) == 130
    capsys.readouterr()
    assert main(["status", file, f"--out={out}"]) == 0
    title, first, second, third, fourth, whole = capsys.readouterr().out.splitlines()
    assert title == "T"
    assert re.fullmatch(r"toy-euler-14-s0-\w{8} +done, test error [\d.]+ %", first)
    assert re.fullmatch(r"toy-euler-8-s0-\w{8} +epoch 1 of 2", second)
    assert re.fullmatch(r"toy-euler-14-s1-\w{8} +waiting", third)
    assert re.fullmatch(r"toy-euler-8-s1-\w{8} +waiting", fourth)
    assert whole == "1 of 4 runs done, 41.7% of the function evaluations"


def test_a_run_that_is_finished_while_its_standing_is_read_is_done(out, toy, monkeypatch):
    """Its checkpoint goes after it was seen and before it is read."""
    run = RunConfig(data="toy", depth=8, scheme="euler", seed=0, epochs=2, batch_size=8)
    assert toy_run(out) == 0
    path, checkpoint_path = out / run.name / "result.json", out / run.name / checkpoint.NAME
    path.rename(path.with_name("later"))
    checkpoint_path.write_bytes(b"")

    def finish(*args):
        checkpoint_path.unlink()
        path.with_name("later").rename(path)
        return checkpoint_path.read_bytes()

    monkeypatch.setattr(checkpoint, "read", finish)
    assert standing.standing(run, out).share == 1


def test_status_tells_treatments_of_coefficients_apart(out, toy, capsys):
    assert main(["status", str(study(out.parent, schemes=["lm"], depths=[14], coefficients=0)), f"--out={out}"]) == 0
    assert re.search(r"toy-lm-14-s0-\w{8} lm \(fixed at 0\)  waiting", capsys.readouterr().out)


def test_status_says_why_a_run_failed_until_it_is_begun_again(out, toy, capsys):
    assert toy_run(out, recipe={"lr": 1e30}) == 1
    capsys.readouterr()
    file = str(out.parent / "toy.yaml")
    assert main(["status", file, f"--out={out}"]) == 0
    assert "  failed: the loss is " in capsys.readouterr().out
    assert main(["report", file, f"--out={out}"]) == 2


def test_plan_counts_and_measures_and_knows_what_is_done(out, toy, capsys, monkeypatch):
    """Two epochs of 24 images: 48 a run. A step takes an hour and a test 3: 2 (3 + 3) = 12 hours a run."""
    assert toy_run(out, depths=[8], seeds=[0]) == 0
    capsys.readouterr()
    cost = costs.Cost(3600.0, (3500.0, 3700.0), 3 * 2**20, {"device": "cpu"}, {"torch": "2"})
    monkeypatch.setattr(costs, "measured", lambda config, data: (cost, 3 * 3600.0))
    file = str(study(out.parent, depths=[8, 14], seeds=[0, 1]))
    assert main(["plan", file, f"--out={out}", "--threads=1"]) == 0
    rows = [line.replace(" ", "").strip("|").split("|") for line in capsys.readouterr().out.splitlines()[3:6]]
    assert rows == [
        ["euler", "8", "3", "0", "3", "2", "96", "2.88e+02", "24.00", "12.00"],
        ["euler", "14", "6", "0", "3", "2", "96", "5.76e+02", "24.00", "24.00"],
        ["all", "", "", "", "", "4", "192", "8.64e+02", "48.00", "36.00"],
    ]
    runs = study_file.load(file).runs
    assert costs.read(out) == {run.hash: cost for run in runs if run.seed == 0}


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize(
    "place", ["AVX2 x86_64 bf16", "AVX512 x86_64 bf16", "DEFAULT aarch64 bf16", "AVX2 x86_64 fp32"]
)
def test_bf16_where_it_is_slower_than_fp32_is_said(out, capsys, monkeypatch, place):
    """The first of the places alone is one: there a study of a night runs for weeks, with nothing else to be seen."""
    capability, machine, precision = place.split()
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr(costs, "measured", lambda config, data: (costs.Cost(1.0, (1.0, 1.0), 1, {}, {}), 1.0))
    file = str(study(out.parent, recipe={"precision": precision}))
    assert main(["plan", file, f"--out={out}", "--threads=1", "--device=cpu"]) == 0
    said = "warning: bf16 on this processor, which has no AVX-512" in capsys.readouterr().err
    assert said == (place == "AVX2 x86_64 bf16")


def test_a_measurement_is_of_time_and_leaves_no_files(out, toy):
    run = RunConfig(data="toy", depth=8, scheme="lm", seed=0, epochs=2, batch_size=8)
    seconds, test = costs.step_times(run, data.load("toy", out))
    assert len(seconds) == costs.TIMED
    assert 0 < min(seconds) <= max(seconds) < 10
    assert 0 < test < 10
    assert not out.exists()


def test_the_memory_of_a_step_is_that_of_its_states():
    """A state of the first stage has 4 bytes x 512 images x 16 x 8 x 8. Its layer keeps the inputs of two norms and
    two convolutions, and more than twice as much is not plausible: the other stages' states are half and a quarter."""
    run = RunConfig(data="toy", depth=8, scheme="euler", seed=0, epochs=1, batch_size=512)
    images, labels = torch.zeros(512, 1, 8, 8, dtype=torch.uint8), torch.zeros(512, dtype=torch.int64)
    images[:, :, 0] = 1
    loaded = InMemoryDataset("toy", images, labels, images, labels, num_classes=2, crop_padding=0, flip=False)
    state = 4 * 512 * 16 * 8 * 8
    assert 4 * state < costs.step_memory(run, loaded) < 2 * 4 * state * 2


def test_costs_are_kept_beside_those_of_other_networks(tmp_path):
    one, other = (costs.Cost(s, (s, s), 1, {"device": "cpu"}, {"torch": "2"}) for s in (1.0, 2.0))
    costs.keep(tmp_path, {"a": one, "b": one})
    costs.keep(tmp_path, {"b": other})
    assert costs.read(tmp_path) == {"a": one, "b": other}
    (tmp_path / costs.NAME).write_text('{"a": {"seconds": 1}}')
    with pytest.raises(ResultError, match="does not hold costs"):
        costs.read(tmp_path)


def test_by_default_results_are_in_out_and_the_name_with_the_resolved_study(tmp_path, toy, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = str(study(tmp_path, name="my-study", schedule="one_cycle"))
    assert main(["run", file, "--threads=1"]) == 0
    assert f"report: {pathlib.Path('out', 'my-study', 'report.html')}" in capsys.readouterr().out
    (resolved,) = pathlib.Path("out/my-study").glob("*.json")
    assert resolved.name == "study-my-study.json"
    (run,) = json.loads(resolved.read_text())["runs"]
    assert (run["schedule"], run["label_smoothing"], run["lr"]) == ("one_cycle", 0, 0.1)
    assert pathlib.Path("out/my-study", run["name"], "result.json").exists()
    assert "lr linear from 0 up to 0.1 over 25% of the steps" in pathlib.Path("out/my-study/report.md").read_text()
    assert main(["report", file]) == 0


# ------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("parts", "complaint"),
    [
        ({"schemes": ["eulr"]}, "unknown scheme 'eulr'; did you mean 'euler'"),
        ({"schemes": ["own.py:mine"]}, "unknown scheme 'own.py:mine'; one in a module or file is given"),
        ({"schemes": ["euler", "euler"]}, "toy.yaml: groups[0]: schemes: got 'euler' more than once"),
        ({"depths": [8, 15]}, "depth: got 15, expected 6n + 2"),
        ({"coefficients": 0}, "coefficients: got 0.0 for euler, which has none"),
        ({"epochs": 0}, "toy.yaml: epochs: got 0, expected 1 or more"),
        ({"recipe": {"lr": float("nan")}}, "toy.yaml: lr: got nan, expected a finite number above 0"),
        ({"depths": ["eight"]}, "depths: got ['eight'], expected a list of one int or more"),
        ({"data": "mnist"}, "toy.yaml: unknown data set 'mnist', expected one of digits, cifar10"),
        ({"precision": "fp16"}, "precision: got 'fp16', expected one of fp32, bf16"),
    ],
)
def test_a_mistake_is_one_line_exit_code_2_and_nothing_written(out, toy, capsys, parts, complaint):
    for command in ("run", "status", "plan"):
        assert main([command, str(study(out.parent, **parts)), f"--out={out}"]) == 2
        check_one_line(out, capsys, complaint)


def check_one_line(out, capsys, complaint):
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ")
    assert complaint in printed.err
    assert printed.err.count("\n") == 1
    assert not printed.out
    assert not out.exists()


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["report"], "report: got neither a study nor --out, expected one of them"),
        (["report", "demo"], "no finished run (*/result.json) in it"),
        (["run", "dmo"], "study: got 'dmo', expected a file .yaml or one of cifar10, "),
        (["run", "nowhere.yaml"], "nowhere.yaml is missing; give a study's file or one of cifar10, "),
        pytest.param(
            ["run", "demo", "--device", "cuda"],
            "--device: got cuda, but torch finds no CUDA device",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU"),
        ),
    ],
)
def test_what_is_not_there_is_one_line_exit_code_2_and_nothing_written(out, monkeypatch, capsys, argv, complaint):
    monkeypatch.chdir(out.parent)
    assert main(argv) == 2
    check_one_line(out, capsys, complaint)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--thread", "3"], "unknown option '--thread', did you mean --threads?"),
        (["--data_dir=1"], "unknown option '--data_dir=1', did you mean --data-dir?"),
        (["--depths", "8"], "unknown option '--depths'"),
        (["--device", "tpu"], "argument --device: invalid choice: 'tpu'"),
        (["--threads", "0"], "--threads: got 0, expected 1 or more"),
        (["--jobs", "0"], "--jobs: got 0, expected 1 or more"),
        (["--checkpoint-every", "-1"], "--checkpoint-every: got -1, expected 0 or more"),
    ],
)
def test_an_option_typo_is_one_line_and_exit_code_2(out, capsys, options, complaint):
    with pytest.raises(SystemExit, match="2"):
        main(["run", "demo", f"--out={out}", *options])
    check_one_line(out, capsys, complaint)


def test_without_a_command_it_says_which_there_are(capsys):
    with pytest.raises(SystemExit, match="2"):
        main([])
    assert capsys.readouterr().err.startswith("error: the following arguments are required: COMMAND")
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    printed = capsys.readouterr().out
    assert all(f"\n    {name} " in printed for name in ("run", "status", "plan", "report", "diagnose"))


def test_a_diverged_run_is_named_and_leaves_no_result(out, toy, capsys):
    assert toy_run(out, recipe={"lr": 1e30}) == 1
    printed = capsys.readouterr()
    assert "error: toy-euler-8-s0-" in printed.err
    assert "at epoch 1, step 2 of 3; the last good checkpoint is kept" in printed.err
    assert not printed.out
    files = sorted(path.name for path in out.rglob("*.*") if path.is_file())
    assert files == [checkpoint.NAME, "failure.txt", "study-toy.json"]


@pytest.mark.parametrize("name", ["checkpoint.pt", "result.json"])
def test_a_damaged_file_of_a_run_ends_the_grid_before_it_starts(out, toy, capsys, name):
    assert toy_run(out) == 0
    (path,) = out.glob("*/result.json")
    if name != path.name:
        path.unlink()
    path.with_name(name).write_bytes(b"half")
    capsys.readouterr()
    assert toy_run(out, seeds=[1, 0]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {path.with_name(name)} is ")
    assert error.count("\n") == 1
    assert path.with_name(name).read_bytes() == b"half"
    assert directories(out) == ["toy-euler-8-s0"]


def test_another_process_keeps_its_run_and_lets_go_when_killed(out, toy, capsys):
    held = RunConfig(data="toy", depth=8, scheme="euler", seed=0, epochs=2, batch_size=8).name
    code = (
        "import pathlib, time\nfrom odenets.benchmarks.common.lock import exclusive\n"
        f"with exclusive(pathlib.Path({str(out / held)!r})):\n    print('held', flush=True)\n    time.sleep(600)"
    )
    log = out.with_name("log")
    holder = commands.copy(code, log)
    try:
        commands.wait_for(lambda: log.exists() and log.read_text() == "held\n")
        assert toy_run(out, seeds=[0, 1]) == 0
        assert f"1 runs are being trained by other processes: {held}" in capsys.readouterr().err
        assert [path.parent.name[:14] for path in out.glob("*/result.json")] == ["toy-euler-8-s1"]
        (out / held / ".result.json.1.partial").write_text("half")
    finally:
        os.kill(holder, signal.SIGKILL)
        commands.wait_for(lambda: not commands.living(holder))
    assert toy_run(out, seeds=[0, 1]) == 0
    assert len(list(out.glob("*/result.json"))) == 2
    assert not list(out.rglob("*.partial"))
