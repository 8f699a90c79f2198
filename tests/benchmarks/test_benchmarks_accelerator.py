import json

import pytest
import torch

from odenets.benchmarks.accelerator import __main__ as command, passes, training_runs
from odenets.benchmarks.common.errors import BenchmarkError
from odenets.benchmarks.study import captured

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def torch_settings(monkeypatch):
    """The command sets torch up for its whole process, which is not this one."""
    monkeypatch.setattr(command.machine, "make_repeatable", lambda: None)


def test_without_cuda_it_says_so(tmp_path, capsys):
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    assert command.main([f"--out={tmp_path / 'out'}"]) == 2
    assert "--device: got cuda, but torch finds no CUDA device; use --device cpu" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_each_explicit_scheme_is_watched_in_every_way_to_its_gradients():
    watched = passes.watched()
    assert {("euler", "direct"), ("rk4", "checkpoint"), ("momentum", "reversible"), ("verlet", "reversible")} < {
        *watched
    }
    assert not {"backward_euler", "ars222", "ros2"} & {name for name, _ in watched}
    assert ("euler", "reversible") not in watched
    assert len(set(watched)) == len(watched)


def test_steps_of_the_engine_have_the_losses_of_the_trainer(monkeypatch):
    """On the CPU to the bit; a rate that is a half of what it should be would be seen on any device."""
    monkeypatch.setattr(training_runs, "STEPS", (("lm", "direct"),))
    assert training_runs.graphs(CPU) == {"worst": 0.0, "limit": 1e-2, "lm, direct": 0.0}
    rates = captured.schedule.rates
    monkeypatch.setattr(captured.schedule, "rates", lambda *args: rates(*args) / 2)
    with pytest.raises(BenchmarkError, match=r"lm, direct.* of 1, expected at most 0\.01"):
        training_runs.graphs(CPU)


def test_outputs_and_gradients_against_the_cpu_with_one_that_differs(monkeypatch):
    """Here the other device is the CPU as well; a copy whose weights are not the same is found."""
    assert passes.zoo(CPU, ["lm", "symplectic_euler", "backward_euler"])["worst"] == 0
    monkeypatch.setattr(
        passes.copy,
        "deepcopy",
        lambda net: passes.odenets.ODENet(passes.blocks(net.scheme, 5, 8, passes.smooth), net.scheme, h=0.3).double(),
    )
    with pytest.raises(BenchmarkError, match="'lm'"):
        passes.zoo(CPU, ["lm"])


def test_what_is_found_is_kept_and_a_check_that_fails_ends_no_other(tmp_path, monkeypatch, capsys):
    def breaks(device):
        raise RuntimeError("no kernel image is available")

    monkeypatch.setitem(command.CHECKS, "graphs", breaks)
    assert command.main(["--device=cpu", "--only", "graphs", "waits", f"--out={tmp_path}"]) == 1
    found = json.loads((tmp_path / "accelerator.json").read_text())
    assert found["device"] == "cpu"
    assert found["checks"]["graphs"]["failed"] == "RuntimeError: no kernel image is available"
    assert found["checks"]["waits"]["skipped"]
    assert "graphs: failed RuntimeError: no kernel image is available" in capsys.readouterr().out


def test_images_a_second_are_counted_over_all_runs(monkeypatch):
    monkeypatch.setattr(training_runs, "AT_ONCE", (2,))
    ticks = iter(range(100))
    monkeypatch.setattr(training_runs.time, "perf_counter", lambda: next(ticks))
    # 8 images, a second between two looks at the clock
    assert training_runs.speed(CPU) == {
        "euler, plain": 8.0,
        "euler, 2 at once": 16.0,
        "lm, plain": 8.0,
        "lm, 2 at once": 16.0,
    }
