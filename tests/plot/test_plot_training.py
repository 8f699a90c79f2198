"""Figures over training and depth, and of convergence; recording of k_n at each epoch is in the benchmarks' tests."""

import dataclasses
import math

import numpy as np
import pytest
import sympy
import torch

from odenets import FieldError, SchemeError
from odenets.analysis import LearnedCoefficient, convergence, plot

RECORDS = [LearnedCoefficient(stage, layer, "k", 0.0, 1.0, True) for stage, layer in ((0, 1), (0, 2), (1, 4))]
EPOCHS = [[0.1, -0.2, [0.0, 0.5]], [0.3, None, [0.5, 1.0]]]


def test_a_line_a_layer():
    figure = plot.coefficients_over_training(RECORDS, EPOCHS)
    axes = figure.axes[0]
    drawn = [item for item in axes.lines if list(item.get_xdata()) == [1, 2]]
    assert [item.get_ydata()[0] for item in drawn] == [0.1, -0.2, 0.25]  # channels by their mean
    assert math.isnan(drawn[1].get_ydata()[1])  # null of JSON: a gap
    assert [item.get_linestyle() for item in drawn] == ["-", "-", "--"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "layer 1, stage 0",
        "layer 2, stage 0",
        "layer 4, stage 1",
    ]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "$k_n$")


def test_a_map_of_layers_and_epochs():
    figure = plot.coefficients_over_training([record.as_dict() for record in RECORDS], EPOCHS, kind="map")
    mesh = figure.axes[0].collections[0]
    values = np.ma.filled(mesh.get_array().astype(float), np.nan)
    np.testing.assert_array_equal(values, [[0.1, 0.3], [-0.2, np.nan], [0.25, 0.75]])
    assert mesh.get_clim() == (-0.75, 0.75)  # white is 0
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["1", "2", "4"]


def test_one_symbol_of_several():
    other = [LearnedCoefficient(0, 1, "lam", 0.0, 1.0, True)]
    figure = plot.coefficients_over_training(RECORDS + other, [[0, 0, 0, 7.0]], symbol="lam")
    assert [list(line.get_ydata()) for line in figure.axes[0].lines if len(line.get_xdata()) == 1] == [[7.0]]
    with pytest.raises(FieldError, match="symbol=None"):
        plot.coefficients_over_training(RECORDS + other, [[0, 0, 0, 7.0]])


@pytest.mark.parametrize(
    ("records", "epochs", "kind", "match"),
    [
        ([], [], "lines", "no records"),
        (RECORDS, [], "lines", "got 0 epochs"),
        (RECORDS, [[0.1, 0.2]], "lines", "expected at least one epoch, and 3 values"),
        (RECORDS, [["x", 1, 2]], "lines", "no numbers"),
        (RECORDS, EPOCHS, "bars", "kind='bars'"),
    ],
)
def test_bad_epochs(records, epochs, kind, match):
    with pytest.raises(FieldError, match=match):
        plot.coefficients_over_training(records, epochs, kind=kind)


def test_modified_terms_are_divided_by_f():
    figure = plot.modified_terms({"a": [[2, 1, 0.5], [4, 1, 0]], "b": np.ones((2, 2))}, first=3)
    left, right = figure.axes
    first, second = (np.array(line.get_data()) for line in left.lines[:2])
    np.testing.assert_array_equal(first, [[3, 4], [0.5, 0.25]])
    np.testing.assert_array_equal(second, [[3, 4], [0.25, np.nan]])  # 0 has no place on a logarithmic axis
    assert left.get_yscale() == "log"
    assert (left.get_title(), right.get_title()) == ("a", "b")
    assert len(figure.legends[0].get_texts()) == 2


@pytest.mark.parametrize("sizes", [{}, [[1.0]], [1, 2, 3], [[1, -1]], [[1, math.nan]], "ab", {"a": [[1, 2], [3]]}])
def test_bad_terms(sizes):
    with pytest.raises(FieldError, match="modified terms"):
        plot.modified_terms(sizes)


