import os

import pytest
import torch

from odenets.benchmarks.common import pairs


@pytest.fixture
def short_measurement(monkeypatch):
    """Measured in a short time, with threads and cores left alone: they are this process's, which other tests use."""
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)
    monkeypatch.setattr(os, "sched_setaffinity", lambda process, cores: None, raising=False)
    monkeypatch.setattr(pairs, "SAMPLE", 0.0)
