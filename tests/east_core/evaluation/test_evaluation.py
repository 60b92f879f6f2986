"""Every number against arithmetic by hand, enumeration, simulation, or another library."""

import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom
from statsmodels.stats.proportion import proportion_confint

from east_core.answers.clustering import cluster
from east_core.answers.grading import Grader
from east_core.errors import DataError
from east_core.evaluation.estimates import (
    Estimate,
    compare_outcomes,
    mean_estimate,
    paired_difference,
    proportion,
)
from east_core.evaluation.samples import majority_at_k, pass_at_k, sample_counts
from east_core.evaluation.scores import ScoreTotals, grade, scores_as_facts, scores_from_facts
from east_core.records import (
    AnswerCluster,
    AnswerClusters,
    Completion,
    Prediction,
    Question,
    SampledQuestion,
)


def prediction(name, is_correct, answer="1", reason="stop", tokens=10, level=None, subject=None):
    return Prediction(name, "text", answer, "1", is_correct, reason, tokens, level, subject)


def test_wilson_interval_by_hand():
    # Wilson 1927: p = 8/10, z = 1.959964; centre (p + z^2/2n) / (1 + z^2/n) = 0.7167,
    # half width z sqrt(p(1-p)/n + z^2/4n^2) / (1 + z^2/n) = 0.2266
    estimate = proportion(8, 10)
    assert estimate.value == 0.8
    assert (estimate.low, estimate.high) == pytest.approx((0.4902, 0.9433), abs=5e-5)


@given(st.integers(1, 3000), st.data(), st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_interval_as_statsmodels_has_it(n, data, confidence):
    successes = data.draw(st.integers(0, n))
    low, high = proportion_confint(successes, n, 1 - confidence, method="wilson")
    estimate = proportion(successes, n, confidence)
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=1e-12)
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1


def test_the_papers_gain_lies_within_the_interval_of_one_accuracy():
    # 50.1% and 51.8% of GSM8K's 1,319 questions (SFT, then +EAST; Llama-3.2-1B)
    vanilla, east = proportion(661, 1319), proportion(683, 1319)
    assert vanilla.low < east.value < vanilla.high


def test_bootstrap_interval_is_near_the_normal_one_and_repeats():
    draw = random.Random(1)
    values = [draw.gauss(50, 10) for _ in range(400)]
    mean = math.fsum(values) / 400
    half = 1.96 * math.sqrt(math.fsum((v - mean) ** 2 for v in values) / 399 / 400)
    estimate = mean_estimate(values)
    assert estimate.value == pytest.approx(mean)
    assert (estimate.low, estimate.high) == pytest.approx((mean - half, mean + half), abs=0.1)
    assert estimate == mean_estimate(values)


def test_bootstrap_of_equal_values_has_no_width():
    assert mean_estimate([3.0, 3.0]) == Estimate(3.0, 3.0, 3.0, 2)


def test_pass_at_k_by_hand():
    assert pass_at_k(4, 0, 2) == 0
    assert pass_at_k(4, 1, 4) == 1
    assert pass_at_k(4, 2, 2) == pytest.approx(1 - 1 / 6)  # one of 6 pairs has none correct
    assert pass_at_k(10, 3, 1) == pytest.approx(0.3)
    with pytest.raises(ValueError, match="k = 5"):
        pass_at_k(4, 2, 5)


@given(st.integers(1, 9), st.data())
def test_pass_at_k_is_the_share_of_all_draws(n, data):
    correct, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    draws = list(itertools.combinations([True] * correct + [False] * (n - correct), k))
    assert pass_at_k(n, correct, k) == pytest.approx(sum(map(any, draws)) / len(draws))


def vote(answers):
    """1 / number of winners where "right" is among them; None stays silent."""
    counts = {a: answers.count(a) for a in answers if a is not None}
    winners = [a for a, count in counts.items() if count == max(counts.values())]
    return ("right" in winners) / max(1, len(winners))


@settings(deadline=None)
@given(st.integers(0, 4), st.lists(st.integers(1, 3), max_size=3), st.integers(0, 2), st.data())
def test_majority_at_k_is_the_mean_over_all_draws(correct, wrong, silent, data):
    answers = ["right"] * correct + [None] * silent
    answers += [f"wrong {i}" for i, size in enumerate(wrong) for _ in range(size)]
    if not answers:
        return
    k = data.draw(st.integers(1, len(answers)))
    draws = list(itertools.combinations(answers, k))
    expected = math.fsum(map(vote, draws)) / len(draws)
    assert majority_at_k(correct, tuple(wrong), silent, k) == pytest.approx(expected, abs=1e-9)


def test_majority_at_one_is_the_accuracy_and_many_samples_do_not_overflow():
    assert majority_at_k(3, (4, 1), 2, 1) == pytest.approx(0.3)
    assert majority_at_k(600, (500,), 0, 256) > 0.9


def test_sample_counts():
    assert sample_counts(1) == [1]
    assert sample_counts(8) == [1, 2, 4, 8]
    assert sample_counts(10) == [1, 2, 4, 8, 10]


