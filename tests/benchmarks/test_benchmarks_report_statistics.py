"""Statistics over seeds, what is compared with what, and what the published numbers and costs are."""

import json
import math

import numpy as np
import pytest
from made_up_results import cell, result, values, with_k
from scipy import integrate, stats

from odenets.benchmarks.common.errors import ResultError
from odenets.benchmarks.study import costs
from odenets.benchmarks.study.report import coefficients, comparisons, published, sawtooth, tables
from odenets.benchmarks.study.report.statistics import deviation_range, mean_std, paired, seeds_needed


def test_mean_and_sample_deviation_by_hand_and_by_numpy():
    # (1 + 2 + 6) / 3 = 3, deviations -2, -1, 3: sqrt((4 + 1 + 9) / 2) = sqrt(7).
    mean, std = mean_std([1.0, 2.0, 6.0])
    assert (mean, std) == (3.0, pytest.approx(7**0.5))
    assert std == pytest.approx(np.std([1.0, 2.0, 6.0], ddof=1))
    assert tables.show([1.0, 2.0, 6.0]) == "3.00 ± 2.65"
    assert mean_std([4.0]) == (4.0, None)
    assert tables.show([4.0]) == "4.00"


def test_a_paired_difference_by_hand():
    # Differences 1, 2, 6 of the shared seeds: mean 3, s = sqrt(7); t of 2 degrees of freedom at 97.5 % is 4.302653.
    found = paired({0: 2.0, 1: 4.0, 2: 9.0, 7: 0.0}, {2: 3.0, 1: 2.0, 0: 1.0})
    half = 4.302653 * math.sqrt(7 / 3)
    assert (found.n, found.mean, found.deviation) == (3, 3.0, pytest.approx(7**0.5))
    assert found.interval == pytest.approx((3 - half, 3 + half), abs=1e-5)
    assert not found.seen
    assert paired({0: 2.0}, {1: 2.0}) is None


@pytest.mark.parametrize("n", [2, 3, 10])
def test_the_interval_is_that_of_scipys_paired_t_test(n):
    first, second = np.random.default_rng(n).normal(size=(2, n)).round(2)
    found = paired(dict(enumerate(first)), dict(enumerate(second)))
    wanted = stats.ttest_rel(first, second)
    assert found.interval == pytest.approx(tuple(wanted.confidence_interval(0.95)))
    assert found.seen == (wanted.pvalue < 0.05)


def test_one_seed_and_equal_differences_have_no_interval():
    one = paired({3: 8.0}, {3: 8.5})
    assert (one.n, one.mean, one.deviation, one.interval, one.needed, one.seen) == (1, -0.5, None, None, None, False)
    # 0.3 - 0.1 and 8.2 - 8.0 differ in floating point alone.
    same = paired({0: 0.3, 1: 8.2}, {0: 0.1, 1: 8.0})
    assert (same.mean, same.deviation, same.interval, same.needed) == (pytest.approx(0.2), 0, None, None)


def test_seeds_needed_are_those_of_published_tables():
    # Two-sided paired t-test at 5 % with power 80 % for effect sizes d = difference / deviation (G*Power 3.1).
    assert [seeds_needed(1.0, d) for d in (0.2, 0.5, 0.8, 1.0)] == [199, 34, 15, 10]
    assert seeds_needed(0.3) == 10


@pytest.mark.parametrize("size", [0.15, 0.7, 1.4, 3.0])
def test_seeds_needed_have_the_power_and_one_fewer_has_not(size):
    def power(n):
        # Of t = (z + size sqrt(n)) / sqrt(v / df), z normal and v chi-square: integrated over v.
        df, shift = n - 1, size * math.sqrt(n)
        quantile = stats.t.ppf(0.975, df)

        def beyond(v):
            edge = quantile * math.sqrt(v / df)
            return (stats.norm.sf(edge - shift) + stats.norm.cdf(-edge - shift)) * stats.chi2.pdf(v, df)

        return integrate.quad(beyond, *stats.chi2.ppf([1e-10, 1 - 1e-10], df))[0]

    n = seeds_needed(1.0, size)
    assert power(n) >= 0.8
    assert n == 2 or power(n - 1) < 0.8


