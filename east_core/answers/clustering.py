"""Completions of one question -> clusters by equal final answer (EAST, arXiv:2503.23913, step 2).

Every completion is in exactly one cluster. Completions without a final answer form a cluster of
their own, whose `answer` is None: it counts in the entropy and is never correct. The clusters do
not depend on the order of the completions, but for the indices in `members`.
"""

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from east_core.answers.equality import open_pairs
from east_core.answers.extraction import AnswerPolicy
from east_core.answers.form import Form
from east_core.answers.grading import Grader
from east_core.answers.gradings import MATH, BaseGrading
from east_core.answers.reading import response_of
from east_core.answers.thinking import MARKS_ALONE, Thinking
from east_core.records import AnswerCluster, AnswerClusters, SampledQuestion


@dataclass(frozen=True, slots=True)
class _Reading:
    """A question's answers and the number of each one's form, by completion.

    `forms` are the distinct forms, with the gold form first.
    """

    question_id: str
    answers: tuple[str | None, ...]
    form_of: tuple[int | None, ...]
    forms: tuple[Form, ...]
    has_gold: bool


def cluster(
    question: SampledQuestion,
    grader: Grader,
    policy: AnswerPolicy,
    thinking: Thinking = MARKS_ALONE,
    grading: BaseGrading = MATH,
) -> AnswerClusters:
    """The answer clusters of one question; the one equal to the gold answer is correct."""
    return _clusters(_read(question, grader, policy, thinking, grading), grader)


def cluster_all(
    questions: Iterable[SampledQuestion],
    grader: Grader,
    policy: AnswerPolicy,
    thinking: Thinking = MARKS_ALONE,
    grading: BaseGrading = MATH,
) -> Iterator[AnswerClusters]:
    """`cluster` for a stream of questions, in order; a few are in flight over the workers."""

    def jobs() -> Iterator[tuple[Callable[[], AnswerClusters], bool]]:
        for question in questions:
            own = grading.of(question.question.id)
            if own.waits:
                yield functools.partial(cluster, question, grader, policy, thinking, own), True
                continue
            reading = _read(question, grader, policy, thinking, own)
            yield functools.partial(_clusters, reading, grader), bool(open_pairs(reading.forms))

    return grader.in_order(jobs())


def _read(
    sampled: SampledQuestion,
    grader: Grader,
    policy: AnswerPolicy,
    thinking: Thinking,
    grading: BaseGrading,
) -> _Reading:
    """Read every completion and give each distinct form a number; the gold form is number 0."""
    responses = [response_of(each, policy, thinking) for each in sampled.completions]
    read = grading.read(sampled.question, responses, grader)
    forms = [] if read.gold is None else [read.gold]
    number = {form.key: at for at, form in enumerate(forms)}
    pairs = zip(read.answers, read.forms, strict=True)
    for _, form in sorted(pairs, key=lambda pair: pair[0] or ""):
        if form is not None and form.key not in number:
            number[form.key] = len(forms)
            forms.append(form)
    form_of = tuple(None if form is None else number[form.key] for form in read.forms)
    return _Reading(sampled.question.id, read.answers, form_of, tuple(forms), read.gold is not None)


def _clusters(reading: _Reading, grader: Grader) -> AnswerClusters:
    labels = grader.partition(reading.forms)
    members: dict[int | None, list[int]] = {}
    for position, form in enumerate(reading.form_of):
        members.setdefault(None if form is None else labels[form], []).append(position)
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
