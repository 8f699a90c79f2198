"""The sentences of a report, from made-up numbers."""

import pytest
from made_up_results import cell, result, values, with_k

from odenets.benchmarks.study.report import coefficients, findings, sawtooth, section
from odenets.benchmarks.study.report.comparisons import Comparison, over_depths
from odenets.benchmarks.study.report.missing import Missing, Named
from odenets.benchmarks.study.report.statistics import paired


def words(first, second=(5.0,) * 9):
    return findings.in_words(paired(dict(enumerate(first)), dict(enumerate(second))), "lm", "euler")


@pytest.mark.parametrize(
    ("errors", "sentence"),
    [
        # Differences -0.1, -0.2, -0.33: mean -0.21, s = 0.11533; 4.302653 s / sqrt(3) = 0.28649.
        (
            (4.9, 4.8, 4.67),
            "lm errs less than euler by 0.21 (95 % interval -0.08 to 0.50, 3 seeds): no difference can be told",
        ),
        # 1, 1.1, 0.9: s = 0.1, half 0.24841.
        (
            (6.0, 6.1, 5.9),
            "lm errs more than euler by 1.00 (95 % interval 0.75 to 1.25, 3 seeds): a difference is seen",
        ),
        (
            (4.0, 3.9, 4.1),
            "lm errs less than euler by 1.00 (95 % interval 0.75 to 1.25, 3 seeds): a difference is seen",
        ),
        ((4.5,), "lm errs less than euler by 0.50 on the one seed that both have: nothing can be told"),
        ((5.0, 5.0), "lm errs as euler does on each of 2 seeds"),
        ((5.2, 5.2), "lm errs more than euler by 0.20 on each of 2 seeds: equal differences have no interval"),
        ((), "lm and euler have no seed in common: nothing can be told"),
    ],
)
def test_a_difference_in_words(errors, sentence):
    assert words(errors) == sentence


def test_all_depths_together():
    # The differences above, of seed 0 and 1 at depth 14 and of seed 0 at depth 20; at depth 8 both are one network.
    runs = {8: ((5.0, 5.1), (5.0, 5.1)), 14: ((4.9, 4.8), (5.0, 5.0)), 20: ((4.67,), (5.0,))}
    found = [Comparison(cell(n, "lm", ours), cell(n, "euler", theirs)) for n, (ours, theirs) in runs.items()]
    assert [findings.all_depths(*one) for one in over_depths(found)] == [
        "Depths 14 and 20, as if the difference were the same at each: lm errs less than euler by 0.21 (95 % interval "
        "-0.08 to 0.50, 3 pairs): no difference can be told."
    ]
    assert over_depths(found[:2]) == []
    # One pair at each depth is no more than two numbers; an equal error of two networks is a difference of 0.
    assert over_depths([Comparison(cell(n, "lm", (4.0,)), cell(n, "euler", (5.0,))) for n in (14, 20)]) == []
    larger = Comparison(cell(8, "rk4", (5.0, 5.1), evaluations=12), cell(8, "euler", (5.0, 5.1), evaluations=3))
    rest = [Comparison(cell(n, "rk4", (4.0,)), cell(n, "euler", (5.0,))) for n in (14,)]
    ((_, difference),) = over_depths([larger, *rest])
    assert (difference.n, difference.mean) == (3, pytest.approx(-1 / 3))


def test_at_equal_work_both_numbers_are_said():
    one, other = cell(14, "heun", (5.0,), evaluations=10), cell(20, "lm", (4.0,), evaluations=9)
    assert findings.equal_evaluations(Comparison(one, other)) == (
        "heun at depth 14 (10 evaluations) errs more than lm at depth 20 (9 evaluations) by 1.00 on the one seed that "
        "both have: nothing can be told."
    )
    alone = findings.without_equal_work([cell(14, "euler", evaluations=6), cell(14, "rk4", evaluations=18), one], [])
    assert alone == (
        "No euler or lm of about as many evaluations, within 20 %, is there for rk4 at depth 14 (18), "
        "heun at depth 14 (10)."
    )
    assert findings.without_equal_work([cell(14, "euler", evaluations=6), one], [Comparison(one, other)]) == ""


