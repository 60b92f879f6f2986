import json
import os
import time
from pathlib import Path

import pytest

from east_core.answers.extraction import (
    extract_answer,
    gold_answer,
    has_several_boxes,
)
from east_core.answers.reading import completion_answer
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
        (r"We find that $x < 3$.", None),
        ("It is not clear whether $x = 2$ is the answer or not, for all we know.", None),
    ],
)
def test_lenient_takes_an_announced_answer_but_never_the_last_number(text, answer):
    assert extract_answer(text, "lenient") == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is therefore 72.", "72"),
        ("the answer is simply $72$", "$72$"),
        ("The answer is thus: 72", "72"),
        ("So the answer is, of course, 72.", "72"),
        ("The answer is just 72", "72"),
        ("The result is then given by $72$.", "$72$"),
        ("The answer turns out to be 72", "72"),
        ("The answer would be 72.", "72"),
        ("The answer to the question is **72**.", "72"),
        ("The answer is:\n\n$$72$$", "$$72$$"),
        ("The answer is `72`.", "72"),
        ("The output is:\n```\n[1, 4, 9]\n```", "[1, 4, 9]"),
        ("The answer is option B.", "B"),
        ("The answer is choice (B).", "(B)"),
        ("The correct option is B", "B"),
        ("The answer is the letter B.", "B"),
        ("The answer is (B).", "(B)"),
        ("Option B is correct.", "B"),
        ("Therefore, (B) is correct.", "(B)"),
        ("B is the answer", "B"),
        ("I'd go with B.", "B"),
        ("B. mitochondria", "B. mitochondria"),
        ("(B) mitochondria", "(B) mitochondria"),
        ("The correct answer is (B) mitochondria.", "(B) mitochondria"),
        ("<answer>B</answer>", "B"),
        ("<answer>\nSo it is: the answer is 7.\n</answer>", "7"),
        ("Answer: Yes, a penguin can.", "Yes"),
        ("The answer is New York City.", "New York City"),
        ("Answer: apple, banana, cherry", "apple, banana, cherry"),
        ("**Yes**", "Yes"),
        ("**Final Answer**\n\n\\[ 7 \\]", r"\[ 7 \]"),
        ("Answer $7$", "$7$"),
        ("The solutions are: $x = 1$ or $x = 2$.", "$x = 1$ or $x = 2$"),
        ("The answers are $4$, $5$, and $6$.", "$4$, $5$, and $6$"),
        ("The answer is $4$, and $5$ is the remainder.", "$4$"),
        ("Final Answer: The largest $n$ is 34. I hope it is correct.", "34"),
        ("Answer: The sum of the two is $5$.", "$5$"),
        ("Thus $x > 2$ is our answer.", "$x > 2$"),
        (r"So \(x=3\) is the only one. Hence \(x=3\) is the solution.", r"\(x=3\)"),
        ("The answer is for sure D, it can't be A or B", "D"),
        ("The answer: D, since it would make no sense", "D"),
        ("The answer is A, B and C", "A, B and C"),
        ("$" + "x + " * 30 + "y$", "$" + "x + " * 30 + "y$"),
        ("Paris", "Paris"),
    ],
)
def test_lenient_reads_what_people_write_around_an_answer(text, answer):
    assert extract_answer(text, "lenient") == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is not 5.", None),
        ("The answer isn't 5.", None),
        ("The answer is never 5", None),
        ("The answer is not A. It is B.", "B"),
        ("The answer is not 5 but 6.", "6"),
        ("The answer is 4, so I am sure. The answer is not 5.", "4"),
        ("I don't think the answer is 5", None),
        ("If the answer is 5, then x is 2.", None),
        ("We check whether the answer is 5", None),
        ("It is not 4, the answer is 5.", "5"),
        ("The answer is correct.", None),
        ("The answer is unclear.", None),
        ("The answer is found by adding the two numbers", None),
        ("The answer is in the table above", None),
        ("The answer is that x is 5", None),
        ("I is the answer", None),
        ("Let me think", None),
        ("Okay", None),
        ("Is the answer 5?", None),
        ("The answers differ", None),
        ("A penguin is a bird, and birds fly.", None),
        ("<answer></answer>", None),
    ],
)
def test_what_is_not_stated_as_the_answer_is_none(text, answer):
    assert extract_answer(text, "lenient") == answer


def test_the_looks_for_an_answer_take_linear_time():
    for piece in (
        "answer is not ",
        "the answer is ",
        "<answer>",
        "answer to ",
        "B is the ",
        "```a",
    ):
        begun = time.process_time()
        extract_answer(piece * 20_000, "lenient")
        assert time.process_time() - begun < 5, piece


def test_a_truncated_completion_counts_only_with_a_closed_box():
    cut = Completion("so far 4 + 3\n#### 7", "length")
    assert completion_answer(cut, "lenient") is None
    assert completion_answer(Completion(cut.text, "stop"), "lenient") == "7"
    assert completion_answer(Completion(r"\boxed{7} but", "length"), "lenient") == "7"


def test_a_solution_that_boxes_different_things_is_known():
    assert has_several_boxes(r"\boxed{2} or \boxed{3}")
    assert not has_several_boxes(r"\boxed{2}, that is, \boxed{2}")
    assert not has_several_boxes(r"\boxed{\boxed{2}} and \boxed{")


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
