"""Scores of a checkpoint on a benchmark: graded greedy completions, samples, or both."""

import itertools
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from east_core.answers.clustering import cluster_all
from east_core.answers.extraction import AnswerPolicy
from east_core.answers.grading import Grader
from east_core.answers.gradings import MATH, BaseGrading
from east_core.answers.thinking import MARKS_ALONE, Thinking
from east_core.errors import DataError
from east_core.evaluation.estimates import Estimate, mean_estimate, share_estimate
from east_core.evaluation.samples import majority_at_k, pass_at_k, sample_counts
from east_core.records import AnswerClusters, Prediction, Question, SampledQuestion


@dataclass(frozen=True)
class Scores:
    """One checkpoint on one benchmark, or on the questions of one level or subject of it.

    Shares are of all questions, tokens per completion: greedy ones, or, where `samples` is above 0,
    means over so many samples of each question. `pass_at` and `majority_at` go by k ("1", "2",
    "4", ... and n) and are empty without samples.
    """

    accuracy: Estimate
    no_answer_share: Estimate
    truncated_share: Estimate
    mean_tokens: Estimate
    pass_at: Mapping[str, Estimate] = field(default_factory=dict)
    majority_at: Mapping[str, Estimate] = field(default_factory=dict)
    by_level: Mapping[str, "Scores"] = field(default_factory=dict)
    by_subject: Mapping[str, "Scores"] = field(default_factory=dict)
    samples: int = 0


def grade(
    sampled: Iterable[SampledQuestion],
    grader: Grader,
    policy: AnswerPolicy,
    thinking: Thinking = MARKS_ALONE,
    grading: BaseGrading = MATH,
) -> Iterator[Prediction]:
    """The first completion of each question with its extracted answer and its grade, in order.

    A few questions are in flight over the grader's workers at a time.
    """
    sampled, copies = itertools.tee(sampled)
    first = (replace(item, completions=item.completions[:1]) for item in copies)
    clustered = cluster_all(first, grader, policy, thinking, grading)
    for item, clusters in zip(sampled, clustered, strict=True):
        yield first_prediction(item, clusters)


def first_prediction(item: SampledQuestion, clusters: AnswerClusters) -> Prediction:
    """The first of a question's completions with its answer and its grade."""
    question, completion = item.question, item.completions[0]
    (found,) = (each for each in clusters.clusters if 0 in each.members)
    return Prediction(
        question_id=question.id,
        completion=completion.text,
        answer=found.answer,
        gold=question.answer or "",
        is_correct=found.is_correct,
        finish_reason=completion.finish_reason,
        token_count=completion.token_count,
        level=question.level,
        subject=question.subject,
    )


