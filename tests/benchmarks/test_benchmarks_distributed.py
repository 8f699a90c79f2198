"""One run on several processes: the same numbers as with one, in float64, and the same bits after a kill."""

import json
import os
import signal
import socket
import sys

import commands
import killed_study
import pytest
import torch
import yaml
from commands import living, wait_for
from torch import distributed, nn

from odenets.benchmarks.common.lock import exclusive
from odenets.benchmarks.study import distributed as together, runs, study_file
from odenets.benchmarks.study.__main__ import main

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads the processes of a group from /proc")
#: An epoch is 4 steps, of which the last has 38 images; 2 of 229 images and of 1 where that is the batch.
GROUPS = [
    {"schemes": ["lm"], "depths": [14], "seeds": [0], "ema": 0.9},
    {"schemes": ["lm"], "depths": [8], "seeds": [1], "batch_size": 229},
    {"schemes": ["momentum"], "depths": [14], "seeds": [0], "gradient": "reversible", "survival": 0.5},
    {"schemes": ["rk4"], "depths": [8], "seeds": [0], "gradient": "checkpoint", "channels_last": True},
    {"schemes": ["euler"], "depths": [8], "seeds": [0], "lr": 1e300},
    {"schemes": ["euler"], "depths": [8], "seeds": [9]},
]
RECIPE = {"epochs": 2, "batch_size": 64}


def write(folder, name, groups, recipe):
    path = folder / f"{name}.yaml"
    values = {"name": name, "title": "T", "data": "digits", "recipe": recipe, "groups": groups}
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


