"""What a diagnosis is shown as: text, JSON, the figure."""

import json
import math
import re

import numpy as np
import pytest
import torch
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from test_diagnosis import network
from torch import nn

import odenets
from odenets import FieldError, ODENet
from odenets.analysis import plot
from odenets.analysis.networks.diagnosis import Diagnosis, diagnose
from odenets.scheme.shown import MOST_LINES


def lm_network():
    net = network([np.diag([-1.0, 0.5]), np.diag([-2.5, -0.5]), np.diag([-0.5, -0.25])], "lm")
    for n, k in ((1, 0.25), (2, -1.5)):
        nn.init.constant_(net.coefficients_at(n)["k"], k)
    return net


@pytest.fixture(scope="module")
def found():
    return diagnose(lm_network(), torch.ones(1, 2), modified=False)


def test_the_table_has_a_line_a_layer(found):
    lines = found.text().splitlines()
    assert lines[0].split()[:4] == ["layer", "stage", "scheme", "coefficient"]
    rows = [line.split("  ") for line in lines[2:5]]
    assert [row[0] for row in rows] == ["0", "1", "2"]
    assert "k = 0.250" in lines[3]
    assert "k = -1.500" in lines[4]
    assert "-2.50 to -0.50" in lines[3]
    text = found.text()
    for sentence in (*found.findings, found.suggestion, *found.warnings):
        # Paragraphs are wrapped.
        assert "".join(sentence.split()) in "".join(text.split())
    assert str(found) == text


def test_json_has_all_numbers_and_no_nan(found):
    text = json.dumps(found.as_dict(), allow_nan=False)
    read = json.loads(text)
    block = read["blocks"][1]
    assert sorted(block["spectrum"]["eigenvalues"]) == [[-2.5, 0.0], [-0.5, 0.0]]
    assert block["coefficients"] == [{"symbol": "k", "mean": 0.25, "low": 0.25, "high": 0.25}]
    assert block["effective_step"] == 0.8
    assert block["parasitic_roots"] == [[-0.25, 0.0]]
    assert block["alternatives"][0]["scheme"] == "euler"
    assert "scheme" not in block
    assert read["suggestion"] == found.suggestion
    assert read["settings"]["samples"] == 1


def test_infinite_numbers_become_none():
    net = lm_network()
    nn.init.constant_(net.coefficients_at(2)["k"], -1.0)
    d = diagnose(net, torch.ones(1, 2), modified=False)
    assert math.isinf(d.blocks[2].effective_step)
    assert d.as_dict()["blocks"][2]["effective_step"] is None


def scatters(axes):
    return [np.asarray(item.get_offsets()) for item in axes.collections if isinstance(item, PathCollection)]


def titles(figure):
    return [
        axes.get_title() for axes in figure.findobj(lambda artist: hasattr(artist, "get_xlim")) if axes.get_visible()
    ]


def test_the_figure_shows_every_layer_and_four_panels_over_depth(found):
    figure = plot.diagnosis(found, title="heading", resolution=40)
    shown = titles(figure)
    assert shown[:3] == ["layer 0 (start)", "layer 1 (k = 0.25)", "layer 2 (k = -1.50)"]
    assert len(shown) == 8
    panels = figure.axes
    drawn = np.concatenate(scatters(panels[1]))
    assert sorted(drawn[:, 0]) == [-2.5, -0.5]
    share = [axes for axes in panels if axes.get_ylabel().startswith("share")]
    # Of layer 0 the eigenvalue 1/2 is outside, on the right; of layer 1, k = 1/4, the eigenvalue -5/2; of layer 2 all,
    # on the left: with k = -3/2 the flow over the effective step -2 h grows there.
    heights = [bar.get_height() for bar in share[0].patches]
    assert heights == [0, 0.5, 0, 0.5, 0, 1]
    lines = {line.get_label(): line.get_ydata() for axes in panels for line in axes.lines}
    np.testing.assert_allclose(lines["$k_n$"], [0.25, -1.5])
    np.testing.assert_allclose(lines[r"effective step $h_\mathrm{eff}$"], [1, 0.8, -2])


