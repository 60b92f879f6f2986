"""In small, what `python -m benchmarks.answers` measures: no answer is wrongly equal."""

import random
from collections import Counter

import pytest

from east_core.answers.clustering import cluster
from east_core.answers.grading import Grader
from east_core.records import Completion, Question, SampledQuestion
from east_core.testing.answer_kinds import KINDS


@pytest.fixture(scope="module")
def grader():
    with Grader(processes=1) as grader:
        yield grader


def other(kind, spec, draw):
    while True:
        changed = kind.change(spec, draw)
        if kind.identity(changed) != kind.identity(spec):
            return changed


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_no_answer_is_wrongly_equal_and_few_are_wrongly_different(grader, kind):
    draw, verdicts = random.Random(kind.name), Counter()
    for _ in range(12):
        spec = kind.draw(draw)
        gold = kind.spell(spec, draw, True)
        for truth, answer in ((True, spec), (False, other(kind, spec, draw))):
            text = kind.spell(answer, draw, False)
            verdict = grader.equal(text, gold)
            assert truth or not verdict, f"{text} is not {gold}"
            verdicts[truth, verdict] += 1
    assert verdicts[True, False] <= 1


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_whole_question_holds_no_cluster_of_two_values(grader, kind):
    draw = random.Random(kind.name)
    specs = [kind.draw(draw)]
    for _ in range(4):
        specs.append(other(kind, draw.choice(specs), draw))
    chosen = [draw.choice(specs) for _ in range(32)]
    texts = [rf"\boxed{{{kind.spell(spec, draw, False)}}}" for spec in chosen]
    question = Question("q", "?", kind.spell(specs[0], draw, True))
    completions = tuple(Completion(text, "stop") for text in texts)
    clusters = cluster(SampledQuestion(question, completions), grader, "boxed").clusters
    for found in clusters:
        assert len({kind.identity(chosen[member]) for member in found.members}) == 1, found.answer