def start(log, count, *arguments):
    """Numbers of processes with the variables that torchrun sets: to start that itself takes three times torch."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
    parts = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port} if count > 1 else {}
    ranks = [parts and {**parts, "RANK": str(i), "LOCAL_RANK": str(i)} for i in range(count)]
    return [commands.command(log, *arguments, environment=rank, double=True) for rank in ranks]


def ended(groups):
    return not any(living(group) for group in groups)


def train(log, count, *arguments):
    groups = start(log, count, *arguments)
    wait_for(lambda: ended(groups))


def said(log):
    """What the commands have printed since it was asked last."""
    text = log.read_text()
    log.write_text("")
    return text


def history(folder):
    return json.loads((folder / "result.json").read_text())["epochs"]


def test_two_processes_train_as_one_does(log, tmp_path):
    """Uneven and empty parts, all ways to the gradient, dropped layers, averaged weights; failures and locks too."""
    file = write(tmp_path, "all", GROUPS, RECIPE)
    found = study_file.load(str(file)).runs
    (failing,), (locked,) = ([run for run in found if run.lr > 1], [run for run in found if run.seed == 9])
    for count in (1, 2):
        out = tmp_path / str(count)
        with exclusive(out / locked.name):
            train(log, count, "study", "run", file, "--out", out)
        text = said(log)
        assert text.count("error: 1 runs failed:") == 1
        assert text.count(f"1 runs are being trained by other processes: {locked.name}") == 1
        assert text.count("exit code 1") == count
        assert text.count("report: ") == 1
        assert [path.parent.name for path in out.rglob("failure.txt")] == [failing.name]
    for run in set(found) - {failing, locked}:
        one, two = tmp_path / "1" / run.name, tmp_path / "2" / run.name
        for a, b in zip(history(one), history(two), strict=True):
            assert b["train_loss"] == pytest.approx(a["train_loss"], rel=1e-9)
            assert (a["train_error"], a["test_error"]) == (b["train_error"], b["test_error"])
        expected, weights = (torch.load(folder / runs.WEIGHTS, weights_only=True) for folder in (one, two))
        assert expected.keys() == weights.keys()
        for name, value in expected.items():
            torch.testing.assert_close(weights[name], value, rtol=1e-7, atol=1e-9)
    assert json.loads((two / "result.json").read_text())["hardware"]["processes"] == 2


def test_interrupted_then_one_of_two_killed_it_ends_with_the_bits_of_two_left_in_peace(log, tmp_path):
    file = write(tmp_path, "cut", GROUPS[2:3], {**RECIPE, "epochs": 4})
    (run,) = configs = study_file.load(str(file)).runs
    peace, out = tmp_path / "peace", tmp_path / "out"
    command = ["study", "run", file, "--checkpoint-every=2", "--out"]
    train(log, 2, *command, peace)
    said(log)

    def cut(groups, safe, number, *victims):
        wait_for(lambda: killed_study.positions(out, configs)[run] >= safe)
        for victim in victims:
            os.kill(victim, number)
        wait_for(lambda: ended(groups), 60)  # without the other, a process ends by itself
        assert not (out / run.name / "result.json").exists()
        return said(log)

    groups = start(log, 2, *command, out)
    text = cut(groups, 2, signal.SIGINT, *groups)  # as Ctrl-C: all of them
    assert text.count("interrupted: the same command goes on from the last checkpoints in") == 1
    assert text.count("exit code 130") == 2
    groups = start(log, 2, *command, out)
    cut(groups, 6, signal.SIGKILL, groups[1])
    groups = start(log, 2, *command, out)
    cut(groups, 10, signal.SIGKILL, groups[0])
    train(log, 2, *command, out)
    killed_study.compare(peace, out, configs)


@pytest.fixture
def group():
    """A group of this process alone."""
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def test_batch_norm_by_hand(group):
    """y = gamma (x - mean) / sqrt(var + eps) + beta, statistics over images and places (Ioffe & Szegedy 2015)."""
    torch.manual_seed(0)
    x = (3 + 2 * torch.randn(6, 4, 3, 3, dtype=torch.float64)).requires_grad_()
    norm = nn.BatchNorm2d(4, dtype=torch.float64)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.uniform_(-1, 1)
    norm.__class__ = together.GlobalBatchNorm
    found, weights = norm(x), torch.randn(6, 4, 3, 3, dtype=torch.float64)
    n = 6 * 3 * 3
    mean = sum(x[b, :, i, j] for b in range(6) for i in range(3) for j in range(3)) / n
    var = sum((x[b, :, i, j] - mean) ** 2 for b in range(6) for i in range(3) for j in range(3)) / n
    y = norm.weight[:, None, None] * (x - mean[:, None, None]) / torch.sqrt(var + 1e-5)[:, None, None]
    expected = y + norm.bias[:, None, None]
    torch.testing.assert_close(found, expected)
    inputs = x, norm.weight, norm.bias
    for a, b in zip(*(torch.autograd.grad((f * weights).sum(), inputs) for f in (found, expected)), strict=True):
        torch.testing.assert_close(a, b)
    torch.testing.assert_close(norm.running_mean, 0.1 * mean.detach())
    torch.testing.assert_close(norm.running_var, 0.9 + 0.1 * (var * n / (n - 1)).detach())
    assert norm.num_batches_tracked == 1
    norm.eval()
    assert torch.equal(norm(x), nn.functional.batch_norm(x, norm.running_mean, norm.running_var, *inputs[1:]))


def test_parts_cover_a_batch(monkeypatch):
    for size in (1, 2, 3, 7):
        monkeypatch.setattr(distributed, "get_world_size", lambda size=size: size)
        for count in (1, 6, 7, 8, 100):
            covered, sizes = [], []
            for rank in range(size):
                monkeypatch.setattr(distributed, "get_rank", lambda rank=rank: rank)
                own = list(range(count))[together.part(count)]
                covered += own
                sizes.append(len(own))
            assert covered == list(range(count))
            assert max(sizes) - min(sizes) <= 1


def test_several_runs_at_once_on_several_processes_each_are_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["run", "demo", "--jobs", "3", f"--out={tmp_path / 'out'}"]) == 2
    expected = "error: got --jobs 3 and 2 processes that train a run together, expected one of them\n"
    assert capsys.readouterr().err == expected
    assert not (tmp_path / "out").exists()