class ScoreTotals:
    """Counts graded completions as they pass by, for all questions, each level and each subject.

    With `samples` above 0 the accuracy is the mean over so many samples of each question. What
    stays in memory is 8 bytes a question and metric, for the intervals.
    """

    def __init__(self, samples: int = 0) -> None:
        self._samples = samples
        self._all = _Counts(samples)
        self._levels: dict[str, _Counts] = {}
        self._subjects: dict[str, _Counts] = {}

    def counting(self, predictions: Iterable[Prediction]) -> Iterator[Prediction]:
        """Pass greedy predictions through, counting each."""
        for prediction in predictions:
            for counts in self._groups(prediction.level, prediction.subject):
                counts.add(_graded(prediction))
            yield prediction

    def counting_sampled(
        self, graded: Iterable[tuple[SampledQuestion, AnswerClusters]]
    ) -> Iterator[Prediction]:
        """Count questions by all of their samples; pass on the first of each as its prediction."""
        for sampled, clusters in graded:
            for counts in self._groups(sampled.question.level, sampled.question.subject):
                counts.add(_shares(sampled, clusters))
            yield first_prediction(sampled, clusters)

    def counting_samples(
        self, samples: Iterable[tuple[Question, AnswerClusters]]
    ) -> Iterator[AnswerClusters]:
        """Pass the clusters of the extra samples through, counting their pass@k and maj@k."""
        for question, clusters in samples:
            passes, majorities = _outcomes(clusters)
            for counts in self._groups(question.level, question.subject):
                counts.add_samples(passes, majorities)
            yield clusters

    def scores(self, confidence: float) -> Scores:
        """The scores of what has passed by. Raises DataError where nothing has."""
        if not self._all.tokens:
            raise DataError("a benchmark without questions has no scores; check its path and limit")
        return self._all.scores(
            confidence,
            by_level=_scores_of(self._levels, confidence),
            by_subject=_scores_of(self._subjects, confidence),
        )

    def _groups(self, level: str | None, subject: str | None) -> Iterator["_Counts"]:
        yield self._all
        for name, groups in ((level, self._levels), (subject, self._subjects)):
            if name is not None:
                yield groups.setdefault(name, _Counts(self._samples))


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of one question: shares of its completions, and their mean length."""

    correct: float
    no_answer: float
    truncated: float
    tokens: float


def _graded(prediction: Prediction) -> _Outcome:
    is_cut = prediction.finish_reason == "length"
    return _Outcome(
        prediction.is_correct, prediction.answer is None, is_cut, prediction.token_count
    )


def _shares(sampled: SampledQuestion, clusters: AnswerClusters) -> _Outcome:
    n = len(sampled.completions)
    cut = sum(each.finish_reason == "length" for each in sampled.completions)
    tokens = sum(each.token_count for each in sampled.completions)
    return _Outcome(clusters.accuracy, clusters.no_answer_share, cut / n, tokens / n)


class _Counts:
    """What is known of one group of questions."""

    def __init__(self, samples: int) -> None:
        self.samples = samples
        self.correct, self.no_answer = array("d"), array("d")
        self.truncated, self.tokens = array("d"), array("d")
        self.passes: dict[int, array[float]] = {}
        self.majorities: dict[int, array[float]] = {}

    def add(self, outcome: _Outcome) -> None:
        self.correct.append(outcome.correct)
        self.no_answer.append(outcome.no_answer)
        self.truncated.append(outcome.truncated)
        self.tokens.append(outcome.tokens)

    def add_samples(self, passes: Mapping[int, float], majorities: Mapping[int, float]) -> None:
        for k, value in passes.items():
            self.passes.setdefault(k, array("d")).append(value)
        for k, value in majorities.items():
            self.majorities.setdefault(k, array("d")).append(value)

    def scores(self, confidence: float, **groups: Mapping[str, Scores]) -> Scores:
        return Scores(
            accuracy=share_estimate(self.correct, confidence),
            no_answer_share=share_estimate(self.no_answer, confidence),
            truncated_share=share_estimate(self.truncated, confidence),
            mean_tokens=mean_estimate(self.tokens, confidence),
            pass_at=_estimates(self.passes, confidence),
            majority_at=_estimates(self.majorities, confidence),
            samples=self.samples,
            **groups,
        )


def _outcomes(clusters: AnswerClusters) -> tuple[dict[int, float], dict[int, float]]:
    """pass@k and maj@k of one question, by k."""
    n = clusters.sample_count
    sizes = [(cluster, len(cluster.members)) for cluster in clusters.clusters]
    correct = sum(size for cluster, size in sizes if cluster.is_correct)
    silent = sum(size for cluster, size in sizes if cluster.answer is None)
    wrong = tuple(
        size for cluster, size in sizes if not cluster.is_correct and cluster.answer is not None
    )
    ks = sample_counts(n)
    return (
        {k: pass_at_k(n, correct, k) for k in ks},
        {k: majority_at_k(correct, wrong, silent, k) for k in ks},
    )


def _estimates(values: Mapping[int, Sequence[float]], confidence: float) -> dict[str, Estimate]:
    return {str(k): mean_estimate(values[k], confidence) for k in sorted(values)}


def _scores_of(groups: Mapping[str, _Counts], confidence: float) -> dict[str, Scores]:
    return {name: groups[name].scores(confidence) for name in sorted(groups)}


def scores_as_facts(scores: Scores) -> dict[str, object]:
    """The scores as plain JSON values, for an artifact's record; empty parts are left out."""
    return _without_empty(asdict(scores))


def scores_from_facts(facts: Mapping[str, Any]) -> Scores:
    """The scores that `scores_as_facts` made plain."""
    single = ("accuracy", "no_answer_share", "truncated_share", "mean_tokens")
    parts: dict[str, Any] = {name: Estimate(**facts[name]) for name in single}
    for name in ("pass_at", "majority_at"):
        parts[name] = {k: Estimate(**value) for k, value in facts.get(name, {}).items()}
    for name in ("by_level", "by_subject"):
        parts[name] = {k: scores_from_facts(value) for k, value in facts.get(name, {}).items()}
    parts["samples"] = facts.get("samples", 0)
    return Scores(**parts)


def _without_empty(value: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _without_empty(item) if isinstance(item, dict) else item
        for name, item in value.items()
        if item != {} and (name, item) != ("samples", 0)
    }
