"""The timing of modified equations: what it counts and how it tells a failed claim."""

import json

from odenets.benchmarks.speed import series


def test_a_worker_counts_every_coefficient(capsys):
    assert series.main(["--worker", "odenets", "rk4", "5"]) == 0
    seconds, count = json.loads(capsys.readouterr().out)
    assert count == 1 + 1 + 2 + 4 + 9
    assert seconds >= 0  # a coarse clock may show none


def test_the_table_says_whether_the_claim_holds_for_every_sample():
    row = {"package": "odenets", "scheme": "lm", "order": 6, "count": 37}
    held = series.table([row | {"seconds": [0.3, 0.4]}])
    missed = series.table([row | {"seconds": [0.3, 1.6]}])
    assert "| 0.3000 | 0.3000, 0.4000 | < 1.5 s: holds |" in held
    assert "FAILS" in missed
    assert "< 1.5 s" not in series.table([row | {"package": "kauri", "seconds": [0.3]}])
