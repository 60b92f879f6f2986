"""Completions of one question -> clusters by equal final answer (EAST, arXiv:2503.23913, step 2).

Every completion is in exactly one cluster. Completions without a final answer form a cluster of
their own, whose `answer` is None: it counts in the entropy and is never correct. The clusters do
not depend on the order of the completions, but for the indices in `members`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from east_core.answers.extraction import AnswerPolicy
from east_core.answers.form import Form
from east_core.answers.grading import Grader
from east_core.answers.gradings import MATH, Grading
from east_core.answers.reading import completion_answer
from east_core.answers.thinking import MARKS_ALONE, Thinking
from east_core.records import AnswerCluster, AnswerClusters, SampledQuestion


@dataclass(frozen=True, slots=True)
class _Reading:
    """A question's answers: by completion, and the distinct forms with the gold form first."""

    question_id: str
    answers: tuple[str | None, ...]
    forms: tuple[Form, ...]
    form_of: dict[str, int]
    has_gold: bool


def cluster(
    question: SampledQuestion,
    grader: Grader,
    policy: AnswerPolicy,
    thinking: Thinking = MARKS_ALONE,
    grading: Grading = MATH,
) -> AnswerClusters:
    """The answer clusters of one question; the one equal to the gold answer is correct."""
    reading = _read(question, policy, thinking, grading)
    return _clusters(reading, grader.partition(reading.forms))


def cluster_all(
    questions: Iterable[SampledQuestion],
    grader: Grader,
    policy: AnswerPolicy,
    thinking: Thinking = MARKS_ALONE,
    grading: Grading = MATH,
) -> Iterator[AnswerClusters]:
    """`cluster` for a stream of questions, in order; a few are in flight over the workers."""
    readings: list[_Reading] = []

    def jobs() -> Iterator[tuple[Form, ...]]:
        for question in questions:
            readings.append(_read(question, policy, thinking, grading))
            yield readings[-1].forms

    for labels in grader.partitions(jobs()):
        yield _clusters(readings.pop(0), labels)


def _read(
    sampled: SampledQuestion, policy: AnswerPolicy, thinking: Thinking, grading: Grading
) -> _Reading:
    """Extract every answer and give each distinct form a number; the gold form is number 0."""
    answers = tuple(
        completion_answer(completion, policy, thinking, grading)
        for completion in sampled.completions
    )
    gold = sampled.question.answer
    gold_form = None if gold is None else grading.form(gold)
    forms = [] if gold_form is None else [gold_form]
    index = {form.key: number for number, form in enumerate(forms)}
    form_of: dict[str, int] = {}
    for answer in sorted({answer for answer in answers if answer is not None}):
        form = grading.form(answer)
        if gold_form is not None:
            form = grading.beside(gold_form, form)
        if form.key not in index:
            index[form.key] = len(forms)
            forms.append(form)
        form_of[answer] = index[form.key]
    return _Reading(sampled.question.id, answers, tuple(forms), form_of, gold is not None)


def _clusters(reading: _Reading, labels: list[int]) -> AnswerClusters:
    members: dict[int | None, list[int]] = {}
    for position, answer in enumerate(reading.answers):
        label = None if answer is None else labels[reading.form_of[answer]]
        members.setdefault(label, []).append(position)
    correct = labels[0] if reading.has_gold else -1
    clusters = [
        AnswerCluster(_representative(reading, positions), tuple(positions), label == correct)
        for label, positions in members.items()
    ]
    return AnswerClusters(reading.question_id, tuple(sorted(clusters, key=_largest_first)))


def _representative(reading: _Reading, positions: list[int]) -> str | None:
    """The most common spelling; of equally common ones the shortest, then the first by alphabet."""
    spellings = Counter(
        answer for position in positions if (answer := reading.answers[position]) is not None
    )
    return min(spellings, key=lambda text: (-spellings[text], len(text), text), default=None)


def _largest_first(cluster: AnswerCluster) -> tuple[int, bool, str]:
    return -len(cluster.members), cluster.answer is None, cluster.answer or ""
