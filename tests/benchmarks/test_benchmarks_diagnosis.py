import pytest
import torch

from odenets.benchmarks.common.errors import BenchmarkError
from odenets.benchmarks.speed import diagnosis

TASK = diagnosis.Task(channels=2, size=8, rounds=2)
pytestmark = pytest.mark.usefixtures("short_measurement")


def test_all_are_measured_beside_the_products_by_hand(monkeypatch):
    monkeypatch.setattr(diagnosis, "MANY", 2)
    rows = diagnosis.measure(TASK)
    names = [f"{what}, {dtype}" for dtype in ("float64", "float32") for what in ("J v", "Jᵀ w", "a layer")]
    assert list(dict.fromkeys(row.part for row in rows)) == names
    assert [row.pair for row in rows[-2:]] == ["its products by hand (A/A)", "odenets"]


def test_other_products_are_not_measured(monkeypatch):
    monkeypatch.setattr(diagnosis, "by_hand", lambda f, u: (torch.neg, torch.neg))
    with pytest.raises(BenchmarkError, match="J v, float64: the products differ"):
        diagnosis.measure(TASK)
