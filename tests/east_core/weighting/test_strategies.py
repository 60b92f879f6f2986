import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from east_core.errors import ConfigError, DataError
from east_core.weighting.base import QuestionStatistics
from east_core.weighting.controls import (
    BalancedWeighting,
    CorrectedEntropyWeighting,
    MarginWeighting,
    ShuffledWeighting,
    UnfilteredWeighting,
)
from east_core.weighting.novelty import NoveltyWeighting
from east_core.weighting.scaling import NEGLIGIBLE, scaling
from east_core.weighting.shrinkage import ShrunkEntropyWeighting
from east_core.weighting.strategies import (
    AccuracyWeighting,
    DifficultyWeighting,
    EntropyWeighting,
    LabelFree,
    PerplexityWeighting,
    RejectedWeighting,
    UniformWeighting,
    VarianceWeighting,
    Weighting,
)


def question(entropy=1.0, accuracy=0.5, rejected=0.25, perplexity=1.5):
    return QuestionStatistics(entropy, accuracy, rejected, perplexity)


def test_entropy_weights_by_hand():
    # H = 1, 2, 3 bits: the mean is 2, so the weights are H / 2
    assert EntropyWeighting().weights([question(1), question(2), question(3)]) == [0.5, 1.0, 1.5]


def test_the_exponent_sharpens_flattens_and_turns_the_order():
    questions = [question(1), question(4)]
    assert EntropyWeighting(exponent=0.5).weights(questions) == pytest.approx([2 / 3, 4 / 3])
    assert EntropyWeighting(exponent=0).weights(questions) == [1, 1]
    assert EntropyWeighting(exponent=-1).weights(questions) == pytest.approx([1.6, 0.4])


@pytest.mark.parametrize(
    ("weighting", "raw"),
    [
        (UniformWeighting(), 1),
        (EntropyWeighting(exponent=2), 4.0),
        (AccuracyWeighting(exponent=2), 0.75**2),
        (RejectedWeighting(), 0.5),
        (PerplexityWeighting(exponent=-1), 1 / 1.6),
        (VarianceWeighting(), 4 * 0.25 * 0.75),
        (DifficultyWeighting(), 1),
        (CorrectedEntropyWeighting(), 2.0 + 4 / (2 * 8 * math.log(2))),
        (ShrunkEntropyWeighting(exponent=2), 2.0),  # the power comes after the shrinking
        (NoveltyWeighting(exponent=2), 0.75**2),
        (MarginWeighting(exponent=0.5), 0.5),
        (BalancedWeighting(), 1),
        (ShuffledWeighting(exponent=2), 4.0),
        (UnfilteredWeighting(), 1),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_each_strategy_by_its_equation(weighting, raw):
    right_half = MarginWeighting().kind == weighting.kind
    accuracy, rejected = (0.5, 0.25) if right_half else (0.25, 0.5)
    told = QuestionStatistics(2.0, accuracy, rejected, 1.6, samples=8, answers=5, novelty=0.75)
    assert weighting.raw_weight(told) == pytest.approx(raw)


def test_the_vote_margin_is_nothing_where_a_wrong_answer_wins():
    assert MarginWeighting().raw_weight(question(accuracy=0.25, rejected=0.5)) == 0
    with pytest.raises(ConfigError, match="vote margin 0 infinite"):
        MarginWeighting(exponent=-1).raw_weight(question(accuracy=0.25, rejected=0.25))


def test_the_correction_needs_counts_and_leaves_a_single_answer_alone():
    with pytest.raises(DataError, match="numbers of completions"):
        CorrectedEntropyWeighting().raw_weight(question())
    unanimous = QuestionStatistics(0.0, 1.0, 0.0, samples=8, answers=1)
    assert CorrectedEntropyWeighting().raw_weight(unanimous) == 0


def test_the_filter_keeps_what_is_within_its_bounds_both_included():
    shares = [0.125, 0.25, 0.5, 0.75, 0.875]
    kept = [BalancedWeighting().keeps(question(accuracy=share)) for share in shares]
    assert kept == [False, True, True, True, False]
    with pytest.raises(ValidationError, match=r"lowest 0\.5 is above highest 0\.25"):
        BalancedWeighting(lowest=0.5, highest=0.25)


@given(st.lists(st.floats(0.01, 10), min_size=2, max_size=50), st.integers(0, 9))
def test_shuffling_deals_out_the_same_weights_by_its_number_alone(bits, draw):
    questions = [question(entropy) for entropy in bits]
    shuffled = ShuffledWeighting(draw=draw).weights(questions)
    assert sorted(shuffled) == pytest.approx(sorted(EntropyWeighting().weights(questions)))
    assert shuffled == ShuffledWeighting(draw=draw).weights(questions)


def test_another_number_shuffles_otherwise():
    questions = [question(float(entropy)) for entropy in range(1, 50)]
    dealt = [tuple(ShuffledWeighting(draw=draw).weights(questions)) for draw in range(5)]
    assert len(set(dealt)) == 5


def test_difficulty_gives_harder_questions_more_examples_not_heavier_ones():
    weighting = DifficultyWeighting(most_examples=8)
    counts = [weighting.example_count(question(accuracy=a)) for a in (1.0, 0.9, 0.5, 0.125, 0.01)]
    assert counts == [1, 1, 4, 7, 8]
    assert weighting.weights([question(accuracy=0.1), question(accuracy=0.9)]) == [1, 1]
    assert EntropyWeighting().example_count(question()) == 1


STATISTICS = st.builds(
    QuestionStatistics,
    st.floats(0.01, 10),
    st.floats(0.01, 0.99),
    st.floats(0.01, 0.99),
    st.floats(1, 100),
    sizes=st.lists(st.integers(1, 9), min_size=2, max_size=5).map(tuple),
    novelty=st.floats(0.01, 1) | st.just(math.nan),
)
STRATEGIES = st.one_of(
    st.just(UniformWeighting()),
    st.just(DifficultyWeighting()),
    *(
        st.builds(kind, exponent=st.floats(-3, 3))
        for kind in (
            EntropyWeighting,
            AccuracyWeighting,
            RejectedWeighting,
            PerplexityWeighting,
            VarianceWeighting,
            NoveltyWeighting,
            ShrunkEntropyWeighting,
        )
    ),
)


@given(STRATEGIES, st.lists(STATISTICS, min_size=1, max_size=200))
def test_weights_have_mean_one(weighting, questions):
    weights = weighting.weights(questions)
    assert abs(math.fsum(weights) / len(weights) - 1) < 1e-9
    assert min(weights) >= 0


@given(STRATEGIES, st.lists(STATISTICS, min_size=2, max_size=50), st.randoms())
def test_weights_follow_their_questions_through_a_permutation(weighting, questions, random):
    order = list(range(len(questions)))
    random.shuffle(order)
    weights = weighting.weights(questions)
    permuted = weighting.weights([questions[index] for index in order])
    assert permuted == pytest.approx([weights[index] for index in order])


@given(st.lists(st.floats(0.01, 10), min_size=2, max_size=50), st.floats(0.1, 3))
def test_the_order_follows_entropy_for_a_positive_exponent_and_reverses_for_a_negative(bits, a):
    questions = [question(entropy) for entropy in sorted(bits)]
    rising = EntropyWeighting(exponent=a).weights(questions)
    falling = EntropyWeighting(exponent=-a).weights(questions)
    assert rising == sorted(rising)
    assert falling == sorted(falling, reverse=True)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200), st.floats(1, 20))
