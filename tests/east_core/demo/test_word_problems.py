"""Facts about the demo's task, its question files and its shipped seed model."""

import json
from itertools import islice
from pathlib import Path
from random import Random

import pytest

from east_core.demo import SEED_MODEL, TEST_QUESTIONS, TRAIN_QUESTIONS
from east_core.demo.word_problems import (
    LARGEST_VALUE,
    RULES,
    Event,
    Kind,
    Problem,
    Step,
    as_row,
    distinct_problems,
    draw_mistakes,
    draw_problem,
)


def read_rows(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def story(*events: Event, start: int = 24, start_groups: int = 1) -> Problem:
    return Problem("Mia", "Tom", "pens", start, start_groups, events)


def drawn(count: int) -> list[Problem]:
    rng = Random(7)
    return [draw_problem(rng) for _ in range(count)]


def test_a_story_is_told_and_solved_step_by_step() -> None:
    problem = story(Event(Kind.PACKS, 0, 12, 3), Event(Kind.HALF, 0, 2, 1))
    assert problem.question == (
        "Mia has 24 pens. Mia buys 3 bags of 12 pens. Mia gives away half of the pens. "
        "How many pens does Mia have now?"
    )
    assert problem.solution() == "3*12=36\n24+36=60\n60/2=30\n\\boxed{30}"
    assert problem.answer == 30


def test_a_misconception_changes_the_operation_and_not_the_arithmetic() -> None:
    problem = story(Event(Kind.PACKS, 0, 12, 3), Event(Kind.HALF, 0, 2, 1))
    packs_added = problem.solution(frozenset({0}))
    assert packs_added == "3+12=15\n24+15=39\n39/2=19\n\\boxed{19}"
    half_as_two = problem.solution(frozenset({1}))
    assert half_as_two == "3*12=36\n24+36=60\n60-2=58\n\\boxed{58}"


def test_a_start_in_bags_can_be_misunderstood_too() -> None:
    problem = story(start=5, start_groups=4)
    assert problem.hard_parts == (-1,)
    assert problem.answer == 20
    assert problem.steps(frozenset({-1})) == [Step(4, "+", 5)]


def test_a_closing_event_asks_the_question_itself() -> None:
    problem = story(Event(Kind.PRICE, 0, 3, 1))
    assert problem.answer == 72
    assert problem.question.endswith("How many dollars does Mia get?")


@pytest.mark.parametrize(
    ("step", "sound"),
    [
        (Step(12, "/", 4), True),
        (Step(13, "/", 4), False),
        (Step(3, "-", 3), False),
        (Step(LARGEST_VALUE, "+", 1), False),
    ],
)
def test_a_sound_step_is_exact_and_within_bounds(step: Step, sound: bool) -> None:
    assert step.is_sound is sound


def test_an_unknown_operator_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown operator"):
        _ = Step(1, "^", 2).result


def test_drawn_problems_have_two_to_four_sound_steps() -> None:
    for problem in drawn(500):
        assert 2 <= len(problem.steps()) <= 4
        assert all(step.is_sound for step in problem.steps())


def test_every_kind_of_event_is_drawn() -> None:
    assert {event.kind for p in drawn(500) for event in p.events} == set(Kind) == set(RULES)


def test_mistaken_solutions_keep_their_arithmetic_sound() -> None:
    rng = Random(3)
    for problem in drawn(500):
        assert all(step.is_sound for step in problem.steps(draw_mistakes(problem, rng)))


def test_easy_problems_are_never_mistaken() -> None:
    problem = story(Event(Kind.MORE, 0, 5, 1), Event(Kind.FEWER, 0, 4, 1))
    assert problem.hard_parts == ()
    assert draw_mistakes(problem, Random(1)) == frozenset()


def test_equal_seeds_give_equal_problems() -> None:
    assert drawn(50) == drawn(50)


def test_a_shared_set_keeps_streams_disjoint() -> None:
    taken: set[str] = set()
    first = list(islice(distinct_problems(Random(1), taken), 100))
    second = list(islice(distinct_problems(Random(1), taken), 100))
    assert not {p.key for p in first} & {p.key for p in second}


def test_a_row_carries_the_answer_and_the_worked_solution() -> None:
    row = as_row(story(Event(Kind.DOUBLE, 0, 2, 1)), "train-0000")
    assert row["id"] == "train-0000"
    assert row["answer"] == "48"
    assert row["solution"].endswith("\\boxed{48}")


def test_shipped_questions_are_distinct_across_both_files() -> None:
    rows = read_rows(TRAIN_QUESTIONS) + read_rows(TEST_QUESTIONS)
    assert len(rows) == 1000
    assert len({row["question"] for row in rows}) == len(rows)
    assert len({row["id"] for row in rows}) == len(rows)


def test_shipped_answers_agree_with_their_solutions() -> None:
    for row in read_rows(TRAIN_QUESTIONS) + read_rows(TEST_QUESTIONS):
        assert row["solution"].endswith(f"\\boxed{{{row['answer']}}}")


def test_shipped_files_of_the_seed_model_stay_small() -> None:
    assert sum(path.stat().st_size for path in SEED_MODEL.iterdir()) < 5_000_000
