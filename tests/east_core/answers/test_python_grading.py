"""A user's own grading functions: what they may be, and what they may do to a run."""

import logging
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from east_core.answers.clustering import cluster, cluster_all
from east_core.answers.functions import plain_key
from east_core.answers.grading import Grader
from east_core.answers.gradings import Grading, PythonGrading
from east_core.answers.gradings.base import GoldTrial
from east_core.config import QuestionMixture
from east_core.config.toml_file import load_config
from east_core.errors import ConfigError, DataError
from east_core.evaluation.scores import grade
from east_core.records import AnswerClusters, Completion, Question, SampledQuestion
from east_core.runs import start
from east_core.runs.reading import grading_identity
from east_core.runs.run import Run
from flows.commands import check
from tests.east_core.conftest import sums_config

LAST_WORD = """
    def extract(completion, question):
        words = completion.split()
        return words[-1] if words else None

    def key(answer):
        return answer.lower()
"""
ANAGRAMS = """
    class Anagrams:
        def extract(self, completion, question):
            return list(completion.strip())
        def same(self, a, b):
            return sorted(a) == sorted(b)
        def accepts(self, gold):
            return gold.isalpha()
"""
FAULTY = """
    import ctypes, os, sys, time
    def extract(completion, question):
        if completion == "raise": raise KeyError("oh\\nno")
        if completion == "exit": sys.exit(0)
        if completion == "crash": ctypes.string_at(0)
        if completion == "spin":
            while True: pass
        if completion == "memory": return "x" * (10 << 30)
        if completion == "unhashable": return ["u"]
        if completion == "print": print("x" * 1000000)
        return completion
    def key(answer): return answer
"""


@pytest.fixture
def graded(tmp_path: Path) -> Any:
    """Call it with a module's source: a grading by it, from a folder of its own."""

    def write(source: str, functions: str = "mine") -> PythonGrading:
        (tmp_path / "mine.py").write_text(textwrap.dedent(source))
        return PythonGrading(functions=functions, folder=str(tmp_path))

    return write


def sampled(*texts: str, gold: str | None = "Blue", name: str = "q7") -> SampledQuestion:
    completions = tuple(Completion(text, "stop") for text in texts)
    return SampledQuestion(Question(name, "Which?", gold), completions)


def members(clusters: AnswerClusters) -> dict[tuple[int, ...], bool]:
    return {each.members: each.is_correct for each in clusters.clusters}


def test_answers_of_one_key_are_one_cluster(graded: Any) -> None:
    question = sampled("it is blue", "BLUE", "so red", "Red", "", "blue .")
    with Grader(processes=1) as grader:
        found = cluster(question, grader, "boxed", grading=graded(LAST_WORD))
    assert members(found) == {(0, 1): True, (2, 3): False, (4,): False, (5,): False}
    assert {c.answer for c in found.clusters} == {"BLUE", "Red", None, "."}


def test_answers_may_be_compared_two_at_a_time(graded: Any) -> None:
    grading = graded(ANAGRAMS, "mine:Anagrams")
    question = sampled("listen", "tinsel", "tinsil", "listin", "x", gold="silent")
    with Grader(processes=1) as grader:
        found = cluster(question, grader, "boxed", grading=grading)
        free = cluster(sampled("ab", "ba", gold=None), grader, "boxed", grading=grading)
        assert (
            grading.try_gold(Question("q", "?", "s1"), grader).said
            == "accepts(gold) returned False"
        )
        assert grading.try_gold(Question("q", "?", "ab"), grader).is_accepted
    assert members(found) == {(0, 1): True, (2, 3): False, (4,): False}
    assert members(free) == {(0, 1): False}


def test_one_function_is_extract_and_its_answers_are_compared_as_they_are(graded: Any) -> None:
    grading = graded("def last(text, question): return (len(text), text[-1:])", "mine:last")
    with Grader(processes=1) as grader:
        found = cluster(sampled("ab", "cb", "c"), grader, "boxed", grading=grading)
    assert members(found) == {(0, 1): False, (2,): False}


