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


STIFF = json.loads((ROOT / "benchmarks" / "results" / "stiff" / "stiff.json").read_text())
STIFF_PROBLEMS = {
    "van_der_pol": "van der Pol, mu = 1000",
    "robertson": "Robertson",
    "oregonator": "Oregonator",
    "hires": "HIRES",
    "brusselator": "Brusselator, 1,000 equations",
}


def spread(values, digits):
    """From the least to the largest of some numbers."""
    ends = [f"{float(f'{value:.{digits}g}'):g}" for value in (min(values), max(values))]
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)


def stiff_rows():
    """The table's rows: of each problem, each of our schemes, and scipy's two."""
    counts, gradients = (STIFF[name][1:] for name in STIFF if name.startswith(("Steps", "Gradients")))
    own = list(dict.fromkeys(line[2] for line in gradients))
    for problem, title in STIFF_PROBLEMS.items():
        known = {(line[1], line[2]): (float(line[4]), float(line[-1])) for line in counts if line[0] == problem}
        tolerances = list(dict.fromkeys(tolerance for tolerance, _ in known))
        for scheme in (*own, "scipy's Radau", "scipy's BDF"):
            calls = [known[t, scheme][0] / known[t, "scipy's Radau"][0] for t in tolerances]
            errors = [known[t, scheme][1] for t in tolerances]
            times = [r["ratio"] for r in STIFF["rows"] if r["part"].startswith(problem) and r["pair"] == scheme]
            slopes = [f"{float(line[-1]):.0e}" for line in gradients if (line[0], line[2]) == (problem, scheme)]
            cells = [title, scheme, spread(calls, 2), spread(times, 2) if times else "", spread(errors, 1)]
            yield f"| {' | '.join([*cells, ', '.join(slopes)])} |"


def test_the_table_of_stiff_problems_is_that_of_the_results():
    rows = list(stiff_rows())
    assert len(rows) == 5 * len(STIFF_PROBLEMS)
    assert [row for row in rows if row not in PAGE.splitlines()] == []
