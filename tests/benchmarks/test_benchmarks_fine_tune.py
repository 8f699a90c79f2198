"""A whole run of ``odenets bench fine_tune`` on the digits, what it checks, and that it goes on where it stopped."""

import json

import pytest
import torch
from torch import nn

from odenets.benchmarks.common.errors import BenchmarkError
from odenets.benchmarks.fine_tune import __main__ as fine_tune
from odenets.benchmarks.fine_tune.plain_resnet import resnet20

RATES = ["--lr", "0.05", "--fine-lr", "0.05"]
SMALL = ["--data-set", "digits", "--model", f"{__name__}:small", "--epochs", "1", "--fine-tune", "3", *RATES]


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x):
        return x + self.conv(torch.relu(x))


def small():
    stem = nn.Conv2d(1, 8, 2, stride=2)
    return nn.Sequential(stem, Small(), Small(), Small(), nn.Flatten(), nn.Linear(128, 10))


@pytest.fixture(autouse=True)
def as_before():
    """The command makes the process repeatable; the others here are not to be."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    fill, tf32 = torch.utils.deterministic.fill_uninitialized_memory, torch.backends.cudnn.allow_tf32
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)
    torch.utils.deterministic.fill_uninitialized_memory, torch.backends.cudnn.allow_tf32 = fill, tf32


def run(out, *options):
    return fine_tune.main([*SMALL, "--threads", "1", "--out", str(out), *options])


def numbers(out):
    return json.loads((out / "fine_tune.json").read_text())


def test_a_run_and_its_resumption(tmp_path, monkeypatch, capsys):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert run(whole, "--samples", "1") == 0
    values = numbers(whole)
    errors = values["test_errors"]
    assert errors["before"] == errors["right after the swap"]
    assert values["difference"] < 1e-6
    # Both fine-tunings learn: one image of the 500 is 0.2 %.
    assert max(list(errors.values())[2:]) < errors["before"] - 5
    before, after = values["learned_coefficients"].values()
    assert all(record["value"] == 0 for record in before)
    assert all(record["value"] != 0 for record in after)
    page = (whole / "fine_tune.md").read_text()
    assert all(f"| {name} | {error:.2f} |" in page for name, error in errors.items())
    assert {"learned-k.png", "diagnosis-before.png", "diagnosis-after.png"} <= {p.name for p in whole.iterdir()}

    # Stopped within the fine-tuning; the rest is not trained again, and ends with the same numbers.
    train = fine_tune.train

    def interrupted(model, phase, data, out):
        if phase.phase == "control":
            raise KeyboardInterrupt
        return train(model, phase, data, out)

    monkeypatch.setattr(fine_tune, "train", interrupted)
    assert run(cut, "--samples", "0") == fine_tune.INTERRUPTED
    monkeypatch.setattr(fine_tune, "train", train)
    assert run(cut, "--samples", "0") == 0
    assert numbers(cut)["test_errors"] == errors
    assert numbers(cut)["learned_coefficients"] == values["learned_coefficients"]


def test_the_control_sees_the_same_images_in_the_same_order():
    options = fine_tune.parse(SMALL)
    first, swapped, control = fine_tune.phases(options, 4)
    differ = {name for name, value in swapped.to_dict().items() if control.to_dict()[name] != value}
    assert differ == {"scheme", "phase"}
    assert first.seed != control.seed


def test_the_plain_network_is_plain():
    model = resnet20()
    stem, stage1 = 3 * 16 * 9, 3 * (2 * 16 * 16 * 9 + 4 * 16)
    stage2 = (16 + 32) * 32 * 9 + 2 * (16 + 32) + 16 * 32 + 2 * (2 * 32 * 32 * 9 + 4 * 32)
    stage3 = (32 + 64) * 64 * 9 + 2 * (32 + 64) + 32 * 64 + 2 * (2 * 64 * 64 * 9 + 4 * 64)
    assert sum(p.numel() for p in model.parameters()) == stem + stage1 + stage2 + stage3 + 2 * 64 + 65 * 10
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 10)
    with pytest.raises(ValueError, match="got 15, expected 6n"):
        resnet20(depth=15)


def test_a_scheme_that_is_another_function_is_refused(tmp_path, capsys):
    assert run(tmp_path, "--scheme", "ab2", "--samples", "0") == fine_tune.USER_ERROR
    assert "the swapped network is another function" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--scheme", "lmm"], "unknown scheme 'lmm'"),
        (["--model", "torch.nn:Nothing"], "expected a name that can be imported"),
        (["--samples", "-1"], "--samples: got -1"),
    ],
)
def test_mistakes(options, words, tmp_path, capsys):
    assert run(tmp_path, *options) == fine_tune.USER_ERROR
    assert words in capsys.readouterr().err


def test_other_outputs_are_refused():
    x = torch.randn(5, 3)
    assert fine_tune.compare(x, x) == 0
    with pytest.raises(BenchmarkError, match="is another function"):
        fine_tune.compare(x, x + 0.01)
    with pytest.raises(BenchmarkError):
        fine_tune.compare(x, x * float("nan"))


def test_errors_in_per_cent():
    assert fine_tune.error(nn.functional.one_hot(torch.tensor([0, 1, 0, 0])), torch.tensor([0, 1, 1, 1])) == 50
