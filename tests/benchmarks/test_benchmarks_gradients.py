import pytest
import torch

from odenets.benchmarks.common import paired_command, pairs
from odenets.benchmarks.common.errors import BenchmarkError
from odenets.benchmarks.speed import gradients, startup

TASK = gradients.Task(depth=4, channels=2, size=4, batch=1, rounds=2)

pytestmark = pytest.mark.usefixtures("short_measurement")


def test_all_ways_have_the_same_gradient_and_are_measured():
    rows = gradients.measure(TASK)
    assert len(rows) == 5 + 3
    assert {row.pair for row in rows} >= {"by hand, checkpoint", "torch, checkpoint_sequential", *gradients.BOUNDS}
    assert len(gradients.claims(rows)) == 3  # checkpoint of both schemes, reversible of leapfrog


def test_another_network_is_not_measured():
    blocks = gradients.layers(TASK)
    runs = {**gradients.ours(blocks, "leapfrog", "direct"), **gradients.ours(blocks, "euler", "checkpoint")}
    with pytest.raises(BenchmarkError, match="odenets, direct and odenets, checkpoint differ"):
        gradients.rows_of("leapfrog", runs, torch.randn(1, 2, 4, 4), 2)


def test_what_is_claimed_of_the_start_is_seconds_and_ratios(tmp_path, monkeypatch, capsys):
    def rows(module, what):
        imports = [pairs.Row("imports", code, (2.0, 2.2), 1.1, (1, 1)) for code in startup.IMPORTS]
        return [*imports, *(pairs.Row("commands", name, (2.0, 1.0), 0.5, (1, 1)) for name in startup.COMMANDS)]

    monkeypatch.setattr(paired_command, "in_new_process", rows)
    assert startup.main(["--out", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "- import odenets: at most 1.15 times import torch, got 1.10: holds" in said
    assert "- odenets --help: at most 0.3 s, got 1.00: does not hold" in said
    assert "- odenets schemes: at most 1.5 s, got 1.00: holds" in said


def test_the_processor_time_of_a_process_is_its_own():
    # A process takes some milliseconds to start, and this one a tenth of a second more.
    busy = startup.processor_time(["-c", "import time\nwhile time.process_time() < 0.1: pass"])
    assert 0.1 <= busy() < 5
