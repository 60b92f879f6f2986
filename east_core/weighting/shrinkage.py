"""Entropy, shrunk towards the round's mean by how little n completions tell of it.

The entropy of 8 completions is a rough estimate, and a weight in proportion to it is in part noise
of the draw. Empirical Bayes (Efron and Morris 1973; Morris 1983, doi:10.2307/2287098) takes each
entropy H_i as the question's own one, which varies with variance tau^2 around a mean m, plus an
error of variance v_i, and moves it towards m by the error's part:

    H_i -> m + (H_i - m) tau^2 / (tau^2 + v_i)

    m = mean H_k,  tau^2 = max(0, variance of H_k - mean v_k)       over the kept questions k
    v_i = (sum p ln^2 p - H^2) / n + (K - 1) / 2n^2, in nats^2      Basharin 1959, Harris 1975

`corrected_entropy` takes the bias away instead; that of H, here, stays.
"""

import math
from collections.abc import Sequence
from typing import Literal

from pydantic import ConfigDict

from east_core.errors import DataError
from east_core.weighting.base import PowerWeighting, QuestionStatistics


class ShrunkEntropyWeighting(PowerWeighting):
    """r_i = (m + (H_i - m) tau^2 / (tau^2 + v_i))^a: entropy without what is chance in its spread.

    Where the entropies differ by no more than chance explains, tau^2 is 0, and all weights are 1.
    """

    model_config = ConfigDict(title="Entropy, shrunk to the mean")

    kind: Literal["shrunk_entropy"] = "shrunk_entropy"

    def raw_weight(self, question: QuestionStatistics) -> float:
        """H_i in bits, which `of_round` shrinks and raises to a."""
        return question.entropy_bits

    def raw_variance(self, question: QuestionStatistics) -> float:
        """v_i in bits^2. Raises DataError without the sizes of the clusters."""
        if not question.sizes:
            raise DataError(
                "weighting 'shrunk_entropy' needs the sizes of the answer clusters; give them in "
                "QuestionStatistics, or choose weighting 'entropy'"
            )
        return entropy_variance(question.sizes)

    def of_round(self, raw: Sequence[float], variances: Sequence[float]) -> Sequence[float]:
        """The shrunk entropies to the power of a."""
        count = max(1, len(raw))
        mean = math.fsum(raw) / count
        spread = math.fsum((each - mean) ** 2 for each in raw) / max(1, count - 1)
        own = max(0.0, spread - math.fsum(variances) / count)
        return [
            self.power(mean + (bits - mean) * own / (own + variance), "shrunk entropy")
            for bits, variance in zip(raw, variances, strict=True)
        ]


def entropy_variance(sizes: Sequence[int]) -> float:
    """The sampling variance of the plug-in entropy of clusters of these sizes, in bits^2.

    The formula takes a unanimous question for certain. It is not: its variance is that of one more
    completion with another answer.
    """
    if len(sizes) == 1:
        return entropy_variance([*sizes, 1])
    drawn = sum(sizes)
    shares = [size / drawn for size in sizes]
    entropy = -math.fsum(share * math.log(share) for share in shares)
    spread = math.fsum(share * math.log(share) ** 2 for share in shares) - entropy**2
    nats = max(0.0, spread) / drawn + (len(sizes) - 1) / (2 * drawn**2)
    return nats / math.log(2) ** 2
