import json

import pytest
import torch

from odenets.benchmarks.common import paired_command, pairs
from odenets.benchmarks.common.errors import BenchmarkError
from odenets.benchmarks.speed import overhead

TASK = overhead.Task(steps=5, batch=2, rounds=2)

pytestmark = pytest.mark.usefixtures("short_measurement")


def test_all_are_measured_beside_themselves_and_the_network():
    rows = overhead.measure(TASK)
    parts = [case.part for case in overhead.cases()]
    assert [(row.part, row.pair) for row in rows] == [(p, who) for p in parts for who in ("by hand (A/A)", "odenets")]
    assert all(row.ratio > 0 for row in rows)


def test_a_sample_is_as_long_as_it_is_said_to_be(monkeypatch):
    monkeypatch.setattr(pairs, "SAMPLE", 0.02)
    work = torch.ones(20)
    times = pairs.often(lambda: work + 1)
    assert times >= 1000
    assert times * pairs.timed(lambda: work + 1, times)() > 0.01


def test_another_loop_is_not_measured(monkeypatch):
    monkeypatch.setitem(overhead.HAND, "lm", overhead.euler)
    lm = next(case for case in overhead.cases() if case.scheme == "lm")
    with pytest.raises(BenchmarkError, match="lm, forward: the network and the loop differ"):
        overhead.rows_of(lm, TASK)


def test_the_page_says_which_claims_hold(tmp_path, monkeypatch, capsys):
    ratios = iter([1.0, 1.04])

    def rows(module, what):
        ratio = next(ratios)
        return [pairs.Row(case.part, "odenets", (1, 1), ratio, (1, 1)) for case in overhead.cases()]

    monkeypatch.setattr(paired_command, "in_new_process", rows)
    assert overhead.main(["--out", str(tmp_path)]) == 0
    assert "- euler, forward: at most 1.05, got 1.000: holds" in capsys.readouterr().out
    assert overhead.main(["--out", str(tmp_path)]) == 1
    page = (tmp_path / "overhead.md").read_text()
    assert "- euler, forward: at most 1.05, got 1.040: holds" in page
    assert "- lm, with backward: at most 1.03, got 1.040: does not hold" in page
    assert "evaluation: at most" not in page
    assert json.loads((tmp_path / "overhead.json").read_text())["task"]["steps"] == 32