def test_the_question_is_given_and_a_cut_off_completion_is_not_read(graded: Any) -> None:
    source = "def f(text, question): return text + question.prompt + question.id"
    cut = Completion("Blue", "length")
    question = SampledQuestion(Question("q", "?", "a?q"), (Completion("a", "stop"), cut))
    with Grader(processes=1) as grader:
        found = cluster(question, grader, "boxed", grading=graded(source, "mine:f"))
    assert members(found) == {(0,): True, (1,): False}


def test_what_crashes_or_hangs_is_undecided_and_the_run_goes_on(
    graded: Any, caplog: pytest.LogCaptureFixture
) -> None:
    texts = ("raise", "exit", "crash", "spin", "memory", "unhashable", "print", "Blue")
    rows = [sampled(*texts), sampled("Blue", name="q8")]
    with (
        Grader(processes=1, seconds=0.5, megabytes=500) as grader,
        caplog.at_level(logging.WARNING),
    ):
        first, second = cluster_all(rows, grader, "boxed", grading=graded(FAULTY))
        assert grader.undecided == 6
    assert [c.members for c in first.clusters if c.is_correct] == [(7,)]
    assert [c.members for c in first.clusters if c.answer is None] == [(0, 1, 2, 3, 4, 5)]
    assert second.accuracy == 1
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 5
    assert all("question q7: " in line and "\n" not in line for line in told)
    assert "further ones are only counted" in told[-1]
    assert any("KeyError: 'oh\\nno'" in line for line in told)
    assert any("of the completion 'spin': took more than 0.5 s" in line for line in told)
    assert any("of the completion 'crash': crashed: Segmentation fault" in line for line in told)
    assert any("KeyError: 'oh\\nno' (mine.py, line 4)" in line for line in told)


@pytest.mark.parametrize("name", ["numbers", "attr", "fractions"])
def test_a_module_that_hides_another_is_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(LAST_WORD))
    grading = PythonGrading(functions=name, folder=str(tmp_path))
    with pytest.raises(ConfigError, match=f"{name} in .* has the name of a module .*; rename it"):
        grading.prepare()


