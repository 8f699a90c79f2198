"""The page on depth against accuracy: its table is what the committed results of the study say."""

import collections
import json
import pathlib
import re
import statistics

import pytest
from scipy.stats import t

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "depth-vs-accuracy.md").read_text(encoding="utf-8")
RESULTS = ROOT / "benchmarks" / "results" / "cpu-16"
#: depth, mean and deviation of euler and of lm with the number of seeds, mean difference and its interval
NUMBER = r"[-+]?\d+\.\d+"
CELL = rf"({NUMBER}) ± ({NUMBER}) \((\d)\)"
INTERVAL = rf"({NUMBER}) \(({NUMBER}) to ({NUMBER})\)"
ROWS = re.findall(rf"^\| (\d+) \| {CELL} \| {CELL} \| ({NUMBER})(?: \(({NUMBER}) to ({NUMBER})\))? \|$", PAGE, re.M)
#: scheme, depth, evaluations, its error; beside which scheme of which depth, their difference and its interval
OTHERS = re.findall(rf"^\| ([\w ().=-]+) \| (\d+) \| (\d+) \| {CELL} \| ([\w ]+) (\d+) \| {INTERVAL} \|$", PAGE, re.M)
#: what the page says of how coefficients are given
GIVEN = {"trained": "", "decayed_to_1": " (1 - k decayed)", 0.035: " (k = 0.035)"}


def runs(value):
    """(depth, scheme as the page calls it) -> seed -> a value of the result."""
    found = collections.defaultdict(dict)
    for path in RESULTS.glob("*/result.json"):
        run = json.loads(path.read_text())
        config = run["config"]
        scheme = config["scheme"] + GIVEN[config.get("coefficients", "trained")]
        found[config["depth"], scheme][config["seed"]] = run[value]
    return found


def errors():
    """Test errors in %."""
    return runs("final_test_error")


def said(values):
    """Mean, deviation and number as the page writes them."""
    return f"{statistics.mean(values):.2f}", f"{statistics.stdev(values):.2f}", str(len(values))


def difference(ours, theirs):
    """Mean of the paired differences and its 95 % interval by Student's t, as the page writes them."""
    pairs = [ours[seed] - theirs[seed] for seed in ours.keys() & theirs.keys()]
    mean, n = statistics.mean(pairs), len(pairs)
    half = t.ppf(0.975, n - 1) * statistics.stdev(pairs) / n**0.5
    return f"{mean:+.2f}", f"{mean - half:.2f}", f"{mean + half:.2f}"


def test_all_depths_are_in_the_table():
    assert {int(row[0]) for row in ROWS} == {depth for depth, scheme in errors() if scheme == "lm"}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"depth {row[0]}")
def test_a_row_is_what_the_results_say(row):
    depth, found = int(row[0]), errors()
    ours, theirs = found[depth, "lm"], found[depth, "euler"]
    assert said(list(theirs.values())) == row[1:4]
    assert said(list(ours.values())) == row[4:7]
    mean, *interval = difference(ours, theirs)
    assert mean == row[7]
    if ours != theirs:
        assert tuple(interval) == row[8:10]


def test_all_other_runs_are_in_the_other_table():
    done = {(str(depth), scheme) for depth, scheme in errors() if scheme not in {"euler", "lm"}}
    assert {(row[1], row[0]) for row in OTHERS} == done


@pytest.mark.parametrize("row", OTHERS, ids=lambda row: f"{row[0]}-{row[1]}")
def test_a_row_of_other_schemes_is_what_the_results_say(row):
    scheme, depth, evaluations, *cell, other, beside, mean, low, high = row
    found = errors()
    ours = found[int(depth), scheme]
    assert said(list(ours.values())) == tuple(cell)
    assert difference(ours, found[int(beside), other]) == (mean, low, high)
    assert set(runs("evaluations")[int(depth), scheme].values()) == {int(evaluations)}


def test_all_pairs_together_are_what_the_results_say():
    found = errors()
    pairs = [
        found[depth, "lm"][seed] - found[depth, "euler"][seed]
        for depth in (14, 20, 32)
        for seed in found[depth, "lm"].keys() & found[depth, "euler"].keys()
    ]
    mean, half = statistics.mean(pairs), t.ppf(0.975, len(pairs) - 1) * statistics.stdev(pairs) / len(pairs) ** 0.5
    interval = rf"\(95 % interval {-mean - half:.2f} to {-mean + half:.2f}\)"
    assert re.search(rf"Over the {len(pairs)} pairs .*? less by {-mean:.2f} % {interval}", PAGE, re.S)
