import json

import numpy as np
import pytest

from odenets.benchmarks.common.errors import ResultError
from odenets.benchmarks.study import result
from odenets.benchmarks.study.config import RunConfig
from odenets.benchmarks.study.report import page as report
from odenets.benchmarks.study.report import tables as summary


def values(depth=8, scheme="euler", seed=0, errors=(9.0, 4.0, 5.0), **changes):
    config = RunConfig(data="digits", depth=depth, scheme=scheme, seed=seed, epochs=len(errors), **changes)
    records = [
        {"epoch": i + 1, "train_loss": 0.5, "train_error": 3.0, "test_error": error, "seconds": 2.0}
        for i, error in enumerate(errors)
    ]
    learned = [
        {"stage": 0, "layer": n, "symbol": "k", "value": -0.1 * n, "effective_step": 1.0, "zero_stable": True}
        for n in (1, 2)
    ]
    return {
        "format": 1,
        "config": config.to_dict(),
        "config_hash": config.hash,
        "epochs": records,
        "final_test_error": errors[-1],
        "best_test_error": min(errors),
        "learned_coefficients": learned if scheme == "lm" else [],
        "parameters": 77_658,
        "evaluations": 3,
        "seconds": 6.0,
        "versions": {"python": "3.12.0", "torch": "2.13.0"},
        "hardware": {"processor": "Abacus 3000", "threads": 2},
        "date": "2024-01-02T03:04:05+00:00",
        "command": f"odenets study run s{seed}.yaml",
    }


