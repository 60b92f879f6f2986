"""Which round of a run is its best, for everything that asks: the one definition."""

import statistics
from collections.abc import Mapping

from east_core.runs.overview import accuracies, is_scored
from east_core.runs.run import Run


def best_round(accuracy: Mapping[int, Mapping[str, float]]) -> int | None:
    """The round with the highest mean accuracy over the benchmarks; the earliest of equals.

    `accuracy` is by round and benchmark; rounds without a score are passed over. None where no
    round has one.
    """
    means = {number: statistics.fmean(by.values()) for number, by in accuracy.items() if by}
    return max(means, key=lambda number: (means[number], -number), default=None)


def scored_before(run: Run, number: int) -> dict[int, dict[str, float]]:
    """Accuracy by round and benchmark of the rounds before `number` that are scored on all."""
    addresses = run.store.addresses(run.name)
    return {
        past: by_benchmark
        for past, by_benchmark in accuracies(run.store, run.name, addresses).items()
        if past < number and is_scored(run.name, addresses, past)
    }


def source(run: Run, number: int) -> int:
    """Which checkpoint round `number` samples from: the last one, or the best so far.

    With `start_from = "best"` it is also what is trained on.
    """
    if run.config.start_from != "best":
        return number - 1
    best = best_round(scored_before(run, number))
    return number - 1 if best is None else best