def test_how_rough_a_deviation_of_three_seeds_is():
    # Quantiles of chi-square of 2 degrees of freedom at 2.5 and 97.5 %: 0.050636 and 7.377759.
    assert deviation_range(3) == pytest.approx((math.sqrt(2 / 7.377759), math.sqrt(2 / 0.050636)), rel=1e-4)


# ------------------------------------------------------------------------- comparisons


def pairs(found):
    return [(one.cell.label, one.cell.depth, one.reference.label, one.reference.depth) for one in found]


def test_at_equal_depth_the_reference_is_euler_and_a_treatment_stands_beside_its_scheme():
    table = [
        cell(20, "ab2"),
        cell(20, "euler"),
        cell(20, "lm"),
        cell(20, "lm", coefficients="decayed_to_1"),
        cell(20, "euler", survival=0.8),
        cell(20, "lm", survival=0.8),
        cell(32, "lm"),
        cell(32, "rk4"),
    ]
    assert pairs(comparisons.at_equal_depth(table)) == [
        ("lm (survival 0.8)", 20, "euler (survival 0.8)", 20),
        ("ab2", 20, "euler", 20),
        ("lm", 20, "euler", 20),
        ("lm (decayed_to_1)", 20, "euler", 20),
        ("lm (decayed_to_1)", 20, "lm", 20),
        ("rk4", 32, "lm", 32),
    ]


def test_at_equal_work_the_nearest_evaluations_of_another_depth_within_a_fifth():
    table = [
        cell(depth, scheme, evaluations=n) for depth, n in ((14, 6), (20, 9), (32, 15)) for scheme in ("euler", "lm")
    ]
    heun, rk4 = cell(14, "heun", evaluations=10), cell(14, "rk4", evaluations=18)
    others = [cell(8, "rk4", evaluations=3), cell(20, "momentum", evaluations=9), cell(20, "rk4", evaluations=30)]
    found = comparisons.at_equal_evaluations([*table, heun, rk4, *others])
    assert pairs(found) == [
        ("heun", 14, "euler", 20),
        ("heun", 14, "lm", 20),
        ("rk4", 14, "euler", 32),
        ("rk4", 14, "lm", 32),
    ]
    # 12 is as far from 9 as from 15, and no more than a fifth of 15 from it, but more than a fifth of 12 from 9.
    (last,) = comparisons.at_equal_evaluations([table[2], table[4], cell(26, "ab2", evaluations=12)])
    assert last.reference.evaluations == 15


def test_a_comparison_is_paired_by_seed_at_the_last_and_at_the_best_epoch():
    one = comparisons.Comparison(cell(14, "lm", (5.0, 6.0, 9.0)), cell(14, "euler", (4.0, 4.0)))
    assert (one.final.n, one.final.mean) == (2, 1.5)
    assert one.best.mean == pytest.approx(1.5)


# ------------------------------------------------------------------------- coefficients


def test_learned_coefficients_by_layer_and_epoch():
    runs = [
        result(with_k(values(20, "lm", seed), [[0.2, -0.1], [0.5, -0.2], [0.6, k]])) for seed, k in ((0, -1), (1, -3))
    ]
    (found,) = coefficients.learned(runs)
    assert (found.stages, found.layers) == ((0, 0, 1, 1, 2, 2), (1, 2, 4, 5, 7, 8))
    np.testing.assert_allclose(found.values[:, -1], [-1, -3])
    assert found.mean[-1] == -2
    np.testing.assert_allclose(found.epochs[1, :, -1], [-1, -2, -3])


def test_values_per_channel_are_their_mean_and_range_and_null_is_a_gap():
    run = with_k(values(14, "lm"), [[[0.0, 0.4]], [[None, 0.5]], [[0.1, 0.1]]], epochs=False)
    (found,) = coefficients.learned([result(run)])
    np.testing.assert_allclose(found.values, [[0.2, np.nan, 0.1]])
    np.testing.assert_allclose([found.low[0, 0], found.high[0, 0]], [0.0, 0.4])
    assert found.epochs is None


def test_the_effective_depth_by_hand():
    # Depth 20: 9 steps with h = 1, of which 3 start a stage. 3 + 2/1.25 + 2/0.5 + 2/(1 - 2): k beyond -1 goes back.
    run = result(with_k(values(20, "lm"), [[0.25, 0.25], [-0.5, -0.5], [-2.0, -2.0]]))
    (found,) = coefficients.effective_depths([run, result(values(20, "euler"))])
    assert found.plain == 9
    np.testing.assert_allclose(found.final, [3 + 1.6 + 4 - 2])
    third = 3 + 2 / (1 + 0.25 / 3) + 2 / (1 - 0.5 / 3) + 2 / (1 - 2 / 3)
    np.testing.assert_allclose(found.epochs[0, [0, 2]], [third, 6.6])


