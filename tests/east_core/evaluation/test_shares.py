"""Means over samples of a question: intervals and tests that take a question as one."""

import itertools
import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom
from statsmodels.stats.contingency_tables import mcnemar

from east_core.evaluation.decline import decline
from east_core.evaluation.estimates import (
    compare_outcomes,
    paired_difference,
    proportion,
    share_estimate,
)
from east_core.evaluation.scores import ScoreTotals, scores_as_facts, scores_from_facts
from east_core.evaluation.sign_flips import chance_of_as_much, in_steps
from east_core.records import AnswerCluster, AnswerClusters, Completion, Question, SampledQuestion


@given(st.lists(st.integers(-4, 4), max_size=9))
def test_flipped_signs_are_counted_exactly(differences):
    flips = itertools.product((1, -1), repeat=len(differences))
    sums = [sum(sign * each for sign, each in zip(f, differences, strict=True)) for f in flips]
    expected = sum(each >= sum(differences) for each in sums) / len(sums)
    assert chance_of_as_much(differences) == pytest.approx(expected, abs=1e-12)


def test_of_right_and_wrong_it_is_mcnemars_test():
    for lost, won in ((1, 6), (0, 0), (8, 0), (300, 331)):
        first = [True] * lost + [False] * won + [True] * 9
        second = [False] * lost + [True] * won + [True] * 9
        expected = mcnemar([[0, lost], [won, 0]], exact=True).pvalue
        assert paired_difference(first, second).p_value == pytest.approx(expected)


def test_shares_are_told_in_their_steps():
    assert in_steps([0.125, 0.5, True]) == ([1, 4, 8], 8)
    assert in_steps([k / 4095 for k in (1, 4094)]) == ([1, 4094], 4095)
    assert in_steps([]) == ([], 1)


def test_one_sample_a_question_is_a_proportion():
    assert share_estimate([1.0] * 8 + [0.0] * 2) == proportion(8, 10)


def test_a_question_counts_once_however_many_samples_agree():
    # every question is all right or all wrong: 8 samples tell what one does
    alike = [1.0] * 30 + [0.0] * 70
    spread = [0.25] * 30 + [0.375] * 20 + [0.5] * 30 + [0.125] * 20
    assert share_estimate(alike) == proportion(30, 100)
    assert _width(share_estimate([*alike[1:], 0.875])) == pytest.approx(
        _width(proportion(30, 100)), rel=0.05
    )
    assert _width(share_estimate(spread)) < 0.5 * _width(proportion(33, 100))


def test_bounds_stay_within_0_and_1_and_have_a_width():
    for shares in ([1.0] * 20, [0.0] * 20, [0.5], [0.5] * 20, [0.875] + [1.0] * 19):
        estimate = share_estimate(shares)
        assert 0 <= estimate.low < estimate.high <= 1
        assert estimate.low <= estimate.value <= estimate.high
        assert estimate.n == len(shares)
    assert share_estimate([1.0] * 20) == proportion(20, 20)


def test_the_interval_covers_the_true_accuracy():
    rng, covered = np.random.default_rng(3), 0
    for _ in range(200):
        counts = rng.binomial(8, rng.beta(0.5, 0.5, size=80))
        estimate = share_estimate((counts / 8).tolist())
        covered += estimate.low <= 0.5 <= estimate.high
    assert binom.cdf(covered, 200, 0.95) > 0.001


def test_the_difference_of_shares_by_hand():
    # differences 1/2, 1/2, -1/4, 0: of 8 equally likely signs, 1 + 1 sums are 3/4 or more
    first, second = [0.25, 0.5, 0.75, 1.0], [0.75, 1.0, 0.5, 1.0]
    result = paired_difference(first, second)
    assert (result.value, result.only_first, result.only_second) == (0.1875, 1, 2)
    assert result.p_value == pytest.approx(2 * 2 / 8)
    # Bonett and Price's two added questions: 0.75 / 6 -+ 1.96 sqrt(((1/4 + 1/4 + 1/16 + 2) / 6
    # - (0.75 / 6)^2) / 6)
    half = 1.959964 * math.sqrt((2.5625 / 6 - 0.125**2) / 6)
    assert (result.low, result.high) == pytest.approx((0.125 - half, 0.125 + half), abs=1e-6)


def test_more_samples_see_a_smaller_decline_and_none_is_seldom_called():
    draw = random.Random(1)
    before = {str(i): draw.choice((0.5, 0.625, 0.75)) for i in range(200)}
    now = {name: share - draw.choice((0, 0.125)) for name, share in before.items()}
    assert decline(before, now).p_value < 1e-6
    assert decline(now, before).p_value > 0.99
    false_alarms = sum(_fell_by_chance(draw) for _ in range(100))
    assert false_alarms <= 10


def _fell_by_chance(draw: random.Random) -> bool:
    """Whether two sets of 4 samples from one model differ at 5%."""
    chances = [draw.betavariate(0.7, 0.7) for _ in range(100)]
    one, other = (
        {str(i): sum(draw.random() < p for _ in range(4)) / 4 for i, p in enumerate(chances)}
        for _ in range(2)
    )
    return decline(one, other).p_value <= 0.05


def _width(estimate):
    return estimate.high - estimate.low


def _sampled(name, correct, silent, level="1"):
    """Four samples: so many right, so many without an answer, one of them cut off."""
    completions = tuple(
        Completion("text", "length" if index == 3 else "stop", 10 + index) for index in range(4)
    )
    right = tuple(range(correct))
    rest = tuple(range(correct, 4 - silent))
    mute = tuple(range(4 - silent, 4))
    clusters = [("1", right, True), ("2", rest, False), (None, mute, False)]
    found = tuple(AnswerCluster(*each) for each in clusters if each[1])
    question = Question(name, "?", "1", level)
    return SampledQuestion(question, completions), AnswerClusters(name, found)


def test_scores_are_means_over_the_samples_and_say_so():
    graded = [_sampled("a", 3, 0), _sampled("b", 0, 2), _sampled("c", 1, 1, "2")]
    totals = ScoreTotals(samples=4)
    list(totals.counting_samples((sampled.question, each) for sampled, each in graded))
    rows = list(totals.counting_sampled(graded))
    assert [row.is_correct for row in rows] == [True, False, True]  # the first sample of each
    scores = totals.scores(0.95)
    assert scores.accuracy == share_estimate([0.75, 0, 0.25])
    assert scores.accuracy.value == scores.pass_at["1"].value
    assert scores.no_answer_share.value == pytest.approx((2 + 1) / 12)
    assert scores.truncated_share.value == 0.25
    assert scores.mean_tokens.value == 11.5
    assert scores.by_level["1"].accuracy.value == 0.375
    assert scores_as_facts(scores)["samples"] == 4
    assert scores_from_facts(scores_as_facts(scores)) == scores


def test_greedy_scores_are_written_as_they_were():
    greedy = ScoreTotals()
    sampled, clusters = _sampled("a", 4, 0)
    [row] = ScoreTotals(samples=1).counting_sampled([(sampled, clusters)])
    list(greedy.counting([row]))
    assert "samples" not in scores_as_facts(greedy.scores(0.95))


def test_shares_are_paired_by_question():
    result = compare_outcomes({"a": 0.5, "b": 1.0}, {"b": 1.0, "a": 0.75})
    assert result.value == 0.125