def put(out, content):
    name = RunConfig(**content["config"]).name if isinstance(content, dict) and "config" in content else "foreign"
    path = out / name / "result.json"
    path.parent.mkdir(parents=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_mean_and_sample_deviation_by_hand_and_by_numpy():
    # (1 + 2 + 6) / 3 = 3, deviations -2, -1, 3: sqrt((4 + 1 + 9) / 2) = sqrt(7).
    mean, std = summary.mean_std([1.0, 2.0, 6.0])
    assert (mean, std) == (3.0, pytest.approx(7**0.5))
    assert std == pytest.approx(np.std([1.0, 2.0, 6.0], ddof=1))
    assert summary.show([1.0, 2.0, 6.0]) == "3.00 ± 2.65"
    assert summary.mean_std([4.0]) == (4.0, None)
    assert summary.show([4.0]) == "4.00"


def test_the_table_by_hand(tmp_path):
    for seed, final in enumerate((1.0, 2.0, 6.0)):
        put(tmp_path, values(depth=8, scheme="euler", seed=seed, errors=(9.0, 0.5, final)))
    put(tmp_path, values(depth=14, scheme="lm", seed=0))
    table = summary.error_table(summary.cells(result.read_all(tmp_path)))
    assert table.splitlines() == [
        "| depth |             euler |         lm |",
        "|------:|------------------:|-----------:|",
        "|     8 | 3.00 ± 2.65 (n=3) |            |",
        "|    14 |                   | 5.00 (n=1) |",
    ]
    costs = summary.cost_table(summary.cells(result.read_all(tmp_path))).splitlines()
    assert costs[2].replace(" ", "") == "|8|euler|3|77,658|3|6.0±0.0|0.50±0.00|"


def test_recipes_are_never_averaged(tmp_path):
    put(tmp_path, values(errors=(1.0, 1.0)))
    put(tmp_path, values(errors=(3.0, 3.0, 3.0)))
    put(tmp_path, values(errors=(5.0, 5.0), lr=0.2))
    shown = report.write(result.read_all(tmp_path), tmp_path)
    assert all(f"|     8 | {error}.00 (n=1) |" in shown for error in (1, 3, 5))
    assert len(list(tmp_path.glob("depth_error-*.png"))) == 3


def test_the_report_has_its_tables_figures_and_origin(tmp_path):
    for depth in (8, 14):
        for scheme in ("euler", "lm"):
            for seed in (0, 1):
                put(tmp_path, values(depth, scheme, seed, errors=(9.0, 3.0 + seed, 4.0 + seed)))
    shown = report.write(result.read_all(tmp_path), tmp_path)
    assert "4.50 ± 0.71 (n=2)" in shown
    text = (tmp_path / "report.md").read_text()
    for expected in (
        "4.50 ± 0.71 (n=2)",
        "processor Abacus 3000, threads 2",
        "torch 2.13.0",
        "`odenets study run s1.yaml`",
        "lr 0.1, momentum 0.9",
        "after epochs 2 and 3",
    ):
        assert expected in text
    name = RunConfig(data="digits", depth=8, scheme="lm", seed=0, epochs=3).recipe_name
    for kind in ("depth_error", "learning_curves", "learned_coefficients"):
        assert f"({kind}-{name}.png)" in text
        assert (tmp_path / f"{kind}-{name}.png").read_bytes().startswith(b"\x89PNG")
    assert not list(tmp_path.rglob("*.partial"))


def test_the_depth_error_figure_shows_means_and_deviations(tmp_path):
    for depth, finals in ((8, (4.0, 6.0)), (14, (1.0, 2.0))):
        for seed, final in enumerate(finals):
            put(tmp_path, values(depth, seed=seed, errors=(9.0, final)))
    figure = report.draw(result.read_all(tmp_path))["depth_error"]
    axes = figure.axes[0]
    (container,) = axes.containers
    line, _, (bars,) = container.lines
    np.testing.assert_allclose(line.get_xydata(), [[8, 5.0], [14, 1.5]])
    spans = [segment[:, 1] for segment in bars.get_segments()]
    np.testing.assert_allclose(spans, [[5 - 2**0.5, 5 + 2**0.5], [1.5 - 0.5**0.5, 1.5 + 0.5**0.5]])
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    assert left < line.get_xydata()[:, 0].min() < line.get_xydata()[:, 0].max() < right
    assert 0 <= bottom < np.min(spans) < np.max(spans) < top < 10
    assert axes.get_ylabel() == "test error, %"
    assert axes.get_xlabel() == "depth, layers"


def test_schemes_of_equal_error_do_not_hide_each_other(tmp_path):
    for scheme in ("euler", "lm"):
        for depth in (8, 14):
            put(tmp_path, values(depth, scheme))
    axes = report.draw(result.read_all(tmp_path))["depth_error"].axes[0]
    euler, lm = (axes.transData.transform(container.lines[0].get_xydata()) for container in axes.containers)
    assert (lm[:, 0] - euler[:, 0] > 3).all()
    np.testing.assert_allclose(axes.containers[0].lines[0].get_xydata()[:, 0], [8, 14], atol=0.1)


def test_without_learned_coefficients_there_is_no_figure_of_them(tmp_path):
    put(tmp_path, values(scheme="euler"))
    assert set(report.draw(result.read_all(tmp_path))) == {"depth_error", "learning_curves"}


def test_each_learned_coefficient_has_its_figure(tmp_path):
    put(tmp_path, values(scheme="lm"))
    other = values(scheme="in_resnet")
    other["learned_coefficients"] = [
        record | {"symbol": "lam"} for record in values(scheme="lm")["learned_coefficients"]
    ]
    put(tmp_path, other)
    figures = report.draw(result.read_all(tmp_path))
    assert {"learned_coefficients_k", "learned_coefficients_lam"} <= set(figures)
    labels = [text.get_text() for text in figures["learned_coefficients_lam"].axes[0].get_legend().get_texts()]
    assert labels == ["in_resnet-8, seed 0"]


def damaged(**changes):
    return values() | changes


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "Expecting value"),
        (json.dumps(values())[:-40], "result of this benchmark"),
        ("[]", "TypeError"),
        ('{"format": NaN}', "NaN is no JSON"),
        ({"format": 2}, "its format is 2, expected 1"),
        ({"loss": 3}, "KeyError: 'format'"),
        (damaged(config_hash="00000000"), "its hash is '00000000', its configuration has"),
        (damaged(config=values()["config"] | {"lr": -1.0}), "lr: got -1.0"),
        (damaged(epochs=values()["epochs"][:2]), "it has 2 epochs, its configuration 3"),
        (damaged(final_test_error=4.0), "its final_test_error is 4.0, its epochs say 5.0"),
        (damaged(best_test_error=5.0), "its best_test_error is 5.0, its epochs say 4.0"),
        (damaged(parameters=None), "its parameters is None, expected int"),
        (damaged(parameters=-1), "its parameters is -1, expected int"),
        (damaged(evaluations=True), "its evaluations is True, expected int"),
        (damaged(command=["a"]), "its command is .*, expected str"),
        (damaged(hardware="x"), "its hardware is 'x', expected dict"),
        (damaged(learned_coefficients=5), "its learned_coefficients is 5, expected list"),
        (damaged(learned_coefficients=[{}]), "it has a learned coefficient"),
        (damaged(learned_coefficients=["x"]), "it has a learned coefficient"),
        (damaged(seconds="6"), "its seconds is '6', expected a finite number"),
        (json.dumps(values()).replace("0.5", "1e999", 1), "its train_loss is inf, expected a finite number"),
        ({k: v for k, v in values().items() if k != "hardware"}, r"it lacks \['hardware'\]"),
    ],
)
def test_a_damaged_or_foreign_result_is_one_error_naming_it(tmp_path, content, complaint):
    put(tmp_path, values(seed=1))
    path = tmp_path / "bad" / "result.json"
    path.parent.mkdir()
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(ResultError, match=complaint) as caught:
        result.read_all(tmp_path)
    assert str(caught.value).startswith(f"{path} is not a whole result of this benchmark (")
    assert "\n" not in str(caught.value)


def test_copies_and_different_networks_are_not_averaged(tmp_path):
    put(tmp_path, values())
    copy = tmp_path / "copy" / "result.json"
    copy.parent.mkdir()
    copy.write_text(json.dumps(values()))
    with pytest.raises(ResultError, match="2 results with repeated seeds"):
        report.write(result.read_all(tmp_path), tmp_path)
    copy.write_text(json.dumps(values(seed=1) | {"parameters": 77_659}))
    with pytest.raises(ResultError, match="expected the same in all"):
        report.write(result.read_all(tmp_path), tmp_path)


def test_nothing_to_report(tmp_path):
    with pytest.raises(ResultError, match="no finished run"):
        result.read_all(tmp_path / "nowhere")