def test_other_modules_in_the_folder_hide_nothing(graded: Any, tmp_path: Path) -> None:
    for name in ("fractions", "traceback", "east_core", "attr"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('hidden')")
    graded(LAST_WORD).prepare()


def test_a_question_has_a_budget_of_time(graded: Any) -> None:
    source = "import time\ndef f(text, question):\n  while True: pass"
    with Grader(processes=1, seconds=0.2, question_seconds=0.3) as grader:
        found = cluster(sampled(*"abcdefgh"), grader, "boxed", grading=graded(source, "mine:f"))
        assert grader.undecided == 8
    assert members(found) == {tuple(range(8)): False}


def test_long_and_broken_texts_are_texts_like_others(graded: Any) -> None:
    texts = ("x" * 10_000_000 + " blue", "\ud800 blue", "blue \ud800", "\x00 blue", "y" * 1_000_000)
    with Grader(processes=1) as grader:
        found = cluster(sampled(*texts), grader, "boxed", grading=graded(LAST_WORD))
        assert grader.undecided == 0
    assert members(found) == {(0, 1, 3): True, (2,): False, (4,): False}
    assert all(len(each.answer or "") <= 10_000 for each in found.clusters)


def test_a_child_that_dies_between_questions_is_replaced(graded: Any) -> None:
    source = (
        "import os, threading, time\ndef later():\n    time.sleep(0.2)\n    os._exit(0)\n"
        "def f(text, question):\n    threading.Thread(target=later).start()\n    return text"
    )
    with Grader(processes=1) as grader:
        for _ in range(2):
            found = cluster(sampled("Blue"), grader, "boxed", grading=graded(source, "mine:f"))
            assert members(found) == {(0,): True}
            time.sleep(0.5)
        assert grader.undecided == 0


@pytest.mark.parametrize("victim", ["os.getppid()", "os.getpid()"])
def test_whoever_is_killed_from_outside_is_replaced_and_asked_again(
    graded: Any, tmp_path: Path, victim: str
) -> None:
    source = (
        f"import os, pathlib, signal\nmark = pathlib.Path({str(tmp_path / 'mark')!r})\n"
        "def f(text, question):\n"
        "    if not mark.exists():\n"
        "        mark.touch()\n"
        f"        os.kill({victim}, signal.SIGKILL)\n"
        "    return text"
    )
    with Grader(processes=1) as grader:
        found = cluster(sampled("Blue", "red"), grader, "boxed", grading=graded(source, "mine:f"))
        assert grader.undecided == 0
    assert members(found) == {(0,): True, (1,): False}


def test_a_worker_that_is_killed_each_time_leaves_its_question_undecided(graded: Any) -> None:
    source = "import os, signal\ndef f(text, question): os.kill(os.getppid(), 9)"
    with Grader(processes=1) as grader:
        found = cluster(sampled("a"), grader, "boxed", grading=graded(source, "mine:f"))
        assert grader.undecided == 1
    assert members(found) == {(0,): False}


def test_benchmarks_are_graded_by_it(graded: Any) -> None:
    rows = [sampled("is blue"), sampled("is red")]
    with Grader(processes=1) as grader:
        predictions = list(grade(rows, grader, "lenient", grading=graded(LAST_WORD)))
    assert [(p.answer, p.is_correct) for p in predictions] == [("blue", True), ("red", False)]


@pytest.mark.parametrize(
    ("source", "functions", "reason"),
    [
        ("x = 1", "mine", "needs extract(completion, question), and key(answer) or same(a, b)"),
        ("x = 1", "mine:x", "needs extract"),
        ("x = 1", "mine:y", "can't be imported: AttributeError"),
        ("import not_there", "mine", "ModuleNotFoundError: No module named 'not_there'"),
        ("raise SystemExit(3)", "mine", "can't be imported: SystemExit: 3"),
        ("def f(a): ...", "mine:f", "extract(a) must take (completion, question)"),
        ("class C:\n  def __init__(self, x): ...", "mine:C", "can't be made without arguments"),
        ("def extract(a, b): ...\ndef key(a, b): ...", "mine", "key(a, b) must take (answer)"),
        ("def extract(a, b): ...\ndef key(a): ...\ndef same(a, b): ...", "mine", "has both"),
    ],
)
def test_functions_that_cannot_be_used_are_refused_in_one_line(
    graded: Any, source: str, functions: str, reason: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        graded(source, functions).prepare()
    assert reason in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_module_that_is_nowhere_is_refused_before_anything_is_imported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no module 'nowhere\.grader' in .* check functions"):
        PythonGrading(functions="nowhere.grader", folder=str(tmp_path)).identity()
    with pytest.raises(ValidationError):
        PythonGrading(functions="__import__('os')")


def test_the_source_is_part_of_the_fingerprint_and_the_folder_is_not(
    graded: Any, tmp_path: Path
) -> None:
    before = graded(LAST_WORD).identity()
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    (moved / "mine.py").write_bytes((tmp_path / "mine.py").read_bytes())
    assert PythonGrading(functions="mine", folder=str(moved)).identity() == before
    assert graded(LAST_WORD + "# other").identity() != before
    config = sums_config(tmp_path).questions.model_copy(update={"grading": graded(LAST_WORD)})
    assert grading_identity(config) == {"grading": before}


def test_functions_are_looked_for_beside_the_run_file(graded: Any, tmp_path: Path) -> None:
    graded(LAST_WORD)
    file = tmp_path / "run.toml"
    table = '[questions.grading]\nkind = "python"\nfunctions = "mine"\n'
    file.write_text(table)
    grading = load_config(file).questions.grading
    assert isinstance(grading, PythonGrading)
    assert grading.folder == str(tmp_path)
    grading.prepare()


def test_a_run_refuses_them_before_it_samples(graded: Any, tmp_path: Path) -> None:
    config = sums_config(tmp_path)
    broken = config.questions.model_copy(update={"grading": graded("x = 1")})
    run = Run.open(config.model_copy(update={"questions": broken}))
    with pytest.raises(ConfigError, match="needs extract"):
        start.freeze_questions(run)


def test_a_run_refuses_gold_answers_that_they_reject(graded: Any, tmp_path: Path) -> None:
    config = sums_config(tmp_path)
    rejecting = graded(
        "def extract(a, b): return a\ndef same(a, b): return a == b\n"
        "def accepts(gold): return int(gold) < 4"
    )
    data = config.questions.model_copy(update={"grading": rejecting})
    reason = r"the gold answer of q\d+: '\d+': accepts\(gold\) returned False"
    trained = Run.open(config.model_copy(update={"questions": data}))
    with pytest.raises(DataError, match=reason):
        start.freeze_questions(trained)
    mixed = QuestionMixture.model_validate({"sets": {"sums": {**data.model_dump(), "share": 1}}})
    trained = Run.open(config.model_copy(update={"questions": mixed}))
    with pytest.raises(DataError, match=reason.replace("of q", "of sums/q")):
        start.freeze_questions(trained)
    scored = Run.open(config.model_copy(update={"benchmarks": {"sums": data}}))
    with pytest.raises(DataError, match=reason):
        start.freeze_benchmarks(scored)


def test_what_is_said_of_a_gold_answer_is_of_that(graded: Any) -> None:
    sources = {
        "def extract(a, b): return a\ndef key(a): return int(a)": "of the gold answer: ValueError:",
        "def extract(a, b): raise KeyError\ndef key(a): return [a]": "key returned a list; return",
        "def extract(a, b): raise KeyError\ndef same(a, b): return False": "same(gold, gold) retur",
    }
    for source, reason in sources.items():
        with Grader(processes=1) as grader:
            trial = graded(source).try_gold(Question("q", "?", "about 3"), grader)
        assert not trial.is_accepted
        assert reason in trial.said


def test_check_says_what_they_make_of_ten_gold_answers(graded: Any, tmp_path: Path) -> None:
    config = sums_config(tmp_path).questions
    graded_config = config.model_copy(update={"grading": graded(LAST_WORD)})
    with Grader(processes=1) as grader:
        told = check._check_questions(graded_config, grader)
    rejecting = graded(
        "def extract(a, b): return a\ndef key(a): return int(a) if a < '4' else None"
    )
    config = config.model_copy(update={"grading": rejecting})
    reason = r"the gold answer of q\d+: '\d+': key\(gold\) returned None"
    with Grader(processes=1) as grader, pytest.raises(DataError, match=reason):
        check._check_questions(config, grader)
    lines = told.splitlines()
    assert 2 <= len(lines) <= 11
    assert all("key '" in line and "extract finds '" in line for line in lines[1:])


def test_equal_keys_are_written_alike() -> None:
    assert plain_key(1) == plain_key(1.0) == plain_key(True) != plain_key("1")
    assert plain_key((1, "a")) != plain_key(("1", "a"))
    assert plain_key(frozenset({1, 2})) == plain_key(frozenset({2, 1.0}))
    assert plain_key(float("nan")) != plain_key(float("inf"))
    with pytest.raises(TypeError, match=r"returned a list; return a text, .* or frozenset"):
        plain_key([1])


def test_a_gold_answer_is_tried() -> None:
    assert GoldTrial(True).said == ""
    assert TypeAdapter(Grading).validate_python({"kind": "python", "functions": "a.b:c"})
