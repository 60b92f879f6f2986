"""Estimates with intervals, and paired tests: what a difference between two scores means.

    accuracy, no-answer and truncated shares   greedy completions; Wilson score interval
    mean_tokens                                greedy completions; bootstrap over questions
    paired difference                          exact McNemar test; Bonett-Price interval

The interval of an accuracy tells how far another draw of test questions might move it. It is not
for comparing two checkpoints on the same questions: that is what the paired difference is for,
which is much sharper, because most questions are answered alike by both.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from east_core.errors import DataError
from east_core.records import Prediction

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
