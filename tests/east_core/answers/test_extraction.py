import json
import os
from pathlib import Path

import pytest

from east_core.answers.extraction import completion_answer, extract_answer, gold_answer
from east_core.records import Completion

DATA = Path(
    os.environ.get("EAST_SHARED_DATA", Path(__file__).parents[3].parent / "shared" / "data")
)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so \boxed{72}.", "72"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"first \boxed{3}, no: \boxed{4}. Done!", "4"),
        (r"\boxed{3} and then \boxed{4", "3"),
        (r"\boxed{ \boxed{5} }", "5"),
        (r"\boxed{\left\{1, 2\right.}", r"\left\{1, 2\right."),
        (r"\fbox{7}", "7"),
        (r"\boxed {8}", "8"),
        (r"we get $\boxed 2$.", "2"),
        (r"\boxed{}", None),
        (r"\boxed{6} or \boxed{}", "6"),
        (r"\boxed{answer}", None),
        (r"\boxed{No answer.}", None),
        (r"\boxed{no solution}", "no solution"),
        ("The answer is 72", None),
        ("#### 72", None),
        ("", None),
    ],
)
def test_boxed_takes_the_last_complete_box_and_nothing_else(text, answer):
    assert extract_answer(text, "boxed") == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("48 / 2 = 24\n#### 72", "72"),
        ("#### 1\nno\n####  $1,000 \n", "$1,000"),
        ("##### 3", None),
        (r"\boxed{72}", None),
    ],
)
def test_hash_takes_the_last_line_of_four_hashes(text, answer):
    assert extract_answer(text, "hash") == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"\boxed{3} #### 4", "3"),
        ("The answer is 5.\n#### 4", "4"),
        ("The answer is 42.", "42"),
        ("the final answer is: **42**", "42"),
        ("Answer: 3.5 because it is half of 7", "3.5"),
        (r"The answer is $\frac{1}{2}$, so we are done.", r"$\frac{1}{2}$"),
        ("The answer is 3. Wait, the answer is 4.", "4"),
        ("The answer is Sunday.", "Sunday"),
        ("The answer is (B)", "(B)"),
        ("The answer is that nobody can tell how many there were.", None),
        ("0.5", "0.5"),
        (r"$(1, 2)$", r"$(1, 2)$"),
        ("C", "C"),
        ("no answer", None),
        ("I don't know", None),
        ("They have 3 cats and 4 dogs, so 7 pets in all", None),
    ],
)
def test_lenient_takes_an_announced_answer_but_never_the_last_number(text, answer):
    assert extract_answer(text, "lenient") == answer


def test_a_truncated_completion_counts_only_with_a_closed_box():
    cut = Completion("so far 4 + 3\n#### 7", "length")
    assert completion_answer(cut, "lenient") is None
    assert completion_answer(Completion(cut.text, "stop"), "lenient") == "7"
    assert completion_answer(Completion(r"\boxed{7} but", "length"), "lenient") == "7"


def test_gold_answers_by_format():
    assert gold_answer(" 72 ", "plain") == "72"
    assert gold_answer("  ", "plain") is None
    assert gold_answer("2 + 2 = 4\n#### 1,004", "gsm8k") == "1,004"
    assert gold_answer(r"so $\boxed{\frac{a}{b}}$", "boxed") == r"\frac{a}{b}"
    assert gold_answer("no box", "boxed") is None


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the shared GSM8K and MATH files")
@pytest.mark.parametrize(
    ("name", "column", "form", "total", "without"),
    [
        ("gsm8k_train", "answer", "gsm8k", 7473, 0),
        ("gsm8k_test", "answer", "gsm8k", 1319, 0),
        ("math_test", "answer", "boxed", 5000, 0),
        ("math_train_4subjects", "solution", "boxed", 4589, 2),  # two boxes are empty
    ],
)
def test_every_real_solution_gives_its_gold_answer_under_each_policy(
    name, column, form, total, without
):
    policy = "hash" if form == "gsm8k" else "boxed"
    solutions = [json.loads(line)[column] for line in (DATA / f"{name}.jsonl").open()]
    golds = [gold_answer(solution, form) for solution in solutions]
    assert (len(golds), golds.count(None)) == (total, without)
    for solution, gold in zip(solutions, golds, strict=True):
        assert extract_answer(solution, policy) == gold
        if gold is not None:
            assert extract_answer(solution, "lenient") == gold