def test_the_ends_of_zero_stability_follow_from_the_scheme():
    ends = [
        coefficients.stable_ends(result(values(14, name)).config) for name in ("lm", "in_resnet", "gated_rk2", "lm3")
    ]
    assert ends == [(-1.0, 1.0), (0.0, 2.0), (), ()]


def shape(*seeds):
    (found,) = coefficients.learned([result(with_k(values(20, "lm", seed), k)) for seed, k in enumerate(seeds)])
    return sawtooth.sawtooth(found)


def test_the_sawtooth_by_its_rules():
    whole, flat = [[-0.9, 0.9], [0.5, -0.2], [0.6, -1.2]], [[0.3, 0.1], [0.5, -0.2], [0.6, -0.4]]
    rising = [[0.3, 0.1], [-0.1, 0.2], [0.6, -0.6]]
    found = shape(whole, flat, rising)
    assert (found.n, found.positive, found.falling, found.negative) == (3, 2, 2, 2)
    assert (found.whole, found.beyond) == (1, 1)
    assert (found.first, found.last) == ((-0.1, 0.6), (-1.2, -0.4))
    assert shape([[0.1], [0.2, 0.1], [0.3, 0.1]]) is None


# -------------------------------------------------------------- published numbers and costs


def test_published_numbers_stand_beside_the_same_network_alone():
    table = [cell(20, "euler", data="cifar10"), cell(56, "lm", data="cifar10", survival=0.8), cell(32, "lm")]
    found = [(one.config.label, one.config.depth, one.origin, one.error) for one in published.beside(table)]
    assert found == [
        ("euler", 20, "paper (second hand)", 8.75),
        ("lm", 20, "paper", 8.33),
        ("lm", 20, "reproduction", 8.0),
        ("euler (survival 0.8)", 56, "paper (second hand)", 5.66),
        ("lm (survival 0.8)", 56, "paper", 5.14),
        ("lm (survival 0.8)", 56, "reproduction", 5.6),
    ]
    assert published.beside([cell(32, "lm"), cell(22, "lm", data="cifar10")]) == []
    resnext = cell(29, "lm", data="cifar100", network="cifar_resnext_8x64d")
    assert [(one.error, one.checked) for one in published.beside([resnext])] == [(17.77, False), (17.49, False)]


COST = {"seconds": 0.02, "quartiles": [0.019, 0.025], "peak_bytes": 3 * 2**20, "hardware": {}, "versions": {}}


def test_costs_stand_in_the_table_by_the_hash_of_seed_0(tmp_path):
    table = [cell(14, "euler"), cell(14, "lm")]
    assert costs.read(tmp_path) == {}
    (tmp_path / "costs.json").write_text(json.dumps({table[0].config.hash: COST}))
    header, _, euler, lm = tables.costs(table, costs.read(tmp_path)).replace(" ", "").splitlines()
    assert header.endswith("|astep,ms|quartiles|peakmemory,MiB|")
    assert euler.endswith("|20.0|19.0to25.0|3.0|")
    assert lm.endswith("||||")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "Expecting"),
        ("[]", "no attribute"),
        (COST | {"seconds": -1.0}, "got seconds -1.0"),
        (COST | {"quartiles": [0.03, 0.01]}, "got seconds 0.02 and quartiles"),
        (COST | {"quartiles": 3}, "not iterable|unpack"),
        (COST | {"peak_bytes": "much"}, "got peak_bytes 'much'"),
        (COST | {"hardware": 1}, "hardware"),
        ({"seconds": 1.0}, "required positional argument"),
    ],
)
def test_damaged_costs_are_one_error_naming_the_file(tmp_path, content, complaint):
    path = tmp_path / "costs.json"
    path.write_text(content if isinstance(content, str) else json.dumps({"12345678": content}))
    with pytest.raises(ResultError, match=complaint) as caught:
        costs.read(tmp_path)
    assert str(caught.value).startswith(f"{path} does not hold costs")