SCHEMES = (("euler", 5.0), ("lm", 4.0))
WHOLE = [[0.2, 0.1], [0.5, -0.2], [0.6, -1.2]]
PART = [[0.2, 0.1], [0.4, -0.2], [0.6, -0.4]]


@pytest.mark.parametrize(
    ("seeds", "verdict"),
    [
        ([WHOLE, WHOLE], "show the published sawtooth: above 0 after every transition in 2 of 2 seeds (0.50 to 0.60)"),
        ([WHOLE, PART], "show in 1 of 2 seeds the published sawtooth"),
        ([PART], "show a part of the published sawtooth: above 0 after every transition in 1 of 1 seed (0.40 to 0.60)"),
        ([[[0.1, 0.2], [-0.4, -0.2], [-0.3, -0.1]]], "do not show the published sawtooth"),
        ([[[0.1], [0.2], [0.3]]], "have no shape to compare: a stage has a single learned one"),
    ],
)
def test_the_shape_of_k_in_words(seeds, verdict):
    runs = [result(with_k(values(20, "lm", seed), k)) for seed, k in enumerate(seeds)]
    (found,) = coefficients.learned(runs)
    assert sawtooth.in_words(found).startswith(f"The k_n of lm at depth 20 {verdict}")


def test_what_decay_does():
    free = result(with_k(values(14, "lm"), [[-0.1], [0.1], [0.3]]))
    decayed = result(with_k(values(14, "lm", 1, coefficients="decayed_to_1"), [[0.4], [0.6], [0.8]]))
    assert findings.decay(coefficients.learned([free, decayed])) == [
        "Decayed to 1, the k_n of lm at depth 14 are 0.60 on average (0.40 to 0.80), without decay 0.10 on average "
        "(-0.10 to 0.30): on average nearer to 1."
    ]
    zero = result(with_k(values(14, "lm", coefficients="decayed_to_0"), [[0.4], [0.6], [0.8]]))
    (sentence,) = findings.decay(coefficients.learned([free, zero]))
    assert sentence.endswith("on average not nearer to 0.")
    assert findings.decay(coefficients.learned([decayed])) == []


def test_what_cannot_be_said():
    few = Comparison(cell(14, "lm", (4.9, 4.8, 4.67)), cell(14, "euler", (5.0, 5.0, 5.0)))
    other = Comparison(cell(20, "lm", (4.0, 3.9, 3.1)), cell(20, "euler", (5.0, 5.0, 5.0)))
    single = Comparison(cell(32, "lm", (4.9,)), cell(32, "euler", (5.0,)))
    chance, rough, one = findings.unsaid([few, other, single])
    assert chance.startswith("Were there no difference at all, 0.1 of these 2 intervals of 95 %")
    # Deviations 0.11533 (d = 2.6: 4 seeds) and 0.49329 (d = 0.608: 24), by G*Power.
    assert "would take 4 to 24 seeds, by the comparison" in rough
    assert "0.52 to 6.3 times one estimated from 3 seeds" in rough
    assert one == "One seed has no deviation, and nothing can be told of lm at depth 32."
    assert findings.unsaid([single, single]) == [one]  # beside two others: named once


def test_unfinished_studies_are_named():
    begun = Named("mine", "T", 6, (Missing("digits-lm-14-s0-1234", "waiting"),))
    assert findings.unfinished([begun, Named("other", "T", 6, ())]) == [
        "1 of the 6 runs of study mine are not finished (listed at the end): what is said here holds for those "
        "that are."
    ]


def test_one_scheme_alone_has_nothing_to_be_said_of():
    alone = section.content([result(values(14, "euler"))], {})
    assert section.what_is_found(alone, []) == "There is nothing to compare: one scheme, and no other of its depth."


def test_no_finding_names_a_winner():
    runs = [result(values(20, scheme, seed, (9.0, last))) for scheme, last in SCHEMES for seed in (0, 1, 2)]
    said = section.what_is_found(section.content(runs, {}), [])
    assert "errs less" in said
    assert not any(word in said for word in ("wins", "beats", "better", "outperforms"))
