"""Estimates with intervals, and paired tests: what a difference between two scores means.

    accuracy, no-answer and truncated shares   greedy completions: Wilson score interval; k samples:
                                               the same, with questions as clusters
    mean_tokens                                bootstrap over questions
    paired difference                          exact McNemar test (k samples: sign flips of
                                               questions); Bonett-Price interval

The interval of an accuracy tells how far another draw of test questions might move it. It is not
for comparing two checkpoints on the same questions: that is what the paired difference is for,
which is much sharper, because most questions are answered alike by both.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from east_core.errors import DataError
from east_core.evaluation.sign_flips import chance_of_as_much, in_steps

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

    `only_first` and `only_second` count the questions that one of the two alone answers correctly,
    or more often where each is the mean over samples; `p_value` is of the exact two-sided McNemar
    test, or of sign flips.
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


def share_estimate(shares: Sequence[float], confidence: float = 0.95) -> Estimate:
    """The mean of shares, one a question: of k samples each, or of one that is right or wrong.

    Samples of a question are alike, so a question is one observation and not k (a cluster).
    Wilson's score interval is taken with the effective sample size (Korn and Graubard 1998):
    p (1 - p) over the variance of the mean, as the spread between questions tells it; at least the
    number of questions (and that, where all shares are equal), at most that of samples. With one
    sample it is `proportion`. No shares raise ValueError.
    """
    whole, samples = in_steps(shares)
    n = len(whole)
    if samples == 1:
        return proportion(sum(whole), n, confidence)
    mean = math.fsum(shares) / n
    spread = math.fsum((each - mean) ** 2 for each in shares) / max(1, n - 1)
    effective = n * mean * (1 - mean) / spread if spread else n
    return _wilson(mean, min(max(n, effective), n * samples), n, confidence)


def _wilson(share: float, effective: float, n: int, confidence: float) -> Estimate:
    from scipy.stats import norm

    squared = float(norm.ppf((1 + confidence) / 2)) ** 2 / effective
    centre = (share + squared / 2) / (1 + squared)
    half = math.sqrt(squared * share * (1 - share) + squared**2 / 4) / (1 + squared)
    return Estimate(share, max(0.0, centre - half), min(1.0, centre + half), n)


def paired_difference(
    first: Sequence[float], second: Sequence[float], confidence: float = 0.95
) -> PairedDifference:
    """How much more often `second` is correct than `first` on the same questions, in their order.

    Each question is right (True) or wrong, or the share of its samples that are right; its samples
    count together. The test flips signs, exactly (`sign_flips`): McNemar's, of right and wrong.
    The interval is Bonett and Price's adjusted Wald interval (2012), recommended by Fagerland et
    al. 2014 (doi:10.1002/sim.6148): one question is added that the first alone has right, and one
    that the second has, so it has a width even where both agree everywhere.
    Raises ValueError for different lengths or no questions.
    """
    from scipy.stats import norm

    whole, steps = in_steps([*first, *second])
    pairs = list(zip(whole[: len(first)], whole[len(first) :], strict=True))
    differences, n = [after - before for before, after in pairs], len(pairs)
    rise, fall = chance_of_as_much(differences), chance_of_as_much([-each for each in differences])
    added = [each / steps for each in differences] + [1.0, -1.0]
    mean = math.fsum(added) / (n + 2)
    spread = math.fsum(each**2 for each in added) / (n + 2) - mean**2
    half = float(norm.ppf((1 + confidence) / 2)) * math.sqrt(spread / (n + 2))
    return PairedDifference(
        value=sum(differences) / steps / n,
        low=max(-1.0, mean - half),
        high=min(1.0, mean + half),
        p_value=min(1.0, 2 * min(rise, fall)),
        only_first=sum(each < 0 for each in differences),
        only_second=sum(each > 0 for each in differences),
        n=n,
    )


def compare_outcomes(
    first: Mapping[str, float], second: Mapping[str, float], confidence: float = 0.95
) -> PairedDifference:
    """The paired difference of two checkpoints on one benchmark, by question id.

    Raises DataError where they are not of the same questions.
    """
    if first.keys() != second.keys():
        odd = sorted(first.keys() ^ second.keys())[:1]
        raise DataError(
            f"predictions of different questions can't be paired ({odd[0]!r} is in one only); "
            "compare scores on the same benchmark"
        )
    return paired_difference(list(first.values()), [second[name] for name in first], confidence)