def test_a_cap_keeps_the_mean_and_the_order(raw, cap):
    counted = sum(value > NEGLIGIBLE * max(raw) for value in raw)
    assume(cap * counted > 1.001 * len(raw))
    weights = list(map(scaling(raw, cap), raw))
    assert abs(math.fsum(weights) / len(weights) - 1) < 1e-9
    assert max(weights) <= cap
    ranked = [weight for _, weight in sorted(zip(raw, weights, strict=True))]
    assert ranked == sorted(ranked)


def test_a_weight_next_to_nothing_counts_as_nothing():
    with pytest.raises(ConfigError, match=r"only 1 of 2 .* set it to 2 or more"):
        scaling([1.0, 5e-324], 1.5)
    scale = scaling([1.0, 5e-324], 2)
    assert [scale(r) for r in (1.0, 5e-324)] == [2, pytest.approx(0)]


def test_a_cap_by_hand():
    # 1, 1, 8 scaled to mean 1 are 0.3, 0.3, 2.4; what the cap of 2 cuts off goes to the others
    scale = scaling([1, 1, 8], 2)
    assert [scale(r) for r in (1, 1, 8)] == [0.5, 0.5, 2]


def test_a_cap_that_leaves_no_mean_of_one_is_an_error_that_names_the_least_cap():
    with pytest.raises(ConfigError, match="set it to 4 or more"):
        scaling([0, 0, 0, 5], 2)


def test_zero_entropy():
    unanimous, mixed = question(0.0), question(2.0)
    assert EntropyWeighting().weights([unanimous, mixed]) == [0, 2]
    assert EntropyWeighting(exponent=0).weights([unanimous, mixed]) == [1, 1]
    with pytest.raises(ConfigError, match="drop_unanimous"):
        EntropyWeighting(exponent=-1).weights([unanimous, mixed])
    with pytest.raises(ConfigError, match=r"raise sampling\.temperature"):
        EntropyWeighting().weights([unanimous, unanimous])


def test_no_questions_have_no_weights():
    assert EntropyWeighting().weights([]) == []


def test_perplexity_needs_logprobs():
    with pytest.raises(DataError, match="mean_logprob"):
        PerplexityWeighting().raw_weight(question(perplexity=None))


def test_weights_too_large_for_a_float_are_an_error():
    with pytest.raises(ConfigError, match="closer to 0"):
        PerplexityWeighting(exponent=10).raw_weight(question(perplexity=1e60))
    assert [scaling([1e308, 1e308])(r) for r in (1e308, 0)] == [1, 0]
    assert [scaling([5e-324, 5e-324])(r) for r in (5e-324, 0)] == [1, 0]


def test_the_union_tells_the_strategies_apart_and_refuses_what_is_unknown():
    adapter = TypeAdapter(Weighting)
    assert adapter.validate_python({"kind": "entropy", "exponent": -3}).exponent == -3
    for bad in (
        {"kind": "entropi"},
        {"kind": "uniform", "exponent": 1},
        {"kind": "entropy", "exponent": float("nan")},
        {"kind": "entropy", "max_weight": 0.5},
        {"kind": "difficulty", "most_examples": 0},
    ):
        with pytest.raises(ValidationError):
            adapter.validate_python(bad)
    with pytest.raises(ValidationError):
        LabelFree(min_majority=0)


def test_every_setting_tells_what_it_does():
    for strategy in (
        *TypeAdapter(Weighting).json_schema()["$defs"].values(),
        LabelFree.model_json_schema(),
    ):
        assert strategy["description"]
        for name, field in strategy["properties"].items():
            assert name == "kind" or len(field["description"]) > 20, name
