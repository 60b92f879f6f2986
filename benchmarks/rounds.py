"""The demo against the script that one would write instead: wall time, in turns.

    python -m benchmarks.rounds --json rows.json

The other side is `benchmarks.plain.loop`: the same questions, samples and training in one process,
without artifacts. "Whole" is from the command to its end, imports and Prefect's server included;
"three rounds" is from the base model's scores to the last round's.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from benchmarks.demo import run_demo
from benchmarks.pairs import ROOT, BenchmarkRow, alternate, median_row, write_result
from benchmarks.sides import side_environment
from east_core.config import Resources
from east_core.inputs.questions import builtin_path
from east_core.runs.addresses import RunAddresses
from east_core.store import Store

GOAL = 1.05
BENCHMARK = "word-problems"


@dataclass(frozen=True)
class Times:
    """Seconds of a whole command, and of its three rounds; its accuracies, the base model first."""

    whole: float
    rounds: float
    accuracy: Sequence[float]


def time_demo() -> Times:
    """Run the demo in an empty folder."""
    with tempfile.TemporaryDirectory(prefix="east-bench-") as folder:
        run = run_demo(Path(folder))
        store, at = Store(str(Path(folder) / "store")), RunAddresses("demo")
        scores = [store.require(at.scores(number, BENCHMARK)) for number in range(4)]
        ended = [datetime.fromisoformat(record.created_at).timestamp() for record in scores]
        accuracy = [float(record.facts["accuracy"]["value"]) for record in scores]
    return Times(run.wall, ended[-1] - ended[0], accuracy)


def time_plain() -> Times:
    """Run the plain loop in an empty folder."""
    files = [str(builtin_path(name)) for name in ("seed_model", "train.jsonl", "test.jsonl")]
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="east-bench-") as folder:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.plain.loop", *files, folder],
            cwd=ROOT,
            env={**side_environment(Resources(device="cpu", engines=1)), "HOME": folder},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    whole = time.perf_counter() - begun
    told = json.loads(done.stdout.splitlines()[-1])
    return Times(whole, sum(told["rounds"]), told["accuracy"])


def page_of(pairs: Sequence[tuple[Times, Times]]) -> str:
    """The seconds and accuracies of all runs."""
    lines = ["### Three rounds: the demo and the plain loop", ""]
    lines += ["| | whole, s | three rounds, s | accuracy by round |", "|---|---|---|---|"]
    for pair in pairs:
        for name, times in zip(("east demo", "plain loop"), pair, strict=True):
            accuracy = ", ".join(f"{value:.3f}" for value in times.accuracy)
            lines.append(f"| {name} | {times.whole:.0f} | {times.rounds:.0f} | {accuracy} |")
    return "\n".join([*lines, ""])


def rows_of(pairs: Sequence[tuple[Times, Times]]) -> list[BenchmarkRow]:
    """Our times as shares of the plain loop's."""
    rounds = [ours.rounds / plain.rounds for ours, plain in pairs]
    whole = [ours.whole / plain.whole for ours, plain in pairs]
    return [
        median_row("demo: three rounds, wall time, share of the plain loop's", rounds, GOAL),
        median_row("demo: whole command, wall time, share of the plain script's", whole, 75 / 116),
    ]


def main() -> None:
    """Run both in turns and write rows and table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path, required=True, help="write rows and table here")
    options = parser.parse_args()
    pairs = alternate(time_demo, time_plain, options.runs)
    page = page_of(pairs)
    print(page, file=sys.stderr)
    write_result(options.json, rows_of(pairs), page)


if __name__ == "__main__":
    main()
