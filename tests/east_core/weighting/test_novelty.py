import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from east_core.errors import ConfigError, DataError
from east_core.records import Completion, Question, SampledQuestion
from east_core.weighting.base import QuestionStatistics
from east_core.weighting.in_memory import weigh
from east_core.weighting.novelty import NoveltyWeighting, novelty


def known(value):
    return QuestionStatistics(1.0, 0.5, 0.5, novelty=value)


def test_novelty_by_hand():
    # runs: abc bcd | abc bcx | pqr; abc is in two of the three texts
    assert novelty(["a b c d", "a b c x", "p q r"]) == pytest.approx(1 - 2 / (2 * 5))


def test_what_it_says_of_two_texts_is_the_share_of_runs_that_the_other_lacks():
    assert novelty(["2 + 2 = 4", "2 + 2 = 4"]) == 0
    assert novelty(["2 + 2 = 4", "4 as 2 times 2"]) == 1
    assert novelty(["one two three four", "one two three five"]) == 0.5


def test_white_space_does_not_count_and_short_texts_are_one_run():
    assert novelty(["a  b\nc d", "a b c d"]) == 0
    assert novelty(["7", "7"]) == 0
    assert novelty(["7", "8"]) == 1
    assert novelty(["", ""]) == 0


@given(st.lists(st.text("ab ", max_size=12), min_size=2, max_size=8))
def test_novelty_is_a_share_whatever_the_order(texts):
    assert 0 <= novelty(texts) <= 1
    assert novelty(texts) == novelty(texts[::-1])


def test_its_expectation_does_not_depend_on_how_many_texts_there_are():
    texts = ["a b c", "a b c", "d e f", "g h i"]
    pairs = [novelty([one, other]) for i, one in enumerate(texts) for other in texts[:i]]
    assert novelty(texts) == pytest.approx(sum(pairs) / len(pairs))


def test_a_single_correct_completion_gets_the_mean_of_the_others():
    weights = NoveltyWeighting().weights([known(0.25), known(math.nan), known(0.75)])
    assert weights == [0.5, 1, 1.5]
    assert NoveltyWeighting().weights([known(math.nan)] * 2) == [1, 1]


def test_what_it_can_not_weigh_is_an_error_that_says_so():
    with pytest.raises(DataError, match="needs the novelty"):
        NoveltyWeighting().raw_weight(QuestionStatistics(1.0, 0.5, 0.5))
    with pytest.raises(ConfigError, match="novelty 0 infinite"):
        NoveltyWeighting(exponent=-1).raw_weight(known(0.0))


def test_only_the_correct_completions_of_a_question_count():
    def sampled(name, *texts):
        return SampledQuestion(
            Question(name, "?", "4"), tuple(Completion(text, "stop") for text in texts)
        )

    same, other = r"so 2 + 2 is \boxed{4}", r"double two \boxed{4}"
    rows = weigh(
        [
            sampled("alike", same, same, r"perhaps it is \boxed{5}"),
            sampled("different", same, other, r"so 2 + 2 is \boxed{5}"),
        ],
        NoveltyWeighting(),
    )
    assert [row.weight for row in rows] == [0, 2]
