"""The exact paired test: how often chance alone, flipping signs, gives so large a difference.

Where nothing changed between two checkpoints, each question's difference is as likely to have the
other sign (Fisher's randomisation test). Of questions that are right or wrong this is McNemar's
exact test; of shares of k samples it takes a question as one, however many samples it has.
"""

import functools
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from fractions import Fraction

MOST_SAMPLES = 4096  # a question; shares of so many are told apart as floats


def chance_of_as_much(differences: Sequence[int]) -> float:
    """The chance that fair coins for the signs give a sum of at least that of `differences`.

    One-sided and exact, with 1 where nothing differs; below about 1e-13 it is not accurate where
    the differences have several sizes.
    """
    from scipy.stats import binom

    total, sizes = sum(differences), Counter(abs(each) for each in differences if each)
    if not sizes:
        return 1.0
    if len(sizes) > 1:
        return _tail_of_sizes(total, sizes)
    [(size, flips)] = sizes.items()
    heads = (total // size + flips) // 2
    return float(binom.sf(heads - 1, flips, 0.5))


def _tail_of_sizes(total: int, sizes: Counter[int]) -> float:
    """The tail of a sum of binomials, each times its size: their spectra multiplied, and back."""
    import numpy as np
    from scipy.fft import next_fast_len

    reach = sum(size * flips for size, flips in sizes.items())
    length = next_fast_len(reach + 1, real=True)
    angles = np.pi * np.arange(length // 2 + 1) / length
    spectrum = np.ones(len(angles), dtype=complex)
    for size, flips in sizes.items():
        spectrum *= np.cos(size * angles) ** flips * np.exp(-1j * size * flips * angles)
    chances = np.fft.irfft(spectrum, length)
    least = (total + reach) // 2  # heads, each counted by its size
    return float(np.clip(chances[least : reach + 1].sum(), 0.0, 1.0))


def in_steps(values: Iterable[float]) -> tuple[list[int], int]:
    """Shares as whole numbers of their common step, and how many steps make 1.

    Shares of k samples have k steps, or a divisor of k; right and wrong (1 and 0) have one.
    """
    parts = [_fraction(float(value)) for value in values]
    steps = math.lcm(*(part.denominator for part in parts))
    return [int(part * steps) for part in parts], steps


@functools.lru_cache(maxsize=10_000)
def _fraction(value: float) -> Fraction:
    return Fraction(value).limit_denominator(MOST_SAMPLES)
