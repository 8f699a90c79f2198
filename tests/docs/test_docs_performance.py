"""The page on time: every ratio in its tables is one of the committed results."""

import json
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
#: A section: the file of its results, and the text up to the next one.
SECTIONS = re.findall(r"\[results\]\(\.\./(benchmarks/results/\S+?)\.md\)(.*?)(?=\[results\]|\n## |\Z)", PAGE, re.S)
ROW = re.compile(r"^\| (?P<part>[^|]+?) \| (?P<pair>[^|]+?) \| (?P<ratio>\d+\.\d+) \|", re.M)


@pytest.mark.parametrize(("file", "text"), SECTIONS, ids=[file.rpartition("/")[2] for file, _ in SECTIONS])
def test_ratios_are_those_of_the_results(file, text):
    found = {
        (row["part"], row["pair"]): row["ratio"] for row in json.loads((ROOT / f"{file}.json").read_text())["rows"]
    }
    said = ROW.findall(text)
    assert said
    for part, pair, ratio in said:
        assert f"{found[part, pair]:.2f}" == ratio, (part, pair)


def test_the_benchmarks_of_speed_that_have_results_are_on_the_page():
    speed = {path.stem for path in (ROOT / "benchmarks" / "speed").glob("*.py")}
    measured = {path.stem for path in (ROOT / "benchmarks" / "results").glob("*/*.json")}
    assert {file.rpartition("/")[2] for file, _ in SECTIONS} >= (speed & measured) - {"series"}
    assert len(SECTIONS) >= 4
