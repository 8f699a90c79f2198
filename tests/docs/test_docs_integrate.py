"""The page on integration: the times in its table are the committed results."""

import json
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "integrate.md").read_text(encoding="utf-8")
TIMES = json.loads((ROOT / "benchmarks" / "results" / "integrate" / "integrate.json").read_text())["times"]
ROWS = re.findall(r"^\| ([^|]+), batch (1|256) " + r"\| (\d[\d.]*) to (\d[\d.]*) " * 5 + r"\|$", PAGE, re.M)
#: what the page calls a problem, and in which order; a column: which passes, beside what, to how many digits
PROBLEMS = ("vdp", "vdp", "mlp", "mlp", "heat", "heat")
COLUMNS = (
    ("forward", "torchdiffeq", 2),
    ("forward", "torchdiffeq, f alone", 2),
    ("with gradients", "torchdiffeq", 2),
    ("forward", "diffrax, compiled", 1),
    ("with gradients", "diffrax, compiled", 1),
)


@pytest.mark.parametrize(
    ("problem", "row"), list(zip(PROBLEMS, ROWS, strict=True)), ids=lambda x: x if x in PROBLEMS else x[1]
)
def test_ratios_are_those_of_the_results(problem, row):
    for column, (way, pair, digits) in enumerate(COLUMNS):
        start = f"{problem}, batch {row[1]}, error "
        found = [
            one["ratio"]
            for one in TIMES
            if one["part"].startswith(start) and one["part"].endswith(way) and one["pair"] == pair
        ]
        said = row[2 + 2 * column : 4 + 2 * column]
        assert said == (f"{min(found):.{digits}f}", f"{max(found):.{digits}f}"), (row[:2], pair, way)
