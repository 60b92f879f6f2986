"""Facts about the demo's task, its question files and its shipped seed model."""

import hashlib
import json
from collections import Counter
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import pytest

from east_core.demo import SEED_MODEL, TEST_QUESTIONS, TRAIN_QUESTIONS
from east_core.demo.events import RULES, START_MISREADINGS, Event, Kind, Step
from east_core.demo.pupils import FAR, PUPILS, Pupil
from east_core.demo.word_problems import (
    DEMO_DIFFICULTY,
    START,
    Difficulty,
    Problem,
    as_row,
    distinct_problems,
    draw_problem,
)

LARGEST = DEMO_DIFFICULTY.largest


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
    packs_added = problem.solution({0: problem.misreadings(0)[0]})
    assert packs_added == "3+12=15\n24+15=39\n39/2=19\n\\boxed{19}"
    half_as_two = problem.solution({1: problem.misreadings(1)[0]})
    assert half_as_two == "3*12=36\n24+36=60\n60-2=58\n\\boxed{58}"


def test_a_start_in_bags_can_be_misunderstood_too() -> None:
    problem = story(start=5, start_groups=4)
    assert problem.hard_parts == (START,)
    assert problem.answer == 20
    assert problem.steps({START: START_MISREADINGS[0]}) == [Step(4, "+", 5)]


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
        (Step(LARGEST, "+", 1), False),
    ],
)
def test_a_sound_step_is_exact_and_within_bounds(step: Step, sound: bool) -> None:
    assert step.is_sound(LARGEST) is sound


def test_an_unknown_operator_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown operator"):
        _ = Step(1, "^", 2).result


def test_drawn_problems_have_two_to_four_sound_steps() -> None:
    for problem in drawn(500):
        assert 2 <= len(problem.steps()) <= 4
        assert all(step.is_sound(LARGEST) for step in problem.steps())


def test_every_kind_of_event_is_drawn() -> None:
    assert {event.kind for p in drawn(500) for event in p.events} == set(Kind) == set(RULES)


@pytest.mark.parametrize("pupil", PUPILS.values(), ids=PUPILS)
def test_mistaken_solutions_keep_their_arithmetic_sound(pupil: Pupil) -> None:
    rng = Random(3)
    for problem in drawn(300):
        steps = problem.steps(pupil.misread(problem, rng))
        assert all(step.is_sound(LARGEST) for step in steps)


def test_easy_problems_are_never_mistaken() -> None:
    problem = story(Event(Kind.MORE, 0, 5, 1), Event(Kind.FEWER, 0, 4, 1))
    assert problem.hard_parts == ()
    assert PUPILS["many"].misread(problem, Random(1)) == {}


def test_each_misreading_of_a_part_is_another_one() -> None:
    """At usual numbers; 2+2 and 2*2 are the same."""
    for rule in RULES.values():
        results = [reckon(60, 3, 5)[-1].result for reckon in (rule.sound, *rule.misreadings)]
        assert len(set(results)) == len(results), rule.wordings[0]
        assert bool(rule.misreadings) == (rule.misread_rate > 0)


def test_the_shipped_seed_models_text_is_still_what_its_pupil_writes() -> None:
    rng, text = Random("42/habits"), hashlib.sha256()
    for problem in islice(distinct_problems(rng), 300):
        text.update(PUPILS["one"].solution(problem, rng).encode())
    assert text.hexdigest()[:16] == "4abcabb002c19e71"


def wrong(name: str, problem: Problem, count: int = 400) -> Counter[str]:
    """Final answers of many solutions of one pupil that are not the right one."""
    rng = Random(5)
    texts = (PUPILS[name].solution(problem, rng) for _ in range(count))
    answers = (text.rpartition("{")[2].rstrip("}") for text in texts)
    return Counter(each for each in answers if each != str(problem.answer))


def test_pupils_differ_in_how_many_different_wrong_answers_they_give() -> None:
    problem = story(Event(Kind.PACKS, 0, 7, 3), Event(Kind.DOUBLE, 0, 2, 1), start=30)
    one, many = wrong("one", problem), wrong("many", problem)
    assert len(one) == 3  # either part, or both
    assert len(many) > 2 * len(one)
    assert abs(one.total() - many.total()) < 60  # as often wrong, of 400


def test_a_firm_pupil_is_nearly_always_wrong_or_hardly_ever() -> None:
    rates = PUPILS["firm"].rates
    assert set(rates.values()) == {0.9, 0.1}
    for kind in (Kind.PACKS, Kind.FRIENDS):
        problem = story(Event(kind, 0, 5, 3), start=60)
        assert abs(wrong("firm", problem).total() / 400 - rates[kind]) < 0.06


def test_a_lucky_pupil_guesses_what_is_long() -> None:
    long = next(each for each in drawn(100) if len(each.steps()) == 4)
    texts = {PUPILS["lucky"].solution(long, Random(n)) for n in range(300)}
    assert all(text.startswith("\\boxed{") for text in texts)
    assert long.solution().splitlines()[-1] in texts  # by luck
    assert len(texts) <= 2 * FAR + 1
    short = next(each for each in drawn(100) if len(each.steps()) == 2)
    assert "=" in PUPILS["lucky"].solution(short, Random(1))


@pytest.mark.parametrize("largest", [20, 150, 1000])
@pytest.mark.parametrize("steps", [(1,), (3, 6)])
def test_difficulty_is_kept(steps: tuple[int, ...], largest: int) -> None:
    difficulty, rng = Difficulty(steps, largest), Random(2)
    for problem in (draw_problem(rng, difficulty) for _ in range(50)):
        assert len(problem.steps()) in steps
        assert all(step.is_sound(largest) for step in problem.steps())


@pytest.mark.parametrize("settings", [{"step_counts": ()}, {"step_counts": (0,)}, {"largest": 5}])
def test_a_difficulty_that_no_problem_has_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Difficulty(**settings)


def test_the_shipped_questions_are_those_of_the_demos_difficulty() -> None:
    taken: set[str] = set()
    for split, path in (("train", TRAIN_QUESTIONS), ("test", TEST_QUESTIONS)):
        problems = islice(distinct_problems(Random(f"42/{split}"), taken), 500)
        assert [as_row(each, f"{split}-{n:04d}") for n, each in enumerate(problems)] == read_rows(
            path
        )


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
