"""What extra samples of a question tell of it, without drawing again.

pass@k   unbiased (Chen et al. 2021, arXiv:2107.03374)
maj@k    the exact expectation over votes of k samples
"""

import functools
import math
from collections.abc import Sequence
from typing import Any


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
        votes[m] * _win_chances(m, wrong, _binomial(silent, share, k), share)[k - m]
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


def _win_chances(m: int, wrong: Sequence[int], silent: Any, share: float) -> Any:
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


def sample_counts(n: int) -> list[int]:
    """The k for which pass@k and maj@k of n samples are told: 1, 2, 4, ... and n."""
    powers = [1 << exponent for exponent in range(n.bit_length()) if 1 << exponent < n]
    return [*powers, n]
