"""The report of a folder: its tables, figures, text and page; and results that cannot stand in one."""

import base64
import json
import re

import numpy as np
import pytest
from made_up_results import put, values, with_k
from matplotlib.colors import to_hex

from odenets.benchmarks.common.errors import ResultError
from odenets.benchmarks.study import result
from odenets.benchmarks.study.config import RunConfig
from odenets.benchmarks.study.costs import Cost
from odenets.benchmarks.study.report import html, page, section, tables
from odenets.benchmarks.study.report.cells import cells
from odenets.benchmarks.study.report.looks import looks

#: k_n of depth 20: three stages of three layers.
SAWTOOTH = [[0.2, -0.1], [0.5, -0.2], [0.6, -0.75]]


def figures(tmp_path, costs=None):
    """The figures of the results in a folder, by kind."""
    found = result.read_all(tmp_path)
    drawn = section.pictures(section.content(found, costs or {}), looks(run.config.label for run in found))
    return {picture.kind: picture.figure for own in drawn.values() for picture in own}


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_the_table_by_hand(tmp_path):
    # (1 + 2 + 6) / 3 = 3, deviations -2, -1, 3: sqrt((4 + 1 + 9) / 2) = sqrt(7).
    for seed, final in enumerate((1.0, 2.0, 6.0)):
        put(tmp_path, values(depth=8, scheme="euler", seed=seed, errors=(9.0, 0.5, final)))
    put(tmp_path, values(depth=14, scheme="lm", seed=0))
    assert tables.errors(cells(result.read_all(tmp_path))).splitlines() == [
        "| depth |             euler |         lm |",
        "|------:|------------------:|-----------:|",
        "|     8 | 3.00 ± 2.65 (n=3) |            |",
        "|    14 |                   | 5.00 (n=1) |",
    ]
    costs = tables.costs(cells(result.read_all(tmp_path)), {}).splitlines()
    assert costs[2].replace(" ", "") == "|8|euler|3|77,658|3|6.0±0.0|0.50±0.00|"


