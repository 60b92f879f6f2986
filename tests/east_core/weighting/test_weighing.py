import dataclasses
import json
import math

import pytest

from east_core.answers.grading import Grader
from east_core.errors import ConfigError, NothingToLearn
from east_core.records import Completion, Question, SampledQuestion
from east_core.tables import read_table, write_table
from east_core.weighting.controls import BalancedWeighting, ShuffledWeighting
from east_core.weighting.strategies import (
    DifficultyWeighting,
    EntropyWeighting,
    LabelFree,
    PerplexityWeighting,
    UniformWeighting,
)
from east_core.weighting.weighed import WeighedQuestion
from east_core.weighting.weighing import WeighingRules, weigh_samples


def sampled(identity, answers, gold="1", finish="stop", logprobs=None):
    logprobs = logprobs or [None] * len(answers)
    completions = tuple(
        Completion("none" if answer is None else rf"so \boxed{{{answer}}}", finish, 5, logprob)
        for answer, logprob in zip(answers, logprobs, strict=True)
    )
    return SampledQuestion(Question(identity, "?", gold), completions)


ROUND = [
    [
        sampled("half", ["1", "1", "2", "2"]),  # 1 bit
        sampled("known", ["1", "1", "1", "1"]),
        sampled("lost", ["2", "3", "2", None]),
    ],
    [
        sampled("spread", ["1", "2", "3", None]),  # 2 bits
        sampled("silent", [None, None, None, None]),
    ],
]


@pytest.fixture
def weigh(tmp_path):
    def weigh(weighting, shards=ROUND, **settings):
        paths = [tmp_path / f"samples-{index}.parquet" for index in range(len(shards))]
        for path, rows in zip(paths, shards, strict=True):
            write_table(path, SampledQuestion, rows)
        out = tmp_path / "out"
        out.mkdir(exist_ok=True)
        with Grader(processes=1) as grader:
            statistics = weigh_samples(paths, out, WeighingRules(weighting, **settings), grader)
        written = [list(read_table(path, WeighedQuestion)) for path in sorted(out.iterdir())]
        return statistics, written

    return weigh


def test_a_shard_of_weighed_questions_for_each_shard_of_samples(weigh):
    _, shards = weigh(EntropyWeighting())
    assert [[row.question_id for row in shard] for shard in shards] == [
        ["half", "known", "lost"],
        ["spread", "silent"],
    ]


def test_a_filter_leaves_questions_out_and_weighs_the_others_alike(weigh):
    statistics, shards = weigh(BalancedWeighting(lowest=0.3))
    outcome = {row.question_id: (row.drop_reason, row.weight) for rows in shards for row in rows}
    assert outcome["half"] == (None, 1)
    assert outcome["spread"] == ("filtered", 0)
    assert statistics.dropped == {"unanimous": 1, "all_wrong": 2, "filtered": 1}
    with pytest.raises(NothingToLearn, match=r"2 filtered.* widen weighting\.lowest"):
        weigh(BalancedWeighting(lowest=0.6, drop_unanimous=True), [[ROUND[0][0], ROUND[1][0]]])


def test_shuffled_weights_are_those_of_the_round_whatever_its_shards(weigh):
    def weights(shards):
        _, written = weigh(ShuffledWeighting(draw=1), shards)
        return [row.weight for rows in written for row in rows if row.kept]

    answers = [["1"] * (8 - wrong) + list("2345678")[:wrong] for wrong in range(1, 8)]
    spread = [sampled(f"q{index}", given) for index, given in enumerate(answers)]
    _, (rows,) = weigh(EntropyWeighting(), [spread])
    together, apart = weights([spread]), weights([spread[:3], spread[3:]])
    assert together == apart
    assert sorted(together) == pytest.approx(sorted(row.weight for row in rows))
    assert together != pytest.approx([row.weight for row in rows])


def test_weights_and_reasons_by_hand(weigh):
    _, shards = weigh(EntropyWeighting())
    outcome = {
        row.question_id: (row.kept, row.drop_reason, row.weight)
        for shard in shards
        for row in shard
    }
    assert outcome == {
        "half": (True, None, pytest.approx(2 / 3)),
        "known": (False, "unanimous", 0),
        "lost": (False, "all_wrong", 0),
        "spread": (True, None, pytest.approx(4 / 3)),
        "silent": (False, "all_wrong", 0),
    }


def test_a_round_in_numbers(weigh):
    statistics, _ = weigh(EntropyWeighting())
    facts = json.loads(json.dumps(dataclasses.asdict(statistics)))
    assert facts["questions"] == 5
    assert facts["kept"] == 2
    assert facts["dropped"] == {"unanimous": 1, "all_wrong": 2}
    assert facts["completions"] == 20
    assert facts["mean_entropy_bits"] == 1.5
    assert facts["entropy_histogram"] == [2, 0, 1, 1, 1]  # 0, 0, 1, 1.5 and 2 bits
    assert facts["accuracy"] == pytest.approx((0.5 + 1 + 0 + 0.25 + 0) / 5)
    assert facts["pass_at_n"] == pytest.approx(3 / 5)
    assert facts["no_answer_share"] == pytest.approx(6 / 20)
    assert facts["truncated_share"] == 0
    assert facts["undecided"] == 0
    assert facts["weight_quantiles"]["p0"] == pytest.approx(2 / 3)
    assert facts["weight_quantiles"]["p100"] == pytest.approx(4 / 3)
    assert facts["effective_sample_size"] == pytest.approx(4 / (4 / 9 + 16 / 9))
    assert facts["label_free"] is False