def test_paired_difference_by_hand():
    # 20 questions: 1 that the first alone solves, 6 that the second alone solves.
    first = [True] + [False] * 6 + [True] * 8 + [False] * 5
    second = [False] + [True] * 6 + [True] * 8 + [False] * 5
    result = paired_difference(first, second)
    assert (result.only_first, result.only_second, result.n) == (1, 6, 20)
    assert result.value == 0.25
    # exact McNemar: 2 P(X <= 1), X ~ Binomial(7, 1/2) = 2 (1 + 7) / 128
    assert result.p_value == pytest.approx(0.125)
    # Bonett & Price: 5/22 -+ 1.96 sqrt((9/22 - (5/22)^2) / 22)
    half = 1.959964 * math.sqrt((9 / 22 - (5 / 22) ** 2) / 22)
    assert (result.low, result.high) == pytest.approx((5 / 22 - half, 5 / 22 + half), abs=1e-6)


def test_no_discordant_question_still_leaves_an_interval():
    result = paired_difference([True] * 50, [True] * 50)
    assert (result.value, result.p_value) == (0, 1)
    assert result.low < 0 < result.high


def test_the_paired_interval_covers_the_true_difference():
    draw = random.Random(3)
    covered = 0
    for _ in range(400):
        pairs = [
            (True, True) if u < 0.4 else (True, False) if u < 0.45 else (False, u < 0.6)
            for u in (draw.random() for _ in range(200))
        ]
        result = paired_difference([a for a, _ in pairs], [b for _, b in pairs])
        covered += result.low <= 0.10 <= result.high
    assert binom.cdf(covered, 400, 0.95) > 0.001  # not significantly below its 95%
    assert covered > 368


def test_a_paired_comparison_sees_what_two_intervals_do_not():
    first = [True] * 500 + [False] * 500
    second = [True] * 520 + [False] * 480
    apart = proportion(500, 1000).high < proportion(520, 1000).low
    assert not apart
    assert paired_difference(first, second).p_value < 0.001


def test_outcomes_are_paired_by_question():
    first, second = {"a": 1.0, "b": 0.0}, {"b": 1.0, "a": 1.0}
    assert compare_outcomes(first, second).only_second == 1
    with pytest.raises(DataError, match="'c' is in one only"):
        compare_outcomes(first, {**second, "c": 1.0})


def test_grades_the_first_completion_and_keeps_the_order():
    sampled = [
        SampledQuestion(Question("a", "?", "1/2"), (Completion("\\boxed{0.5}", "stop", 3),)),
        SampledQuestion(Question("b", "?", "7"), (Completion("no idea", "length", 9),)),
        SampledQuestion(Question("c", "?", "7", "5", "algebra"), (Completion("\\boxed{8}"),)),
    ]
    with Grader(processes=1) as grader:
        rows = list(grade(sampled, grader, "lenient"))
    assert [row.question_id for row in rows] == ["a", "b", "c"]
    assert [row.is_correct for row in rows] == [True, False, False]
    assert [row.answer for row in rows] == ["0.5", None, "8"]
    assert (rows[2].level, rows[2].subject) == ("5", "algebra")


def test_scores_by_level_and_subject_and_their_facts():
    rows = [
        prediction("a", True, level="1", subject="algebra", tokens=10),
        prediction("b", False, level="1", subject="geometry", tokens=20, answer=None),
        prediction("c", False, level="2", subject="algebra", tokens=30, reason="length"),
        prediction("d", True, level="2", subject="algebra", tokens=40),
    ]
    totals = ScoreTotals()
    assert list(totals.counting(rows)) == rows
    scores = totals.scores(0.95)
    assert scores.accuracy == proportion(2, 4)
    assert scores.no_answer_share == proportion(1, 4)
    assert scores.truncated_share == proportion(1, 4)
    assert scores.mean_tokens.value == 25
    assert 10 <= scores.mean_tokens.low < 25 < scores.mean_tokens.high <= 40
    assert scores.by_level["2"].accuracy == proportion(1, 2)
    assert scores.by_subject["algebra"].accuracy == proportion(2, 3)
    assert "pass_at" not in scores_as_facts(scores)
    assert scores_from_facts(scores_as_facts(scores)) == scores


def test_extra_samples_give_pass_and_majority():
    clusters = AnswerClusters(
        "a",
        (AnswerCluster("8", (0, 1), False), AnswerCluster("7", (2,), True),
         AnswerCluster(None, (3,), False)),
    )  # fmt: skip
    totals = ScoreTotals()
    list(totals.counting([prediction("a", True)]))
    assert list(totals.counting_samples([(Question("a", "?", "7"), clusters)])) == [clusters]
    scores = totals.scores(0.95)
    assert {k: v.value for k, v in scores.pass_at.items()} == {
        "1": pytest.approx(1 / 4), "2": pytest.approx(1 / 2), "4": 1
    }  # fmt: skip
    # of the 6 pairs: (8,8) lost, (8,7) twice a tie, (8,-) lost twice, (7,-) won
    assert scores.majority_at["2"].value == pytest.approx((0.5 + 0.5 + 1) / 6)
    assert scores.majority_at["4"].value == 0
    assert scores_from_facts(scores_as_facts(scores)) == scores


def test_extra_samples_are_clustered_by_the_benchmarks_policy():
    texts = ("The answer is 7.", "\\boxed{7.0}", "hm")
    sampled = SampledQuestion(Question("a", "?", "7"), tuple(map(Completion, texts)))
    with Grader(processes=1) as grader:
        assert cluster(sampled, grader, "lenient").accuracy == pytest.approx(2 / 3)


def test_a_benchmark_without_questions_is_an_error():
    with pytest.raises(DataError, match="without questions"):
        ScoreTotals().scores(0.95)
