"""Killing any process at any time loses at most what was done since the last checkpoint."""

import sys

import pytest
from killed_study import kill_study


@pytest.mark.skipif(sys.platform != "linux", reason="reads the processes of a group from /proc")
def test_twelve_runs_killed_at_five_random_moments_end_as_those_left_in_peace(tmp_path):
    hits = kill_study(tmp_path, kills=5, seeds=6)
    assert hits["the whole group"] + hits["the command"] + hits["a run"] >= 4, hits  # the last may come too late