def test_convergence_of_euler_on_decay_by_hand():
    # (1 - h)^N against exp(-1)
    found = convergence("euler", lambda t, u: -u, lambda t: [math.exp(-t)], steps=(10, 20))
    np.testing.assert_allclose(found.h, [0.1, 0.05])
    np.testing.assert_allclose(found.error, [math.exp(-1) - 0.9**10, math.exp(-1) - 0.95**20], rtol=1e-12)
    slope = math.log(found.error[0] / found.error[1]) / math.log(2)
    assert found.observed_order == pytest.approx(slope)
    assert found.order == 1


@pytest.mark.parametrize(("name", "order"), [("rk4", 4), ("ab3", 3), ("gauss2", 4), ("leapfrog", 2)])
def test_observed_orders(name, order):
    def f(t, u):
        return -t * u

    found = convergence(name, f, lambda t: [math.exp(-t * t / 2)], steps=(16, 32, 64))
    assert found.observed_order == pytest.approx(order, abs=0.15)


def test_rounding_is_no_order():
    found = convergence("dop853", lambda t, u: u, lambda t: [math.exp(t)], steps=(64, 128))
    assert math.isnan(found.observed_order)


def test_convergence_figure():
    results = [convergence(name, lambda t, u: -u, lambda t: [math.exp(-t)], steps=(8, 16)) for name in ("euler", "rk4")]
    figure = plot.convergence(results)
    axes = figure.axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names[0].startswith("euler: $p$ = 1, observed 1.0")
    slopes = [item for item in axes.lines if item.get_zorder() == 1]
    for item, order in zip(slopes, (1, 4), strict=True):
        x, y = (np.log(data) for data in item.get_data())
        assert np.diff(y)[0] / np.diff(x)[0] == pytest.approx(order)


def test_convergence_figure_of_schemes():
    problem = (lambda t, u: -u, lambda t: [math.exp(-t)])
    done = convergence("euler", *problem, steps=(8, 16))
    axes = plot.convergence([done, "rk4", "lm"], *problem, steps=(8, 16), k="1/2").axes[0]
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert [name.partition(",")[0] for name in names] == ["euler: $p$ = 1", "rk4: $p$ = 4", "lm(k=1/2): $p$ = 0"]
    assert names[2].endswith("$h_{eff}$ = 0.667 $h$")
    np.testing.assert_allclose(axes.lines[1].get_ydata(), convergence("rk4", *problem, steps=(8, 16)).error)


@pytest.mark.parametrize("k", ["1/2", "-1/4"])
def test_lm_converges_to_the_equation_of_its_effective_step(k):
    step = 1 / (1 + float(sympy.Rational(k)))
    found = convergence("lm", lambda t, u: -u, lambda t: [math.exp(-t)], steps=(512, 1024), k=k)
    # What is left of the error with h is that of u' = -u/(1 + k).
    np.testing.assert_allclose(found.error, abs(math.exp(-step) - math.exp(-1)), rtol=1e-2)
    assert (found.order, found.effective_step) == (0, pytest.approx(step))
    assert f"h_eff = {step:.4g} h a step" in found.reason
    assert convergence("lm", lambda t, u: -u, lambda t: [math.exp(-t)], steps=(8, 16), k=0).reason == ""
    assert "no equation of first order" in dataclasses.replace(found, effective_step=math.inf).reason


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: convergence("lm", torch.add, lambda t: [1.0]), SchemeError, "no value for k"),
        (lambda: convergence("euler", torch.add, lambda t: [1.0], steps=(4, 4)), FieldError, "different"),
        (lambda: convergence("euler", torch.add, lambda t: [math.nan]), FieldError, "finite"),
        (lambda: plot.convergence([]), FieldError, "got no result"),
        (lambda: plot.convergence("rk4"), FieldError, "rk4 without a problem"),
        (lambda: plot.convergence("lm", torch.add, lambda t: [1.0]), SchemeError, "no value for k"),
    ],
)
def test_bad_convergence(call, error, match):
    with pytest.raises(error, match=match):
        call()
