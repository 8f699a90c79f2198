"""Where states are stored: the optimal checkpoint schedule, and anchors for a tolerance. Formulas typed by hand."""

import copy
import math

import numpy as np
import pytest
from torch import nn

from odenets import Checkpoint, ODENet, schemes
from odenets.gradients.anchors import SegmentPlan, inverse_matrix, joined, learn_growth, place_anchors
from odenets.gradients.checkpoint_schedule import recomputed, segment_lengths, splits_of


def griewank(steps, slots):
    """t = r l - binomial(s + r, r - 1), r the least with binomial(s + r, s) >= l (Griewank & Walther 2000)."""
    r = 0
    while math.comb(slots + r, slots) < steps:
        r += 1
    return r * steps - math.comb(slots + r, r - 1) if r else 0


@pytest.mark.parametrize("slots", range(1, 9))
def test_steps_run_again_are_the_least_possible(slots):
    for steps in range(1, 60):
        assert recomputed(steps, slots) == griewank(steps, slots)


def run(splits, steps, slots, held):
    """Carry a schedule out: steps run again, and the most states held at once, those in ``held`` included."""
    cost, most = 0, held
    while steps > 1:
        middle = splits[min(slots, steps) - 1][steps]
        assert 0 < middle < steps
        over, other = run(splits, steps - middle, max(slots - 1, 1), held + 1)
        cost, most, steps = cost + middle + over, max(most, other), middle
    return cost, most


@pytest.mark.parametrize("slots", [1, 2, 3, 5, 9])
@pytest.mark.parametrize("steps", [1, 2, 7, 64, 300])
def test_a_schedule_costs_what_it_says_and_holds_no_more_states_than_allowed(steps, slots):
    cost, most = run(splits_of(steps, slots), steps, slots, 1)
    assert cost == griewank(steps, slots)
    # the state that the last recorded step starts from is in work, not stored
    assert most <= slots + 1


def test_a_thousand_layers_with_one_state_take_no_deep_recursion():
    net = ODENet([nn.Linear(2, 2) for _ in range(1000)], "euler", h=0.01, gradient=Checkpoint(states=1))
    assert net.stored.rerun == 1000 + 1000 * 999 // 2
    copy.deepcopy(net)


@pytest.mark.parametrize("slots", [1, 2, 4, 7])
def test_segments_of_the_forward_pass_are_the_best_of_all(slots):
    # Brute force over all ways to cut 12 steps into at most ``slots`` segments.
    def cheapest(steps, left):
        whole = griewank(steps, left)
        if left == 1 or steps == 1:
            return whole
        return min(
            [whole] + [griewank(m, left) + cheapest(steps - m, left - 1) for m in range(1, steps)],
        )

    for steps in range(1, 13):
        lengths = segment_lengths(steps, slots)
        assert sum(lengths) == steps
        assert len(lengths) <= slots
        held = min(slots, steps)
        assert sum(griewank(length, held - i) for i, length in enumerate(lengths)) == cheapest(steps, held)


# ---------------------------------------------------------------------------------------- anchors


UNIT = 2.0**-24


def scalar(factor, steps):
    return [np.array([[[factor]]])] * steps


@pytest.mark.parametrize(("factor", "limit"), [(2.0, 1e-6), (10.0, 1e-5), (1.1, 1e-6)])
def test_a_leg_is_as_long_as_the_errors_allow(factor, limit):
    # Errors u, amplified by c a step: variance u^2 (c^2 + c^4 + ... + c^2m)
    def error(m):
        return UNIT * math.sqrt(sum(factor ** (2 * j) for j in range(1, m + 1)))

    longest = max(m for m in range(1, 100) if error(m) <= limit)
    plans = place_anchors(scalar(factor, 200), [1.0] * 200, UNIT, limit)
    assert {plan.stop - plan.start for plan in plans[1:]} == {longest}
    assert [plan.stop for plan in plans[:-1]] == [plan.start for plan in plans[1:]]
    assert (plans[0].start, plans[-1].stop) == (0, 200)
    assert plans[-1].predicted == pytest.approx(error(longest))


def test_errors_that_do_not_grow_add_up_like_a_random_walk():
    (plan,) = place_anchors(scalar(1.0, 100), [1.0] * 100, UNIT, 1e-6)
    assert plan.predicted == pytest.approx(10 * UNIT)


def test_steps_that_cannot_be_undone_are_run_again_one_by_one():
    inverses = scalar(1.0, 6)
    inverses[2] = None
    plans = place_anchors(inverses, [1.0] * 6, UNIT, 1e-6)
    assert [(plan.start, plan.stop, plan.undone) for plan in plans] == [(0, 2, True), (2, 3, False), (3, 6, True)]
    assert not any(plan.undone for plan in place_anchors(scalar(1e9, 3), [1.0] * 3, UNIT, 1e-6))


def test_steps_that_are_run_again_are_segments_of_the_square_root_of_their_number():
    again = [SegmentPlan(n, n + 1, False) for n in range(10)]
    undone = SegmentPlan(10, 20, True, 1e-9)
    last = SegmentPlan(20, 21, False)
    found = joined([*again, undone, last], first=1)
    assert [(plan.start, plan.stop) for plan in found] == [(1, 4), (4, 7), (7, 10), (10, 20), (20, 21)]
    assert [plan.undone for plan in found] == [False, False, False, True, False]


def test_growth_is_learned_from_what_is_measured():
    plans = place_anchors(scalar(1.0, 8), [1.0] * 8, UNIT, 1e-6)
    (plan,) = plans
    larger = learn_growth([1.0] * 8, plans, {(0, 8): 256 * plan.predicted})
    assert larger == pytest.approx([2.0] * 8)  # 2^8 over 8 steps
    again = place_anchors(scalar(1.0, 8), larger, UNIT, 1e-6)
    assert len(again) > 1
    assert learn_growth([2.0] * 8, plans, {(0, 8): plan.predicted / 2**8}) == pytest.approx([2.0 / 2**0.1] * 8)
    assert learn_growth([1.0] * 8, plans, {(0, 8): 0.0}) == [1.0] * 8
    lost = learn_growth([1.0] * 8, plans, {(0, 8): math.nan})
    assert not any(plan.undone for plan in place_anchors(scalar(1.0, 8), lost, UNIT, 1e-6))


def test_the_inverse_of_lm():
    # u_{n-1} = (u_{n+1} - (1 - k) u_n) / k
    found = inverse_matrix(schemes["lm"], {"k": [0.5, -2.0]})
    np.testing.assert_allclose(found[0], [[0, 1], [2, -1]])
    np.testing.assert_allclose(found[1], [[0, 1], [-0.5, 1.5]])
    assert inverse_matrix(schemes["lm"], {"k": [0.5, 0.0]}) is None
    assert inverse_matrix(schemes["ab2"], {}) is None
