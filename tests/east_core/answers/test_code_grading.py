"""Programs are graded by tests, and clustered by what they compute."""

import json
import logging
from pathlib import Path

import pytest
from pydantic import ValidationError

from east_core.answers.clustering import cluster
from east_core.answers.code.tests import NoTests, read_tests
from east_core.answers.grading import Grader
from east_core.answers.gradings import CodeGrading
from east_core.config import DatasetConfig
from east_core.inputs.questions import load_questions
from east_core.records import Completion, FinishReason, Question, SampledQuestion
from tests.east_core.answers.sandboxed import needs_sandbox

MBPP = {
    "task_id": 601,
    "text": "Write a function to square a number.",
    "test_list": ["assert square(2) == 4", "assert math.isclose(square(0.1), 0.01)"],
    "test_setup_code": "import math",
    "challenge_test_list": [],
}
HUMANEVAL = {
    "task_id": "HumanEval/900",
    "prompt": "from typing import List\n\n\ndef twice(xs: List[int]) -> List[int]:\n"
    '    """Each number twice."""\n',
    "entry_point": "twice",
    "test": "METADATA = {}\n\ndef check(candidate):\n    assert candidate([1]) == [1, 1]\n"
    "    for n in range(3):\n        assert len(candidate([0] * n)) == 2 * n\n",
}


def questions(tmp_path: Path, row: dict, **settings: object) -> Question:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row))
    (question,) = load_questions(DatasetConfig(path=str(path), **settings))
    return question


def members(
    question: Question, *texts: str, reason: FinishReason = "stop"
) -> dict[tuple[int, ...], bool]:
    completions = tuple(Completion(text, reason) for text in texts)
    with Grader(processes=2) as grader:
        found = cluster(
            SampledQuestion(question, completions), grader, "boxed", grading=CodeGrading()
        )
    return {each.members: each.is_correct for each in found.clusters}


def fenced(program: str) -> str:
    return f"Here it is:\n```python\n{program}\n```\nDone."


@needs_sandbox
def test_programs_that_compute_the_same_are_one_cluster(tmp_path: Path) -> None:
    question = questions(tmp_path, MBPP, format="mbpp")
    assert question.prompt.endswith("tests:\n\nassert square(2) == 4\n" + MBPP["test_list"][1])
    found = members(
        question,
        fenced("def square(x): return x * x"),
        fenced("square = lambda x: x ** 2"),
        fenced("def square(x): return 2 * x"),
        fenced("def square(n):\n    return n + n"),
        fenced("def square(n): raise ValueError(n)"),
        fenced("def other(n): return n"),
        "def square(x): return x * x",
        "I don't know",
        "```sql\nSELECT 1\n```",
    )
    assert found == {
        (0, 1, 6): True, (2, 3): False, (4,): False, (5,): False, (7,): False, (8,): False,
    }  # fmt: skip


@needs_sandbox
def test_a_prompt_that_is_the_beginning_of_the_program_is_put_before_it(tmp_path: Path) -> None:
    question = questions(tmp_path, HUMANEVAL, format="humaneval")
    assert question.id == "HumanEval/900"
    found = members(
        question,
        "    return [x for x in xs for _ in range(2)]\n",
        fenced("def twice(xs: List[int]):\n    return sorted(xs * 2)"),
        fenced("def twice(xs: List[int]):\n    return xs"),
        fenced("def twice(xs):\n    return tuple(xs * 2)"),
    )
    assert found == {(0, 1): True, (2,): False, (3,): False}