def test_unanimous_questions_may_be_kept(weigh):
    _, shards = weigh(UniformWeighting(drop_unanimous=False))
    assert [row.weight for shard in shards for row in shard] == [1, 1, 0, 1, 0]
    _, shards = weigh(EntropyWeighting(drop_unanimous=False))
    assert [row.weight for shard in shards for row in shard] == [1, 0, 0, 2, 0]
    with pytest.raises(ConfigError, match="infinite"):
        weigh(EntropyWeighting(drop_unanimous=False, exponent=-1))


def test_difficulty_tells_how_many_examples_to_train_on(weigh):
    _, shards = weigh(DifficultyWeighting(most_examples=8))
    assert {
        row.question_id: row.example_count for shard in shards for row in shard if row.kept
    } == {
        "half": 4,
        "spread": 6,
    }


def test_perplexity_is_that_of_the_correct_completions(weigh):
    question = sampled("q", ["1", "1", "2"], logprobs=[-0.1, -0.3, -9.0])
    _, [[row]] = weigh(PerplexityWeighting(), [[question]])
    assert row.perplexity == pytest.approx(math.exp(0.2))


def test_truncated_completions_are_counted_and_read_strictly(weigh):
    cut = sampled("cut", [None, "1", "2"], finish="length")
    statistics, [[row]] = weigh(UniformWeighting(), [[cut]])
    assert (row.truncated, row.no_answer, statistics.truncated_share) == (3, 1, 1)


def test_a_round_that_keeps_nothing_says_why_and_writes_nothing(weigh, tmp_path):
    with pytest.raises(NothingToLearn, match="1 all_wrong, 1 unanimous"):
        weigh(EntropyWeighting(), [[ROUND[0][1], ROUND[0][2]]])
    assert list((tmp_path / "out").iterdir()) == []


def test_without_gold_answers_the_majority_is_the_label(weigh):
    shards = [
        [
            sampled("agreed", ["7", "7", "7.0", "2"], gold=None),
            sampled("tied", ["7", "7", "2", "2"], gold=None),
            sampled("scattered", ["7", "7", "2", "3", "4"], gold=None),
            sampled("silent", [None, None, None, "3"], gold=None),
            sampled("wrong", ["9", "9", "9", "1"], gold="1"),  # the gold answer is not looked at
        ]
    ]
    statistics, [rows] = weigh(UniformWeighting(), shards, label_free=LabelFree())
    assert [(row.question_id, row.label, row.drop_reason) for row in rows] == [
        ("agreed", "7", None),
        ("tied", None, "no_majority"),
        ("scattered", None, "no_majority"),
        ("silent", None, "no_majority"),
        ("wrong", "9", None),
    ]
    assert all(row.is_pseudo_label for row in rows)
    assert [c.is_correct for c in rows[0].clusters] == [True, False]
    assert statistics.label_free
    assert statistics.dropped == {"no_majority": 3}
    _, [rows] = weigh(UniformWeighting(), shards, label_free=LabelFree(min_majority=0.4))
    assert rows[2].label == "7"


def test_the_result_does_not_depend_on_the_sharding_or_the_workers(weigh, tmp_path):
    rows = [row for shard in weigh(EntropyWeighting())[1] for row in shard]
    for path in (tmp_path / "out").iterdir():
        path.unlink()
    flat = [[row for shard in ROUND for row in shard]]
    assert weigh(EntropyWeighting(), flat)[1] == [rows]


def test_how_varied_the_samples_were_is_told(weigh):
    """pass@n, maj@n with ties by lot, different answers, and different right solutions."""

    def said(identity, gold, *texts):
        completions = tuple(Completion(text, "stop", 5) for text in texts)
        return SampledQuestion(Question(identity, "?", gold), completions)

    samples = [
        said(
            "won", "1", r"It is \boxed{1}.", "It  is\n\\boxed{1}.", r"So \boxed{1}.", r"\boxed{3}"
        ),
        said("tied", "2", r"\boxed{2}", r"\boxed{2}", r"\boxed{7}", r"\boxed{7}"),
        said("lost", "3", r"\boxed{4}", r"\boxed{4}", "none", r"\boxed{3}"),
    ]
    statistics, _ = weigh(EntropyWeighting(), [samples])
    assert statistics.pass_at_n == 1.0
    assert statistics.majority_at_n == pytest.approx((1 + 0.5 + 0) / 3)
    assert statistics.distinct_answers == pytest.approx(2.0)
    assert statistics.distinct_solutions_share == pytest.approx((2 + 1 + 1) / (3 + 2 + 1))
