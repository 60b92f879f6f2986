"""Which training questions are found to stand in a benchmark, and which are not."""

import itertools
import random
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from east_core.config import DatasetConfig
from east_core.errors import DataError
from east_core.inputs.decontamination import BenchmarkQuestions, Screened, told
from east_core.inputs.questions import load_questions
from east_core.records import Question

PEOPLE = ("Hanna", "Piotr", "Amaya", "Kofi", "Ludmila", "Rose", "Will", "Mark")
OTHERS = ("Zebulon", "Xanthippe", "Grace", "Oyelaran")
DAYS = ("on Monday", "last week", "in the evening", "before lunch", "at the fair", "after school")
THINGS = ("stamps", "melons", "ropes", "lanterns", "bricks", "postcards", "bowls", "seeds")
STORIES = """
{a} picks {x} {things} {day} and {b} picks {y}. {a} gives {z} of hers to {b}. How many has {b} now?
A shop sells {things} at ${x} each. If {a} buys {y} {day} and {b} pays ${z}, what is left to pay?
{day}, {a} walked {x} miles an hour for {y} hours, carrying {z} {things}. How far has she walked?
The sum of $x^{x}+{y}x$ and ${z}x$ was written by {a} on her {things} {day}. What is it at $x=1$?
""".strip().splitlines()
Change = Callable[[str], str]


def story(number: int, dice: random.Random) -> Question:
    a, b = dice.sample(PEOPLE, 2)
    x, y, z = (dice.randint(2, 99) for _ in range(3))
    parts = {"a": a, "b": b, "x": x, "y": y, "z": z, "day": dice.choice(DAYS)}
    text = STORIES[number % len(STORIES)]
    for name, part in {**parts, "things": dice.choice(THINGS)}.items():
        text = text.replace(f"{{{name}}}", str(part))
    text = text[0].upper() + text[1:]
    return Question(f"test-{number}", text, str(x * y - z))


def with_other_names(text: str) -> str:
    for name, other in zip(PEOPLE, OTHERS * 2, strict=True):
        text = re.sub(rf"\b{name}\b", other, text)
    return text.replace(" she ", " he ").replace("hers", "his").replace(" her ", " his ")


def renamed(text: str) -> str:
    """With another name for each word that is written large behind a small one."""
    names = set(re.findall(r"(?<=[a-z] )[A-Z][a-z]+\b", text))
    for name, other in zip(sorted(names), itertools.cycle(OTHERS), strict=False):
        text = re.sub(rf"\b{name}\b", other, text)
    return text


def without_punctuation(text: str) -> str:
    return re.sub(r"[,?.](?=\s|$)", "", text)


def spaced(text: str) -> str:
    formulas = re.sub(r"\$([^$]*x)\$", lambda found: rf"\( {found[1]}\, \)", text)
    return f"\n  {formulas.replace(' ', '  ')}\n".replace("+", r" +\; ")


CHANGES: dict[str, Change] = {
    "copied": str,
    "small letters": str.lower,
    "capitals": str.upper,
    "title": str.title,
    "no punctuation": without_punctuation,
    "other spaces": spaced,
    "other names": with_other_names,
    "other names in small letters": lambda text: with_other_names(text).lower(),
    "other names, no punctuation": lambda text: without_punctuation(with_other_names(text)),
    "a text around it": lambda text: f"Solve this problem and box your answer.\n{text}\nBegin.",
}


@pytest.fixture(scope="module")
def stories() -> list[Question]:
    dice = random.Random(7)
    return [story(number, dice) for number in range(400)]


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_hundred_of_a_hundred_copies_are_found(stories: list[Question], change: Change) -> None:
    benchmark = BenchmarkQuestions({"stories": stories})
    planted = [Question(f"train-{q.id}", change(q.prompt), q.answer) for q in stories[::4]]
    found = list(map(benchmark.copied_by, planted))
    assert [overlap and overlap.copy_of for overlap in found] == [q.id for q in stories[::4]]


def test_the_same_story_with_other_numbers_is_another_question(stories: list[Question]) -> None:
    benchmark = BenchmarkQuestions({"stories": stories})
    dice = random.Random(8)
    others = [story(number, dice) for number in range(400)]
    assert [q.prompt for q in others if benchmark.copied_by(q)] == []


