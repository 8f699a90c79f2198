import dataclasses
import hashlib
import pathlib
import re

import pytest

from odenets.benchmarks.common.errors import ConfigError
from odenets.benchmarks.study import result
from odenets.benchmarks.study.config import AXES, LATER, RunConfig

ROOT = pathlib.Path(__file__).resolve().parents[2]

BASE = RunConfig(data="cifar10", depth=20, scheme="lm", seed=0, epochs=160)
OTHER = {
    "data": "digits",
    "depth": 14,
    "scheme": "euler",
    "seed": 1,
    "epochs": 10,
    "batch_size": 64,
    "lr": 0.05,
    "momentum": 0.8,
    "weight_decay": 5e-4,
    "precision": "bf16",
    "channels_last": True,
    "per_channel": True,
    "schedule": "one_cycle",
    "label_smoothing": 0.1,
    "coefficients": 0.0,
    "network": "cifar_resnext_8x64d",
    "survival": 0.8,
    "gradient": "checkpoint",
    "ema": 0.99,
}


def test_milestones_are_the_papers_at_160_epochs():
    assert BASE.milestones == (80, 120)


@pytest.mark.parametrize(("epochs", "milestones"), [(1, (1, 1)), (2, (1, 2)), (10, (5, 8)), (300, (150, 225))])
def test_milestones_scale_with_the_epochs(epochs, milestones):
    assert dataclasses.replace(BASE, epochs=epochs).milestones == milestones


def test_defaults_are_the_papers_recipe():
    assert (BASE.batch_size, BASE.lr, BASE.momentum, BASE.weight_decay) == (128, 0.1, 0.9, 1e-4)
    assert (BASE.precision, BASE.channels_last, BASE.per_channel) == ("fp32", False, False)


def test_the_hash_changes_with_every_field():
    assert set(OTHER) == {field.name for field in dataclasses.fields(RunConfig)}
    changed = {dataclasses.replace(BASE, **{name: value}).hash for name, value in OTHER.items()}
    assert len(changed | {BASE.hash}) == len(OTHER) + 1


def test_the_hash_is_that_of_sorted_json():
    text = (
        '{"batch_size": 128, "channels_last": false, "data": "cifar10", "depth": 20, "epochs": 160, "lr": 0.1, '
        '"momentum": 0.9, "per_channel": false, "precision": "fp32", "scheme": "lm", "seed": 0, "weight_decay": 0.0001}'
    )
    assert BASE.hash == hashlib.sha256(text.encode()).hexdigest()[:8]
    assert BASE.name == f"cifar10-lm-20-s0-{BASE.hash}"


def test_one_and_one_point_zero_are_the_same_run():
    whole = dataclasses.replace(BASE, lr=1)
    assert whole == dataclasses.replace(BASE, lr=1.0)
    assert whole.hash == dataclasses.replace(BASE, lr=1.0).hash


def test_runs_of_one_comparison_share_their_recipe_and_no_others():
    axes = {name: OTHER[name] for name in AXES}
    assert dataclasses.replace(BASE, **axes).recipe_name == BASE.recipe_name
    assert re.fullmatch(r"cifar10-160epochs-[0-9a-f]{8}", BASE.recipe_name)
    others = {dataclasses.replace(BASE, **{name: OTHER[name]}).recipe_name for name in set(OTHER) - set(axes)}
    assert len(others | {BASE.recipe_name}) == len(OTHER) - len(axes) + 1


def test_a_later_field_at_its_default_changes_no_name_and_is_read_without():
    """The names and hashes of the committed results, and their configurations, which do not have these fields."""
    paths = sorted((ROOT / "benchmarks" / "results" / "cifar10").glob("*/result.json"))
    assert len(paths) == 12
    assert len({result.read(path).config.recipe_name for path in paths}) == 1
    for path in paths:
        found = result.read(path)
        assert found.config.name == path.parent.name
        assert found.config.to_dict() == found.values["config"]
        assert not set(LATER) & set(found.values["config"])
        assert (found.config.schedule, found.config.label_smoothing, found.config.coefficients) == (
            "steps",
            0,
            "trained",
        )


