import importlib.util
import time
from pathlib import Path

import pytest

from east_core.answers.clustering import cluster, cluster_all
from east_core.answers.extraction import extract_answer
from east_core.answers.grading import Grader
from east_core.records import Completion, Question, SampledQuestion

_SPEC = importlib.util.spec_from_file_location(
    "hostile_responses", Path(__file__).with_name("hostile_responses.py")
)
_MODULE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_MODULE)
HOSTILE = _MODULE.HOSTILE
SECONDS = 0.5


def question(*texts):
    completions = tuple(Completion(text, "stop") for text in texts)
    return SampledQuestion(Question("hostile", "1 + 1 = ?", "2"), completions)


def kind(answers):
    return "none" if answers.answer is None else "correct" if answers.is_correct else "wrong"


@pytest.fixture(scope="module")
def outcomes():
    """The outcome of each response, the number of undecided comparisons, and the CPU time."""
    begun = time.perf_counter()
    with Grader(processes=2, seconds=SECONDS) as grader:
        clusters = list(cluster_all((question(text) for _, text, _ in HOSTILE), grader, "lenient"))
        undecided = grader.undecided
    kinds = [kind(clustered.clusters[0]) for clustered in clusters]
    return kinds, undecided, time.perf_counter() - begun


def test_the_corpus_is_large_enough():
    assert len({name for name, _, _ in HOSTILE}) == len(HOSTILE) >= 60


@pytest.mark.parametrize(
    ("number", "expected"),
    [(number, expected) for number, (_, _, expected) in enumerate(HOSTILE)],
    ids=[name for name, _, _ in HOSTILE],
)
def test_each_hostile_response_has_its_stated_outcome(outcomes, number, expected):
    assert outcomes[0][number] == expected


def test_what_is_out_of_reach_is_counted_and_does_not_hold_up_the_rest(outcomes):
    _, undecided, seconds = outcomes
    assert 0 < undecided < len(HOSTILE)
    assert seconds < 120


@pytest.mark.slow
def test_the_outcomes_are_the_same_when_all_are_completions_of_one_question():
    with Grader(processes=2, seconds=SECONDS) as grader:
        clusters = cluster(question(*(text for _, text, _ in HOSTILE)), grader, "lenient").clusters
    found = {member: kind(answers) for answers in clusters for member in answers.members}
    assert [found[number] for number in range(len(HOSTILE))] == [row[2] for row in HOSTILE]


@pytest.mark.parametrize("text", [text for _, text, _ in HOSTILE], ids=[n for n, _, _ in HOSTILE])
@pytest.mark.parametrize("policy", ["boxed", "hash", "lenient"])
def test_extraction_never_takes_long(text, policy):
    begun = time.process_time()
    extract_answer(text, policy)
    assert time.process_time() - begun < 2


def test_code_in_an_answer_is_never_run(outcomes):
    assert not Path("/tmp/owned").exists()
