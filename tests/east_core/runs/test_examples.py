import dataclasses
from types import SimpleNamespace

import pytest

from east_core.config import DpoRecipe, KtoRecipe, SftRecipe
from east_core.protocols import example_type
from east_core.records import (
    AnswerCluster,
    Completion,
    LabelledExample,
    PreferencePair,
    Question,
    SampledQuestion,
    TokenIds,
    TrainingExample,
)
from east_core.runs.example_choice import build_examples, survey_examples


def boxed(answer, working="", reason="stop"):
    return Completion(f"{working}\\boxed{{{answer}}}", finish_reason=reason)


def weighed_question(question_id, completions, clusters, weight=1.0, kept=True, count=1):
    question = Question(question_id, f"question {question_id}", "4")
    clusters = tuple(AnswerCluster(*cluster) for cluster in clusters)
    weighed = SimpleNamespace(
        question_id=question_id,
        clusters=clusters,
        kept=kept,
        weight=weight,
        example_count=count,
        is_unfiltered=False,
    )
    return SampledQuestion(question, tuple(completions)), weighed


def examples_of(pairs, recipe, seed=1, round_number=1):
    statistics = survey_examples(pairs, recipe, seed, round_number)
    return list(build_examples(pairs, recipe, seed, round_number, statistics)), statistics


MIXED = weighed_question(
    "q",
    [
        boxed("4", "a"),
        boxed("5"),
        boxed("5", "again"),
        boxed("7"),
        boxed("4", "b"),
        boxed("4", " b"),
    ],
    [("4", (0, 4, 5), True), ("5", (1, 2), False), ("7", (3,), False)],
    weight=2.0,
)
UNANIMOUS = weighed_question("u", [boxed("4")] * 3, [("4", (0, 1, 2), True)], weight=0.0)


def test_sft_takes_one_correct_completion():
    (example,), statistics = examples_of([MIXED], SftRecipe())
    assert example.completion in {"a\\boxed{4}", "b\\boxed{4}", "b \\boxed{4}"}
    assert example == TrainingExample("q", "question q", example.completion, 1.0)
    assert (statistics.questions, statistics.examples, statistics.total_weight) == (1, 1, 2.0)


def test_several_completions_are_distinct_and_carry_or_share_the_weight():
    plain = weighed_question("p", [boxed("4")], [("4", (0,), True)], weight=2.0)
    repeat, _ = examples_of([MIXED, plain], SftRecipe(completions_per_question=8))
    share, _ = examples_of(
        [MIXED, plain], SftRecipe(completions_per_question=8, weight_sharing="share")
    )
    assert len({example.completion.split("\\")[0].strip() for example in repeat[:2]}) == 2
    assert [example.weight for example in repeat] == [1.0, 1.0, 1.0]
    assert [example.weight for example in share] == [0.75, 0.75, 1.5]


def test_the_difficulty_weighting_asks_for_more_completions_of_hard_questions():
    hard = weighed_question(
        "h", [boxed("4", "a"), boxed("4", "b"), boxed("4", "c")], [("4", (0, 1, 2), True)], count=2
    )
    examples, statistics = examples_of([hard], SftRecipe())
    assert len({example.completion for example in examples}) == 2
    assert statistics.examples == 2
    assert [example.weight for example in examples] == [1.0, 1.0]


def test_dpo_rejects_the_most_common_wrong_answer():
    (pair,), _ = examples_of([MIXED], DpoRecipe())
    assert isinstance(pair, PreferencePair)
    assert pair.chosen.endswith("{4}")
    assert pair.rejected.endswith("{5}")


def test_a_question_without_a_wrong_completion_gives_no_pair_and_is_counted():
    pairs, statistics = examples_of([MIXED, UNANIMOUS], DpoRecipe())
    assert [pair.question_id for pair in pairs] == ["q"]
    assert (statistics.questions, statistics.examples, statistics.without_wrong) == (2, 1, 1)
    assert pairs[0].weight == 1.0


