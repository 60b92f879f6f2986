"""Kinds of tasks: what each reads as an answer, and which answers are equal to the gold answer."""

import json

import pytest
from pydantic import TypeAdapter, ValidationError

from east_core.answers.clustering import cluster
from east_core.answers.grading import Grader
from east_core.answers.gradings import MATH, Grading
from east_core.records import Completion, Question, SampledQuestion

GRADING = TypeAdapter(Grading)


@pytest.fixture(scope="module")
def grader():
    with Grader(processes=1) as grader:
        yield grader


def correct(grader, settings, gold, responses):
    """Whether each response is in the cluster of the gold answer."""
    completions = tuple(Completion(text, "stop") for text in responses)
    sampled = SampledQuestion(Question("q", "?", gold), completions)
    grading = GRADING.validate_python(settings)
    clusters = cluster(sampled, grader, "lenient", grading=grading).clusters
    right = {member for c in clusters if c.is_correct for member in c.members}
    return [index in right for index in range(len(responses))]


@pytest.mark.parametrize(
    ("settings", "gold", "right", "wrong"),
    [
        ({"kind": "choice"}, "B",
         ["The answer is (B).", "b", "(b)", "B) cells", "the answer is b", "<answer>B</answer>"],
         ["C", "The answer is (C) cells.", "cells", "A and B"]),
        ({"kind": "choice"}, "cells", ["C. cells", "The answer is the cells."], ["C. walls", "C"]),
        ({"kind": "choice"}, "C. cells", ["C", "cells", "(C) walls"], ["B. cells", "D", "walls"]),
        ({"kind": "text"}, "The Old Town", ["old town", "Answer: the old town.", "Old-Town"],
         ["Old Towns", "town old", "Old Town, Riga"]),
        ({"kind": "text", "aliases": "|"}, "UK|United Kingdom",
         ["UK", "the United Kingdom"], ["United", "UK United Kingdom", "KU"]),
        ({"kind": "text", "min_f1": 0.6}, "Anna Maria Berg",
         ["Anna Berg", "Maria Anna Berg"], ["Berg", "Anna Lind"]),
        ({"kind": "exact"}, '{"a": 1, "b": [2]}',
         ['{"b": [2], "a": 1}', '```json\n{"a": 1,\n "b": [2]}\n```', "{'a': 1, 'b': [2]}"],
         ['{"a": 1, "b": [3]}', '{"a": 1}', '{"a": "1", "b": [2]}']),
        ({"kind": "exact"}, "abA", ["abA", '"abA"', r"\boxed{\text{abA}}"], ["aba", "abA b"]),
        ({"kind": "exact"}, "SELECT 1", ["```sql\nSELECT  1\n```"], ["```sql\nSELECT 2\n```"]),
        ({"kind": "number", "relative": 0.01}, "9.81",
         ["The answer is 9.8.", "9.81 m/s", r"\boxed{9.9}", r"x = \frac{981}{100}"],
         ["9.7", "10", "about ten"]),
        ({"kind": "number", "absolute": 2.0}, "100", ["98", "102"], ["97.9", "103", "x"]),
    ],
)  # fmt: skip
def test_each_kind_of_task_tells_right_answers_from_wrong_ones(
    grader, settings, gold, right, wrong
):
    answers = [*right, *wrong]
    verdicts = dict(zip(answers, correct(grader, settings, gold, answers), strict=True))
    assert verdicts == {**dict.fromkeys(right, True), **dict.fromkeys(wrong, False)}


def test_a_tolerance_joins_no_two_wrong_answers(grader):
    grading = GRADING.validate_python({"kind": "number", "relative": 0.1})
    texts = ("101", "120", "121", "122")
    sampled = SampledQuestion(
        Question("q", "?", "100"), tuple(Completion(t, "stop") for t in texts)
    )
    clusters = cluster(sampled, grader, "lenient", grading=grading).clusters
    assert sorted(len(c.members) for c in clusters) == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("settings", "accepted", "refused"),
    [
        ({"kind": "number"}, "3/4", "three"),
        ({"kind": "text"}, "yes", " "),
        ({"kind": "exact"}, "[1, 2]", " "),
        ({"kind": "choice"}, "(B)", " "),
        ({"kind": "math"}, "x+1", r"\frac{1}{"),
    ],
)
def test_a_gold_answer_is_accepted_where_it_is_understood(grader, settings, accepted, refused):
    grading = GRADING.validate_python(settings)
    assert grading.accepts(accepted, grader)
    assert not grading.accepts(refused, grader)


def test_hostile_values_are_texts(grader):
    long = "[" * 5000 + "]" * 5000
    hostile = ["__import__('os').system('true')", long, "9" * 9000, "{1: 2}", "\\boxed{[1, }"]
    assert correct(grader, {"kind": "exact"}, "[1]", [*hostile, "[1]"]) == [False] * 5 + [True]


def test_a_misspelt_setting_is_refused():
    with pytest.raises(ValidationError):
        GRADING.validate_python({"kind": "number", "tolerance": 0.1})
    assert GRADING.validate_python({"kind": "math"}) == MATH


FITTING = {
    "choice": "mc mctext mcgoldparen mcgoldtext gpqaJ mmlupro neitherA",
    "text": "yes bool hot1 hot2 hot3 hot4 hot5 hot6 hot7 hot8 hot9 hyphen film none refus coin sent"
    " sent2",
    "exact": "listj json code codestr pyexpr lastletters lastletters2 chess smiles chem gene regex",
    "math": "list date date2 phys think",
}


def test_other_tasks_are_graded_by_the_fitting_kind(grader, shared_data):
    path = shared_data / "answers" / "other_tasks.jsonl"
    if not path.exists():
        pytest.skip(f"no {path.name} in {path.parent}")
    kinds = {name: kind for kind, names in FITTING.items() for name in names.split()}
    failed = 0
    for case in map(json.loads, path.read_text().splitlines()):
        settings = {"kind": kinds[case["id"]]}
        verdicts = correct(grader, settings, case["gold"], case["responses"])
        failed += sum(a != b for a, b in zip(verdicts, case["expected"], strict=True))
    assert failed <= 5  # initials, a city with its country, dates in words, "No" for a sentence
