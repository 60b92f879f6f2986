"""Scores of a checkpoint and differences between two, each with the interval it deserves.

    accuracy, no-answer and truncated shares   greedy completions; Wilson score interval
    mean_tokens                                greedy completions; bootstrap over questions
    pass@k                                     extra samples; unbiased (Chen et al. 2021)
    maj@k                                      extra samples; the exact expectation
    paired difference                          exact McNemar test; Bonett-Price interval

The interval of an accuracy tells how far another draw of test questions might move it. It is not
for comparing two checkpoints on the same questions: that is what the paired difference is for,
which is much sharper, because most questions are answered alike by both.
"""

import functools
import math
from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from east_core.answers import AnswerPolicy, completion_answer
from east_core.errors import DataError
from east_core.grading import Grader
from east_core.records import AnswerClusters, Prediction, Question, SampledQuestion

RESAMPLES = 5000
_BATCH = 100  # resamples in memory at once: 5,000 questions take 4 MB


@dataclass(frozen=True)
class Estimate:
    """A mean over n questions (or seeds), with the bounds of its confidence interval."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Scores:
    """One checkpoint on one benchmark, or on the questions of one level or subject of it.

    Shares are of all questions; tokens are per greedy completion. `pass_at` and `majority_at` go
    by k ("1", "2", "4", ... and n) and are empty without extra samples.
    """

    accuracy: Estimate
    no_answer_share: Estimate
    truncated_share: Estimate
    mean_tokens: Estimate
    pass_at: Mapping[str, Estimate] = field(default_factory=dict)
    majority_at: Mapping[str, Estimate] = field(default_factory=dict)
    by_level: Mapping[str, "Scores"] = field(default_factory=dict)
    by_subject: Mapping[str, "Scores"] = field(default_factory=dict)


@dataclass(frozen=True)
class PairedDifference:
    """Second minus first accuracy on the same n questions, with its interval.

    `only_first` and `only_second` count the questions that one of the two alone answers correctly;
    `p_value` is of the exact two-sided McNemar test.
    """

    value: float
    low: float
    high: float
    p_value: float
    only_first: int
    only_second: int
    n: int


def proportion(successes: int, n: int, confidence: float = 0.95) -> Estimate:
    """The share successes / n with its Wilson score interval (Wilson 1927).

    Wilson's interval stays inside [0, 1] and keeps its coverage near 0 and 1, where accuracies of
    weak and strong models lie. n = 0 raises ValueError.
    """
    from scipy.stats import binomtest

    interval = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    return Estimate(successes / n, float(interval.low), float(interval.high), n)


def mean_estimate(values: Sequence[float], confidence: float = 0.95) -> Estimate:
    """The mean of `values`, one a question, with the percentile bootstrap over questions.

    The resamples are drawn from a fixed seed: equal values give equal bounds.
    """
    import numpy as np
    from scipy.stats import bootstrap

    data = np.asarray(values, dtype=float)
    value = float(data.mean())
    if np.ptp(data) == 0:  # every resample is the same
        return Estimate(value, value, value, len(data))
    interval = bootstrap(
        (data,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=_BATCH,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Estimate(value, float(interval.low), float(interval.high), len(data))


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """The chance that k of the samples, drawn without replacement, hold a correct one.

    The unbiased estimator 1 - C(n - c, k) / C(n, k) of Chen et al. 2021 (arXiv:2107.03374, eq. 1).
    Raises ValueError unless 1 <= k <= samples.
    """
    _check_k(k, samples)
    return 1 - math.comb(samples - correct, k) / math.comb(samples, k)


@functools.lru_cache(maxsize=100_000)
def majority_at_k(correct: int, wrong: tuple[int, ...], silent: int, k: int) -> float:
    """The chance that the vote of k samples, drawn without replacement, is correct.

    `correct` samples give the right answer, `wrong` counts those of each wrong answer, `silent`
    those without an answer, who don't vote. Ties are broken by lot; a vote without voters is lost.
    The counts in a draw are independent binomials, given that they add up to k: exact, and no
    number grows large. Raises ValueError unless 1 <= k <= the number of samples.
    """
    import numpy as np

    samples = correct + sum(wrong) + silent
    _check_k(k, samples)
    if k == samples:
        return _plurality(correct, wrong)
    share = k / samples
    votes = _binomial(correct, share, k)
    won = sum(
        votes[m] * _outvoted(m, wrong, _binomial(silent, share, k), share)[k - m]
        for m in range(1, min(correct, k) + 1)
    )
    return float(np.clip(won / _binomial(samples, share, k)[k], 0.0, 1.0))


def _check_k(k: int, samples: int) -> None:
    if not 1 <= k <= samples:
        raise ValueError(f"k = {k} is not between 1 and the number of samples, {samples}")


def _plurality(correct: int, wrong: Sequence[int]) -> float:
    """The vote of all samples."""
    if correct == 0 or correct < max(wrong, default=0):
        return 0.0
    return 1 / (1 + sum(count == correct for count in wrong))


def _outvoted(m: int, wrong: Sequence[int], silent: Any, share: float) -> Any:
    """By number of other samples drawn: the chance that m votes win against the wrong answers.

    Row t of the table stands for t wrong answers that tie with m votes; none has more.
    """
    import numpy as np

    table = [silent]
    for size in wrong:
        drawn = _binomial(size, share, m)
        below = [np.convolve(row, drawn[:m])[: len(silent)] for row in table]
        tied = [np.r_[np.zeros(m), row[: len(row) - m]] * drawn[m] for row in table]
        most = len(silent) // m  # more ties than fit into the draw can't happen
        table = [a + b for a, b in zip([*below, 0.0], [0.0, *tied], strict=True)][: most + 1]
    return sum(row / (1 + ties) for ties, row in enumerate(table))


def _binomial(n: int, share: float, most: int) -> Any:
    """The chances of 0, 1, ..., `most` successes in n trials."""
    import numpy as np
    from scipy.stats import binom

    return binom.pmf(np.arange(most + 1), n, share)


def paired_difference(
    first: Sequence[bool], second: Sequence[bool], confidence: float = 0.95
) -> PairedDifference:
    """How much more often `second` is correct than `first` on the same questions, in their order.

    The test is McNemar's, exact. The interval is Bonett and Price's adjusted Wald interval (2012),
    recommended by Fagerland et al. 2014 (doi:10.1002/sim.6148): one question is added to either
    discordant count, so it has a width even where both agree everywhere.
    Raises ValueError for different lengths or no questions.
    """
    from scipy.stats import norm
    from statsmodels.stats.contingency_tables import mcnemar

    pairs = list(zip(first, second, strict=True))
    n, only_first = len(pairs), sum(a and not b for a, b in pairs)
    only_second = sum(b and not a for a, b in pairs)
    test = mcnemar([[0, only_first], [only_second, 0]], exact=True)
    p, q = (only_second + 1) / (n + 2), (only_first + 1) / (n + 2)
    half = float(norm.ppf((1 + confidence) / 2)) * math.sqrt((p + q - (p - q) ** 2) / (n + 2))
    return PairedDifference(
        value=(only_second - only_first) / n,
        low=max(-1.0, p - q - half),
        high=min(1.0, p - q + half),
        p_value=float(test.pvalue),
        only_first=only_first,
        only_second=only_second,
        n=n,
    )


def compare_predictions(
    first: Iterable[Prediction], second: Iterable[Prediction], confidence: float = 0.95
) -> PairedDifference:
    """The paired difference of two checkpoints' greedy predictions on one benchmark.

    Raises DataError where they are not of the same questions.
    """
    before = {row.question_id: row.is_correct for row in first}
    after = {row.question_id: row.is_correct for row in second}
    if before.keys() != after.keys():
        odd = sorted(before.keys() ^ after.keys())[:1]
        raise DataError(
            f"predictions of different questions can't be paired ({odd[0]!r} is in one only); "
            "compare scores on the same benchmark"
        )
    return paired_difference(list(before.values()), [after[name] for name in before], confidence)


def grade(
    sampled: Iterable[SampledQuestion], grader: Grader, policy: AnswerPolicy
) -> Iterator[Prediction]:
    """The first completion of each question with its extracted answer and its grade, in order.

    A few questions are in flight over the grader's workers at a time.
    """
    waiting: deque[tuple[SampledQuestion, str | None]] = deque()

    def pairs() -> Iterator[tuple[str, str]]:
        for item in sampled:
            waiting.append((item, completion_answer(item.completions[0], policy)))
            yield waiting[-1][1] or "", item.question.answer or ""

    for is_equal in grader.equal_many(pairs()):
        item, answer = waiting.popleft()
        yield _prediction(item, answer, answer is not None and is_equal)


def _prediction(item: SampledQuestion, answer: str | None, is_correct: bool) -> Prediction:
    question, completion = item.question, item.completions[0]
    return Prediction(
        question_id=question.id,
        completion=completion.text,
        answer=answer,
        gold=question.answer or "",
        is_correct=is_correct,
        finish_reason=completion.finish_reason,
        token_count=completion.token_count,
        level=question.level,
        subject=question.subject,
    )


def sample_counts(n: int) -> list[int]:
    """The k for which pass@k and maj@k of n samples are told: 1, 2, 4, ... and n."""
    powers = [1 << exponent for exponent in range(n.bit_length()) if 1 << exponent < n]
    return [*powers, n]


class Tally:
    """Counts graded completions as they pass by, for all questions, each level and each subject.

    What stays in memory is 8 bytes a question and metric, for the bootstrap.
    """

    def __init__(self) -> None:
        self._all = _Counts()
        self._levels: dict[str, _Counts] = {}
        self._subjects: dict[str, _Counts] = {}

    def counting(self, predictions: Iterable[Prediction]) -> Iterator[Prediction]:
        """Pass greedy predictions through, counting each."""
        for prediction in predictions:
            for counts in self._groups(prediction.level, prediction.subject):
                counts.add(prediction)
            yield prediction

    def voting(
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
                yield groups.setdefault(name, _Counts())


class _Counts:
    """What is known of one group of questions."""

    def __init__(self) -> None:
        self.correct = self.no_answer = self.truncated = 0
        self.tokens = array("d")
        self.passes: dict[int, array[float]] = {}
        self.majorities: dict[int, array[float]] = {}

    def add(self, prediction: Prediction) -> None:
        self.correct += prediction.is_correct
        self.no_answer += prediction.answer is None
        self.truncated += prediction.finish_reason == "length"
        self.tokens.append(prediction.token_count)

    def add_samples(self, passes: Mapping[int, float], majorities: Mapping[int, float]) -> None:
        for k, value in passes.items():
            self.passes.setdefault(k, array("d")).append(value)
        for k, value in majorities.items():
            self.majorities.setdefault(k, array("d")).append(value)

    def scores(self, confidence: float, **groups: Mapping[str, Scores]) -> Scores:
        n = len(self.tokens)
        return Scores(
            accuracy=proportion(self.correct, n, confidence),
            no_answer_share=proportion(self.no_answer, n, confidence),
            truncated_share=proportion(self.truncated, n, confidence),
            mean_tokens=mean_estimate(self.tokens, confidence),
            pass_at=_estimates(self.passes, confidence),
            majority_at=_estimates(self.majorities, confidence),
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
    return Scores(**parts)


def _without_empty(value: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _without_empty(item) if isinstance(item, dict) else item
        for name, item in value.items()
        if item != {}
    }