def test_recipes_are_never_averaged(tmp_path):
    put(tmp_path, values(errors=(1.0, 1.0)))
    put(tmp_path, values(errors=(3.0, 3.0, 3.0)))
    put(tmp_path, values(errors=(5.0, 5.0), lr=0.2))
    shown = page.write(result.read_all(tmp_path), tmp_path)
    assert all(f"|     8 | {error}.00 (n=1) |" in shown for error in (1, 3, 5))
    assert len(list(tmp_path.glob("depth_error-*.png"))) == 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A report of two schemes, depths and seeds, of which lm at depth 20 is to be seen over its epochs."""
    out = tmp_path_factory.mktemp("report")
    for depth in (14, 20):
        for seed in (0, 1):
            put(out, values(depth, "euler", seed, errors=(9.0, 3.0 + seed, 4.0 + seed)))
            k = SAWTOOTH if depth == 20 else [[0.1], [0.2], [0.3]]
            put(out, with_k(values(depth, "lm", seed, errors=(9.0, 2.5 + seed, 3.5 + 1.2 * seed)), k))
    waiting = RunConfig("digits", 20, "rk4", 0, 3)
    runs = [{"name": run.parent.name} for run in out.glob("*/result.json")] + [{"name": waiting.name}]
    study = {"name": "demo", "title": "Is <lm> better?", "runs": runs}
    (out / "study-demo.json").write_text(json.dumps(study))
    (out / waiting.name).mkdir()
    (out / waiting.name / "failure.txt").write_text("the loss is <nan>\n")
    return out, page.write(result.read_all(out), out)


def test_the_report_has_its_tables_figures_and_origin(folder):
    out, shown = folder
    assert "4.50 ± 0.71 (n=2)" in shown
    assert shown.splitlines()[-1] == f"report: {out / 'report.html'}"
    text = (out / "report.md").read_text()
    for expected in (
        "# Is &lt;lm&gt; better?",
        "4.50 ± 0.71 (n=2)",
        "Depth 14: lm errs less than euler by 0.40 (95 % interval",
        "1 of the 9 runs of study demo are not finished",
        "failed: the loss is &lt;nan&gt;",
        f"`odenets study plan demo --out {out}` does that",
        "processor Abacus 3000, threads 2",
        "torch 2.13.0",
        "`odenets study run s1.yaml`",
        "lr 0.1, momentum 0.9",
        "after epochs 2 and 3",
    ):
        assert expected in text
    name = RunConfig(data="digits", depth=8, scheme="lm", seed=0, epochs=3).recipe_name
    kinds = ["depth_error", "work_error", "learning_curves", "learned_coefficients"]
    kinds += ["coefficients_over_epochs-lm", "effective_depth", "effective_depth_over_epochs"]
    assert re.findall(rf"\((\S+)-{name}\.png\)", text) == kinds
    assert all((out / f"{kind}-{name}.png").read_bytes().startswith(b"\x89PNG") for kind in kinds)
    assert not list(out.rglob("*.partial"))


def test_the_page_is_one_file_that_loads_and_runs_nothing(folder):
    out, _ = folder
    text = (out / "report.html").read_text()
    sources = re.findall(r'src="([^"]*)"', text)
    assert len(sources) == 7
    for kind, source in zip(re.findall(r"\((\S+\.png)\)", (out / "report.md").read_text()), sources, strict=True):
        assert base64.b64decode(source.removeprefix("data:image/png;base64,")) == (out / kind).read_bytes()
    assert not re.search(r"<script|<link|@import|url\(|https?://|<lm>|<nan>", text)
    assert text.count('<div class="table" tabindex="0"><table>') == text.count("</table></div>") == 4
    assert "<title>Is &lt;lm&gt; better?</title>" in text
    assert "| depth |" not in text


def test_a_figure_is_as_wide_on_the_page_as_on_paper(tmp_path):
    # Of a PNG of 300 points at 150 an inch: 2 inches, which are 192 points of CSS. Width and height stand at byte 16.
    png = b"\x89PNG\r\n\x1a\n" + (13).to_bytes(4, "big") + b"IHDR" + (300).to_bytes(4, "big") + (75).to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(png)
    assert 'width="192"' in html.page("T", "![a](a.png)", tmp_path)


def test_the_depth_error_figure_shows_means_and_deviations(tmp_path):
    for depth, finals in ((8, (4.0, 6.0)), (14, (1.0, 2.0))):
        for seed, final in enumerate(finals):
            put(tmp_path, values(depth, seed=seed, errors=(9.0, final)))
    axes, sizes = figures(tmp_path)["depth_error"].axes
    (container,) = axes.containers
    line, _, (bars,) = container.lines
    np.testing.assert_allclose(line.get_xydata(), [[8, 5.0], [14, 1.5]])
    spans = [segment[:, 1] for segment in bars.get_segments()]
    np.testing.assert_allclose(spans, [[5 - 2**0.5, 5 + 2**0.5], [1.5 - 0.5**0.5, 1.5 + 0.5**0.5]])
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    assert left < line.get_xydata()[:, 0].min() < line.get_xydata()[:, 0].max() < right
    assert 0 <= bottom < np.min(spans) < np.max(spans) < top < 10
    assert axes.get_ylabel() == "test error, %"
    assert (axes.get_xlabel(), sizes.get_xlabel()) == ("depth, layers", "parameters, thousands")


def test_schemes_of_equal_error_do_not_hide_each_other(tmp_path):
    for scheme in ("euler", "lm"):
        for depth in (8, 14):
            put(tmp_path, values(depth, scheme))
    for axes in figures(tmp_path)["depth_error"].axes:
        euler, lm = (axes.transData.transform(container.lines[0].get_xydata()) for container in axes.containers)
        assert (lm[:, 0] - euler[:, 0] > 3).all()
    np.testing.assert_allclose(axes.containers[0].lines[0].get_xydata()[:, 0], 77.658, atol=0.1)


def test_a_label_looks_the_same_in_all_figures(folder):
    out, _ = folder
    drawn = figures(out)
    for kind in ("depth_error", "work_error", "learning_curves", "learned_coefficients", "effective_depth"):
        handles = dict(zip(legend(drawn[kind]), drawn[kind].legends[0].legend_handles, strict=True))
        assert to_hex(np.atleast_1d(handles["lm"].get_color())[0]) == "#d55e00"
    assert looks(["rk4", "ab2"])["lm"] == looks(["lm"])["lm"]


def test_measured_steps_add_time_and_memory(tmp_path):
    for depth in (8, 14):
        put(tmp_path, values(depth, "euler"))
    found = cells(result.read_all(tmp_path))
    measured = {one.config.hash: Cost(0.001 * one.depth, (0.001, 0.1), one.depth * 2**20, {}, {}) for one in found}
    drawn = figures(tmp_path, measured)
    work, time = drawn["work_error"].axes
    assert (work.get_xlabel(), time.get_xlabel()) == ("function evaluations a forward pass", "a training step, ms")
    np.testing.assert_allclose(time.containers[0].lines[0].get_xydata()[:, 0], [8, 14])
    (line,) = drawn["memory_depth"].axes[0].lines
    np.testing.assert_allclose(line.get_xydata(), [[8, 8], [14, 14]])


def test_without_learned_coefficients_there_is_no_figure_of_them(tmp_path):
    put(tmp_path, values(scheme="euler"))
    assert set(figures(tmp_path)) == {"depth_error", "work_error", "learning_curves"}


def test_the_figure_of_k_breaks_at_transitions_and_marks_the_ends_of_zero_stability(tmp_path):
    put(tmp_path, with_k(values(20, "lm"), SAWTOOTH, epochs=False))
    drawn = figures(tmp_path)
    assert not [kind for kind in drawn if "epochs" in kind]
    (axes,) = drawn["learned_coefficients"].axes
    marked = [line for line in axes.lines if line.get_marker() == "s"]
    assert [list(line.get_xdata()) for line in marked] == [[1, 2], [4, 5], [7, 8]]
    np.testing.assert_allclose([line.get_ydata() for line in marked], SAWTOOTH)
    ends = [line.get_ydata()[0] for line in axes.lines if line.get_label() == "end of zero-stability"]
    assert ends == [-1.0, 1.0]
    assert [line.get_xdata()[0] for line in axes.lines if line.get_xdata()[0] in (2.5, 5.5)] == [2.5, 5.5]


def test_k_over_epochs_has_a_panel_a_stage(tmp_path):
    put(tmp_path, with_k(values(20, "lm"), SAWTOOTH))
    axes = figures(tmp_path)["coefficients_over_epochs-lm"].axes
    assert [panel.get_title() for panel in axes] == [f"depth 20, stage {stage}" for stage in range(3)]
    first, last = (line.get_ydata() for line in axes[2].lines[:2])
    np.testing.assert_allclose([first, last], [[0.2, 0.4, 0.6], [-0.25, -0.5, -0.75]])


def test_each_learned_coefficient_has_its_figure(tmp_path):
    put(tmp_path, with_k(values(14, "lm"), [[0.1], [0.2], [0.3]]))
    other = with_k(values(14, "in_resnet"), [[0.1], [0.2], [0.3]])
    for record in other["learned_coefficients"]:
        record["symbol"] = "lam"
    put(tmp_path, other)
    drawn = figures(tmp_path)
    assert {"learned_coefficients_k", "learned_coefficients_lam"} <= set(drawn)
    assert legend(drawn["learned_coefficients_lam"]) == ["in_resnet", "end of zero-stability"]


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
        page.write(result.read_all(tmp_path), tmp_path)
    copy.write_text(json.dumps(values(seed=1) | {"parameters": 77_659}))
    with pytest.raises(ResultError, match="expected the same in all"):
        page.write(result.read_all(tmp_path), tmp_path)


def test_nothing_to_report(tmp_path):
    with pytest.raises(ResultError, match="no finished run"):
        result.read_all(tmp_path / "nowhere")