@pytest.mark.parametrize(("count", "rows", "columns"), [(1, 1, 1), (3, 1, 3), (10, 2, 5), (27, 3, 9)])
def test_layout_for_any_number_of_layers(count, rows, columns, tmp_path):
    d = diagnose(network([np.diag([-1.0, -0.5])] * count), torch.ones(1, 2), modified=False, schemes=[])
    figure = plot.diagnosis(d, resolution=10)
    assert isinstance(figure, Figure)
    grid = figure.axes[0].get_subplotspec().get_gridspec()
    assert (grid.nrows, grid.ncols) == (rows, columns)
    figure.savefig(tmp_path / "figure.png", dpi=20)


def test_a_transition_has_no_panel_and_breaks_the_lines():
    torch.manual_seed(0)
    model = odenets.models.cifar_resnet(14, "euler").eval()
    d = diagnose(model, torch.randn(1, 3, 4, 4), samples=1, modified=False, schemes=[])
    figure = plot.diagnosis(d, resolution=10)
    assert [t for t in titles(figure) if t.startswith("layer")] == [f"layer {n} (euler)" for n in (0, 1, 3, 5)]
    (line,) = [line for axes in figure.axes for line in axes.lines if str(line.get_label()).startswith("effective")]
    np.testing.assert_array_equal(line.get_xdata(), [0, 1, np.nan, 3, np.nan, 5])


def test_what_a_prompt_shows(found):
    shown = repr(found).split("\n")
    assert re.split(" {2,}", shown[0])[:4] == ["layer", "scheme", "coefficient", "h_eff"]
    # Euler at z = -1 and 1/2 multiplies by 0 and 3/2; LM at k = 1/4 advances by h/(1 + k) = 4/5.
    assert re.split(" {2,}", shown[2].rstrip()) == [
        *("0", "lm started by euler", "-", "1", "-1.00 to 0.50", "50 %", "0 %", "1.5")
    ]
    assert re.split(" {2,}", shown[3])[:4] == ["1", "lm", "k = 0.250", "0.8"]
    assert shown[5:7] == ["", "Suggestion"]
    assert " ".join(found.suggestion.split()) in " ".join(repr(found).split())
    told = f"with {len(found.findings)} findings and {len(found.warnings)} warnings."
    assert shown[-1] == f"print() shows all, {told}"
    assert found._repr_html_().startswith("<pre>layer")
    assert "max |zeta|" in found._repr_html_()


def test_a_prompt_shows_the_worst_of_many_layers():
    # |1 + z| for z = 0.01 n grows with n: the last layers are the worst.
    d = diagnose(network([np.diag([-1.0, 0.01 * n]) for n in range(60)]), torch.ones(1, 2), modified=False, schemes=[])
    shown = repr(d).split("\n")
    assert len(shown) == MOST_LINES
    layers = [int(line.split()[0]) for line in shown[2 : shown.index("")]]
    assert layers == list(range(60 - len(layers), 60))
    assert shown[-1].startswith(f"The {len(layers)} lines of 60 with the largest |zeta|; print() shows all")


def test_nothing_to_draw():
    empty = Diagnosis((), (), (), "", (), {"tolerance": 1e-8})
    with pytest.raises(FieldError, match="no layer with a spectrum"):
        plot.diagnosis(empty)


def test_a_model_of_transitions_alone_says_so():
    net = ODENet([nn.Linear(2, 3)], "euler", shortcut=nn.Linear(2, 3))
    d = diagnose(net, torch.ones(1, 2))
    assert [b.kind for b in d.blocks] == ["transition"]
    assert d.suggestion == "None: nothing was analysed."
    assert "changes the shape" in d.text()