def test_kto_takes_both_sides_unpaired():
    examples, _ = examples_of([MIXED, UNANIMOUS], KtoRecipe())
    labels = [(example.question_id, example.is_desirable) for example in examples]
    assert labels == [("q", True), ("q", False), ("u", True)]
    assert all(isinstance(example, LabelledExample) for example in examples)


@pytest.mark.parametrize(
    "ineligible",
    [boxed("4", reason="length"), boxed("4", reason="unknown"), Completion("4", "stop")],
)
def test_truncated_and_unboxed_completions_are_never_targets(ineligible):
    question = weighed_question(
        "q", [ineligible, boxed("5")], [("4", (0,), True), ("5", (1,), False)]
    )
    for recipe in (SftRecipe(), DpoRecipe()):
        examples, statistics = examples_of([question], recipe)
        assert examples == []
        assert statistics.without_correct == 1


def test_a_truncated_or_answerless_completion_is_never_the_rejected_one():
    question = weighed_question(
        "q",
        [
            boxed("4"),
            Completion("", "length"),
            boxed("5", reason="length"),
            boxed("7"),
            Completion(""),
        ],
        [("4", (0,), True), (None, (1, 4), False), ("5", (2,), False), ("7", (3,), False)],
    )
    (pair,), _ = examples_of([question], DpoRecipe())
    assert pair.rejected == "\\boxed{7}"


def test_weights_are_rescaled_over_what_is_trained_on():
    lost = weighed_question("lost", [Completion("4", "stop")], [("4", (0,), True)], weight=1.5)
    low = weighed_question("low", [boxed("4")], [("4", (0,), True)], weight=0.5)
    examples, _ = examples_of([lost, low, MIXED], SftRecipe())
    assert [example.weight for example in examples] == pytest.approx([0.4, 1.6])


def test_dropped_questions_give_nothing():
    dropped = weighed_question("d", [boxed("4")], [("4", (0,), True)], kept=False)
    assert examples_of([dropped], SftRecipe()) == ([], survey_examples([], SftRecipe(), 1, 1))


def test_a_draw_depends_on_seed_round_and_question_alone():
    many = weighed_question(
        "m", [boxed("4", str(i)) for i in range(64)], [("4", tuple(range(64)), True)]
    )
    (alone,), _ = examples_of([many], SftRecipe())
    (_, beside), _ = examples_of([MIXED, many], SftRecipe())
    (later,), _ = examples_of([many], SftRecipe(), round_number=2)
    assert alone.completion == beside.completion
    assert alone.completion != later.completion


def test_each_recipe_names_the_rows_it_reads():
    recipes = SftRecipe(), DpoRecipe(), KtoRecipe()
    assert [example_type(r) for r in recipes] == [TrainingExample, PreferencePair, LabelledExample]


@pytest.mark.parametrize(
    "recipe", [SftRecipe(completions_per_question=4), DpoRecipe(), KtoRecipe()]
)
def test_examples_carry_the_ids_that_were_sampled(recipe):
    sampled, weighed = MIXED
    with_ids = [
        dataclasses.replace(completion, ids=TokenIds([number, 99]))
        for number, completion in enumerate(sampled.completions)
    ]
    known = {completion.text: completion.ids for completion in with_ids}
    pair = SampledQuestion(sampled.question, tuple(with_ids), TokenIds([7])), weighed
    examples, _ = examples_of([pair], recipe)
    assert examples
    for example in examples:
        assert example.prompt_ids == TokenIds([7])
        for side in ("completion", "chosen", "rejected"):
            if text := getattr(example, side, None):
                assert getattr(example, f"{side}_ids") == known[text]


def test_any_answer_may_be_a_target_where_the_recipe_says_so():
    plain, cut = Completion("The answer is 4.", "stop"), Completion("The answer is 4.", "length")
    question = weighed_question(
        "q", [plain, cut, boxed("5")], [("4", (0, 1), True), ("5", (2,), False)]
    )
    (example,), _ = examples_of([question], SftRecipe(targets="any"))
    assert example.completion == plain.text
    (pair,), _ = examples_of([question], DpoRecipe(targets="any"))
    assert (pair.chosen, pair.rejected) == (plain.text, "\\boxed{5}")
    assert examples_of([question], SftRecipe())[0] == []