@pytest.mark.parametrize(
    ("coefficients", "label", "fixed"),
    [
        ("trained", "lm", None),
        ("decayed_to_1", "lm (decayed_to_1)", None),
        (0, "lm (fixed at 0)", 0.0),
        (-0.25, "lm (fixed at -0.25)", -0.25),
    ],
)
def test_treatments_of_coefficients_are_told_apart(coefficients, label, fixed):
    run = dataclasses.replace(BASE, coefficients=coefficients)
    assert (run.label, run.fixed) == (label, fixed)
    assert RunConfig.from_dict(run.to_dict()) == run


def test_every_axis_but_depth_and_seed_is_told_by_the_label():
    run = dataclasses.replace(
        BASE, per_channel=True, survival=0.8, gradient="checkpoint", network="cifar_resnext_8x64d"
    )
    assert run.label == "lm (cifar_resnext_8x64d, per channel, survival 0.8, checkpoint)"
    labels = {dataclasses.replace(BASE, **{name: OTHER[name]}).label for name in AXES if name not in ("depth", "seed")}
    assert len(labels | {BASE.label}) == len(AXES) - 1


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("epochs", 0, "epochs: got 0, expected 1 or more"),
        ("batch_size", 0, "batch_size: got 0, expected 1 or more"),
        ("batch_size", 12.5, "batch_size: got 12.5, expected a value of type int"),
        ("depth", True, "depth: got True, expected a value of type int"),
        ("depth", "20", "depth: got '20', expected a value of type int"),
        ("seed", -1, "seed: got -1, expected 0 or more"),
        ("seed", 2**64, "expected 0 or more and below"),
        ("lr", 0, "lr: got 0.0, expected a finite number above 0"),
        ("lr", float("nan"), "lr: got nan, expected a finite number above 0"),
        ("lr", float("inf"), "lr: got inf, expected a finite number above 0"),
        ("momentum", 1.0, "momentum: got 1.0, expected at least 0 and below 1"),
        ("weight_decay", -1e-4, "weight_decay: got -0.0001, expected a finite number, 0 or more"),
        ("precision", "fp16", "precision: got 'fp16', expected one of fp32, bf16"),
        ("schedule", "cosine", "schedule: got 'cosine', expected one of steps, one_cycle"),
        ("label_smoothing", 1, "label_smoothing: got 1.0, expected at least 0 and below 1"),
        (
            "coefficients",
            "frozen",
            "coefficients: got 'frozen', expected a finite number or one of trained, decayed_to_0",
        ),
        ("coefficients", float("inf"), "coefficients: got inf, expected a finite number or one of trained"),
        ("coefficients", None, "coefficients: got None, expected a value of type float | str"),
        ("channels_last", 1, "channels_last: got 1, expected a value of type bool"),
        ("survival", 0, "survival: got 0.0, expected above 0 and at most 1"),
        ("survival", 1.5, "survival: got 1.5, expected above 0 and at most 1"),
        ("ema", 1.0, "ema: got 1.0, expected at least 0 and below 1"),
    ],
)
def test_a_value_that_cannot_be_is_named(name, value, complaint):
    with pytest.raises(ConfigError, match=re.escape(complaint)):
        dataclasses.replace(BASE, **{name: value})


def test_from_dict_is_the_inverse_of_to_dict_and_strict():
    assert RunConfig.from_dict(BASE.to_dict()) == BASE
    with pytest.raises(ConfigError, match=r"differs from the expected names in \['learning_rate', 'lr'\]"):
        RunConfig.from_dict({"learning_rate": 0.1} | {k: v for k, v in BASE.to_dict().items() if k != "lr"})
