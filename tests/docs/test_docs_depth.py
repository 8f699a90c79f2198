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
ROWS = re.findall(rf"^\| (\d+) \| {CELL} \| {CELL} \| ({NUMBER})(?: \(({NUMBER}) to ({NUMBER})\))? \|$", PAGE, re.M)


def errors():
    """(depth, scheme) -> seed -> test error in %, of runs whose coefficients are trained as they are."""
    found = collections.defaultdict(dict)
    for path in RESULTS.glob("*/result.json"):
        run = json.loads(path.read_text())
        config = run["config"]
        if config.get("coefficients", "trained") == "trained":
            found[config["depth"], config["scheme"]][config["seed"]] = run["final_test_error"]
    return found


def test_all_depths_are_in_the_table():
    assert {int(row[0]) for row in ROWS} == {depth for depth, scheme in errors() if scheme == "lm"}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"depth {row[0]}")
def test_a_row_is_what_the_results_say(row):
    depth, found = int(row[0]), errors()
    for scheme, (mean, deviation, count) in (("euler", row[1:4]), ("lm", row[4:7])):
        own = list(found[depth, scheme].values())
        assert [f"{f(own):.2f}" for f in (statistics.mean, statistics.stdev)] == [mean, deviation]
        assert len(own) == int(count)
    ours, theirs = found[depth, "lm"], found[depth, "euler"]
    pairs = [ours[seed] - theirs[seed] for seed in ours.keys() & theirs.keys()]
    mean, n = statistics.mean(pairs), len(pairs)
    assert f"{mean:+.2f}" == row[7]
    if any(abs(pair) > 1e-9 for pair in pairs):
        # Student's t of paired differences.
        half = t.ppf(0.975, n - 1) * statistics.stdev(pairs) / n**0.5
        assert (f"{mean - half:.2f}", f"{mean + half:.2f}") == row[8:10]


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
