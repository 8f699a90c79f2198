import json
import re

import pytest
import torch

from odenets.benchmarks.common import paired_command, pairs
from odenets.benchmarks.common.errors import BenchmarkError
from odenets.benchmarks.speed import training_step

TASK = training_step.Task(depth=14, batch=4, rounds=2)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """Measured with one thread; the setting is this process's, which others use too."""
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)


def test_a_ratio_is_the_median_of_pairs():
    times = {"first": iter([9, 9, 1.0, 2.0, 4.0]), "other": iter([9, 9, 2.0, 2.0, 2.0])}
    row = pairs.compare("what", "pair", [lambda: next(times["first"]), lambda: next(times["other"])], 3)
    # 2/1, 2/2, 2/4
    assert (row.seconds, row.ratio) == ((2.0, 2.0), 1.0)
    assert "| 2000.0 | 2000.0 | 1.000 |" in str(row)


def test_both_steps_train_alike_and_are_measured():
    rows = training_step.measure(TASK)
    parts = [row.part for row in rows if row.pair == "the study's step"]
    assert parts == ["euler, fp32", "lm, fp32", "euler, bf16, channels_last", "lm, bf16, channels_last"]
    assert all(row.ratio > 0 for row in rows)


def test_another_network_is_not_measured(monkeypatch):
    """By hand with k of the wrong sign: the first loss is another."""
    whole = training_step.HandWritten.__init__

    def wrong(self, model):
        whole(self, model)
        for ks in self.ks:
            for k in ks:
                k.data.neg_()

    monkeypatch.setattr(training_step.HandWritten, "__init__", wrong)
    with pytest.raises(BenchmarkError, match="lm, fp32: losses differ"):
        training_step.rows_of(training_step.configuration("lm", "fp32", TASK), training_step.cifar_like(4), 2)


def test_the_page_says_whether_the_claim_holds(tmp_path, monkeypatch, capsys):
    ratios = iter([[1.0, 1.02], [1.01, 1.04]])

    def rows(module, what):
        names = ("by hand (A/A)", "the study's step")
        return [pairs.Row("lm, fp32", n, (1, 1), r, (1, 1)) for n, r in zip(names, next(ratios), strict=True)]

    monkeypatch.setattr(paired_command, "in_new_process", rows)
    monkeypatch.setattr(training_step, "at_once", lambda config, jobs: [100.0] * jobs)
    assert training_step.main(["--out", str(tmp_path)]) == 0
    assert "- at most 1.03 times the time of the hand-written step, got 1.020: holds" in capsys.readouterr().out
    assert training_step.main(["--out", str(tmp_path)]) == 1
    page = (tmp_path / "training_step.md").read_text()
    assert "got 1.040: does not hold" in page
    assert re.search(r"\| lm \| bf16 \| 100 \| 100, 100 \| 200 \|", page)
    assert json.loads((tmp_path / "training_step.json").read_text())["task"]["depth"] == 20