@needs_sandbox
def test_inputs_and_outputs_are_tests_too(tmp_path: Path) -> None:
    printing = {"inputs": ["1 2\n", "3 4"], "outputs": ["3", "7\n"]}
    row = {"id": "p", "question": "Add.", "answer": printing}
    question = questions(tmp_path, row, answer_format="tests")
    read = "a, b = map(int, input().split())\n"
    found = members(
        question,
        fenced(f"{read}print(a + b)"),
        fenced(f"import sys\n{read}sys.stdout.write(str(b + a) + '  ')\nsys.exit(1)"),
        fenced(f"{read}print(a * b)"),
        fenced(f"if __name__ == '__main__':\n    {read}    print(sum([a, b]))"),
    )
    assert found == {(0, 1, 3): True, (2,): False}
    calls = {"entry_point": "f", "inputs": [[1, 2], [[1], [2]]], "outputs": [3, [1, 2]]}
    row = {"id": "c", "question": "Add.", "answer": json.dumps(calls)}
    question = questions(tmp_path, row, answer_format="tests")
    found = members(
        question,
        fenced("def f(a, b): return a + b"),
        fenced(
            "def f(a, b):\n    c = a + b\n    return tuple(c) if isinstance(c, list) else c / 1"
        ),
        fenced("def f(a, b): return b"),
    )
    assert found == {(0, 1): True, (2,): False}


@needs_sandbox
def test_a_cut_off_program_counts_where_its_block_is_closed(tmp_path: Path) -> None:
    question = questions(tmp_path, MBPP, format="mbpp")
    whole = fenced("def square(x): return x * x")
    cut = "```python\ndef square(x): return x * x"
    assert members(question, whole, cut, reason="length") == {(0,): True, (1,): False}
    assert members(question, whole, cut) == {(0, 1): True}


@needs_sandbox
def test_the_block_that_defines_what_is_tested_counts(tmp_path: Path) -> None:
    question = questions(tmp_path, MBPP, format="mbpp")
    shown = fenced("def square(x): return x * x") + "\nTry it:\n```python\nprint(square(3))\n```"
    assert members(question, shown) == {(0,): True}


@needs_sandbox
def test_what_reaches_a_limit_is_counted_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    question = questions(tmp_path, MBPP, format="mbpp")
    completion = Completion(fenced("def square(x):\n    while True: pass"), "stop")
    grading = CodeGrading(seconds=1)
    with Grader(processes=1) as grader, caplog.at_level(logging.WARNING):
        sampled = SampledQuestion(question, (completion,))
        found = cluster(sampled, grader, "boxed", grading=grading)
        assert grader.undecided == 1
    assert found.accuracy == 0
    assert caplog.messages == ["question 601: a program was stopped: out of time"]


def test_nothing_runs_that_was_not_allowed() -> None:
    with pytest.raises(ValidationError, match="allow_code_execution = true"):
        DatasetConfig(grading={"kind": "code"})
    allowed = DatasetConfig(grading={"kind": "code"}, allow_code_execution=True)
    assert allowed.identity()["grading"]["kind"] == "code"
    assert "allow_code_execution" not in DatasetConfig().identity()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("assert f(", "not Python"),
        ("f(3)", "no assert"),
        ("assert 1 == 1", "call nothing"),
        ('{"inputs": [1]}', "need inputs and outputs"),
        ('{"inputs": [1], "outputs": []}', "lists of one length"),
        ('{"inputs": [], "outputs": []}', "no input"),
        ('{"inputs": [1], "outputs": [2]}', "are texts"),
        ('{"entry_point": "f", "inputs": [1], "outputs": [2]}', "list of the arguments"),
        ("assert f(1)\n" * 100_000, "longer than"),
    ],
)
def test_a_gold_answer_that_holds_no_tests_is_rejected(text: str, reason: str) -> None:
    with pytest.raises(NoTests, match=reason):
        read_tests(text)
    with Grader(processes=1) as grader:
        trial = CodeGrading().try_gold(Question("q", "?", text), grader)
    assert not trial.is_accepted
    assert reason in trial.said


def test_what_tests_call_is_known_from_their_text() -> None:
    source = (
        "import math\ndef g(a): return a\nassert f(g(x=1), [y for y in range(3)]) == h(math.pi)"
    )
    assert read_tests(source).names == ("f", "h")
