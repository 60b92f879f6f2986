"""What the benchmarks share: paired runs, their ratio with its interval, and the result file.

A benchmark writes rows, and a page of Markdown where there is more to tell, with `write_result`;
`python -m benchmarks.run` gathers them.
"""

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

Measured = TypeVar("Measured")
ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / ".east" / "bench"
"""Where finished benchmarks, and what was drawn for them, wait for the next run."""


@dataclass(frozen=True)
class BenchmarkRow:
    """One result: `ratio` with its interval, what it should be (`goal`), and of how many runs.

    A goal of 1 or less on speed is a floor; on cost (tokens, memory, overhead) it is a ceiling.
    """

    name: str
    ratio: float
    low: float
    high: float
    goal: float
    runs: int


def alternate(
    ours: Callable[[], Measured], plain: Callable[[], Measured], runs: int
) -> list[tuple[Measured, Measured]]:
    """Run both in turn, `runs` times; who goes first changes from pair to pair.

    Each returns what it measured (seconds, a rate ...); the pairs are (ours, plain).
    """
    pairs = []
    for index in range(runs):
        if index % 2 == 0:
            first = ours()
            pairs.append((first, plain()))
        else:
            second = plain()
            pairs.append((ours(), second))
    return pairs


def median_row(name: str, ratios: Sequence[float], goal: float) -> BenchmarkRow:
    """The median of the ratios with their extremes.

    The extremes of n runs hold the median of all such runs with probability 1 - 2 / 2^n: 94% of
    five runs, 97% of six.
    """
    return BenchmarkRow(
        name, statistics.median(ratios), min(ratios), max(ratios), goal, len(ratios)
    )


def single_row(name: str, ratio: float, goal: float, runs: int = 1) -> BenchmarkRow:
    """A ratio that was measured once, or that does not vary."""
    return BenchmarkRow(name, ratio, ratio, ratio, goal, runs)


def write_result(path: Path, rows: Sequence[BenchmarkRow], page: str = "") -> None:
    """Write a benchmark's rows and page as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    result = {"rows": [asdict(row) for row in rows], "page": page}
    path.write_text(json.dumps(result, indent=1) + "\n")