@pytest.mark.parametrize(
    ("training", "answer"),
    [
        ("What is the capital of Peru?", "Lima"),
        ("What is the longest river of France?", "Loire"),
        ("A cow has 4 legs. How many legs have 3 cows?", "11"),
        ("A cow has 3 legs too few. How many has it of 4?", "1"),
        ("一头牛有五条腿吗？", "no"),
        ("?!", None),
    ],
)
def test_another_question_is_no_copy(training: str, answer: str | None) -> None:
    benchmark = [
        Question("a", "What is the capital of France?", "Paris"),
        Question("b", "A cow has 4 legs. How many legs have 3 cows and a calf?", "16"),
        Question("c", "法国的首都是哪里？", "巴黎"),
        Question("d", "!", None),
    ]
    assert not BenchmarkQuestions({"b": benchmark}).copied_by(Question("t", training, answer))


@pytest.mark.parametrize(
    ("training", "answer", "copy_of"),
    [
        ("what is the capital of france", "Lyon", "a"),  # with a wrong answer it is a copy still
        ("What is the capital of France?", None, "a"),
        ("法国的首都 是哪里?", "巴黎", "c"),
        (r"Find \( \frac{1}{2} \cdot 20{,}000 \).", "10,000", "e"),
        ("Three cats and a 5-year-old dog eat 2,000 g. How much does each eat?", "500.0", "f"),
    ],
)
def test_one_question_in_other_spellings(training: str, answer: str | None, copy_of: str) -> None:
    benchmark = [
        Question("a", "What is the capital of France?", "Paris"),
        Question("c", "法国的首都是哪里？", "巴黎"),
        Question("e", r"Find $\dfrac{1}{2}\times 20,\!000$.", r"10,\!000"),
        Question("f", "3 cats and a 5 year old dog eat 2000 g. How much does each eat?", "500"),
    ]
    overlap = BenchmarkQuestions({"b": benchmark}).copied_by(Question("t", training, answer))
    assert overlap is not None
    assert overlap.copy_of == copy_of


def test_the_copies_are_passed_on_or_left_out_and_told(stories: list[Question]) -> None:
    benchmark = BenchmarkQuestions({"stories": stories[:6]})
    kept = Screened(stories[:9], benchmark, leaves_out=False)
    assert list(kept) == stories[:9]
    left = Screened(stories[:9], benchmark, leaves_out=True)
    assert list(left) == stories[6:9]
    assert kept.found == left.found
    assert told(kept.found, left_out=False, listed=2) == (
        "training questions that stand in a benchmark are kept; questions.decontaminate = true "
        "leaves them out: 6 in stories (test-0 = test-0, test-1 = test-1, ...)"
    )
    assert "are left out: 6 in stories" in told(left.found, left_out=True)


def test_a_run_on_its_own_benchmark_is_refused(stories: list[Question]) -> None:
    everything = Screened(stories, BenchmarkQuestions({"b": stories}), leaves_out=True)
    with pytest.raises(DataError, match=r"400 in b .* none is left to train on"):
        list(everything)


@pytest.mark.slow
def test_gsm8k_against_its_test_set_and_math(shared_data: Path) -> None:
    def load(name: str, form: str) -> list[Question]:
        path = shared_data / f"{name}.jsonl"
        return list(
            load_questions(DatasetConfig.model_validate({"path": str(path), "format": form}))
        )

    tests = {"gsm8k": load("gsm8k_test", "gsm8k"), "math": load("math_test", "math")}
    training, begun = load("gsm8k_train", "gsm8k"), time.process_time()
    benchmark = BenchmarkQuestions(tests)
    assert [q for q in training if benchmark.copied_by(q)] == []
    assert time.process_time() - begun < 30
    changes = (str, str.lower, str.upper, without_punctuation, spaced, renamed)
    for name, change in itertools.product(tests, changes):
        changed = [q for q in tests[name] if change is str or change(q.prompt) != q.prompt]
        planted = random.Random(9).sample(changed, 100)
        copies = [Question("t", change(question.prompt), question.answer) for question in planted]
        found = [copy for copy in copies if benchmark.copied_by(copy)]
        assert len(found) == 100, (name, change)
