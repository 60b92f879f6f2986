"""From raw weights to weights of mean 1, with or without a cap."""

import itertools
import math
from collections.abc import Callable, Sequence

from east_core.errors import ConfigError

NEGLIGIBLE = 1e-300


def scaling(raw: Sequence[float], max_weight: float | None = None) -> Callable[[float], float]:
    """The function from raw weights to weights of mean 1 over `raw` (no weights for no questions).

    With a cap c: w = min(c, s r), with the one s that makes the mean 1 again. Raises ConfigError
    where all raw weights are 0, or where too few are above 0 for a mean of 1 under the cap; one
    of NEGLIGIBLE size beside the largest counts as 0.
    """
    largest = max(raw, default=0.0)
    if not raw or largest == 0:
        return _scaling_of_nothing(len(raw))
    # neither overflows nor underflows; what is next to nothing is nothing, or its factor overflows
    relative = [share if (share := r / largest) > NEGLIGIBLE else 0.0 for r in raw]
    factor = len(raw) / math.fsum(relative)
    if max_weight is None or factor <= max_weight:
        return lambda r: r / largest * factor
    capped = _capped_factor(sorted(relative), max_weight)
    return lambda r: min(max_weight, r / largest * capped)


def _scaling_of_nothing(count: int) -> Callable[[float], float]:
    if count:
        raise ConfigError(
            f"all {count} kept questions have the weight 0, so weights of mean 1 are undefined "
            "(with entropy weights: every question is unanimous); raise sampling.temperature or "
            "choose weighting 'uniform'"
        )
    return lambda _: 0.0


def _capped_factor(ascending: Sequence[float], cap: float) -> float:
    """s with mean(min(cap, s r)) = 1, found by capping the largest weights one after another."""
    count = len(ascending)
    sums = list(itertools.accumulate(ascending))
    for capped in range(count):
        largest, rest = ascending[count - 1 - capped], sums[count - 1 - capped]
        room = count - cap * capped
        if rest > 0 and room >= 0 and room / rest * largest <= cap:
            return room / rest
    positive = sum(value > 0 for value in ascending)
    raise ConfigError(
        f"weighting.max_weight {cap:g} leaves no weights of mean 1: only {positive} of {count} "
        f"questions have a weight above 0; set it to {count / positive:.3g} or more"
    )
