"""The demo's time by stage, and the run's own time beside its stages (its overhead).

    python -m benchmarks.demo --json rows.json

Runs `east demo` in an empty folder, as a user does, some times over. The stages' seconds come from
the records, each round's own time from its report's log (east_core.runs.summary.overhead_seconds).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.pairs import ROOT, BenchmarkRow, median_row, write_result
from east_core.store import Store

SHARE_GOAL, SECONDS_GOAL = 0.03, 5.0
STAGES = ("samples", "weights", "examples", "checkpoint", "scores", "report")
EAST = [sys.executable, "-c", "from flows.commands.main import main; main()"]


@dataclass(frozen=True)
class DemoRun:
    """One run of the demo, in seconds.

    `rounds` is what `east show --json` tells of them, the base model first; `wall` is the command's
    time, and `outside` the stages' before the first round (freezing the questions and the like).
    """

    rounds: list[dict[str, Any]]
    wall: float
    outside: float


def demo_environment(folder: Path) -> dict[str, str]:
    """The environment of a user who has nothing but this folder."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(folder)}
    environment.pop("OMP_NUM_THREADS", None)
    return environment | {name: str(folder / name) for name in ("PREFECT_HOME", "EAST_DEVICE_LOCK")}


def run_demo(folder: Path) -> DemoRun:
    """Run the demo in `folder`, with nothing there that an earlier run left."""
    environment = demo_environment(folder)
    store = folder / "store"
    begun = time.perf_counter()
    command = [*EAST, "demo", "--store", str(store)]
    subprocess.run(command, check=True, cwd=folder, env=environment, stdout=sys.stderr)
    wall = time.perf_counter() - begun
    command = [*EAST, "show", str(store / "demo"), "--json"]
    shown = subprocess.check_output(command, cwd=folder, env=environment)
    records = Store(str(store)).records("demo")
    outside = sum(r.seconds for r in records if not r.address.startswith("demo/round-"))
    return DemoRun(json.loads(shown)["rounds"], wall, outside)


def rows_of(runs: Sequence[DemoRun]) -> list[BenchmarkRow]:
    """The overhead of each run: as a share of its worst trained round, and in all against 5 s."""
    shares = [
        max(own_seconds(entry) / whole_seconds(entry) for entry in run.rounds[1:]) for run in runs
    ]
    sums = [sum(map(own_seconds, run.rounds)) / SECONDS_GOAL for run in runs]
    return [
        median_row("overhead: own time, share of the demo's worst round", shares, SHARE_GOAL),
        median_row("overhead: own time in the demo, share of 5 s", sums, 1.0),
    ]


def own_seconds(entry: dict[str, Any]) -> float:
    """A round's own time in seconds."""
    return float(entry["overhead_seconds"])


def whole_seconds(entry: dict[str, Any]) -> float:
    """A round's time in seconds: its own, and its stages' but for the report.

    A round's report is drawn beside the next round's samples.
    """
    stages = (spent for stage, spent in entry["seconds"].items() if stage != "report")
    return own_seconds(entry) + float(sum(stages))


def page_of(runs: Sequence[DemoRun]) -> str:
    """The seconds by stage of the run of median length, and how its wall time divides."""
    run = sorted(runs, key=lambda each: each.wall)[len(runs) // 2]
    head = ("round", *STAGES, "own time", "all")
    lines = ["### The demo's seconds by stage", "", "| " + " | ".join(head) + " |"]
    lines.append("|---" * len(head) + "|")
    for entry in run.rounds:
        stages = [f"{entry['seconds'].get(stage, 0.0):.1f}" for stage in STAGES]
        numbers = [*stages, f"{own_seconds(entry):.1f}", f"{whole_seconds(entry):.1f}"]
        lines.append(f"| {entry['round'] or 'base'} | " + " | ".join(numbers) + " |")
    in_rounds = sum(map(whole_seconds, run.rounds))
    walls = ", ".join(f"{each.wall:.0f}" for each in runs)
    middle = statistics.median(map(whole_seconds, run.rounds[1:]))
    story = (
        f"Of {len(runs)} runs ({walls} s) the one of median length. The command took "
        f"{run.wall:.0f} s: {in_rounds:.0f} s in the rounds (median {middle:.0f} s), "
        f"{run.outside:.1f} s of preparing stages, {run.wall - in_rounds - run.outside:.0f} s "
        f"around them: imports, Prefect's server, the last report."
    )
    return "\n".join([*lines, "", story, ""])


def main() -> None:
    """Run the demo and write rows and table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path, required=True, help="write rows and table here")
    options = parser.parse_args()
    runs = []
    for _ in range(options.runs):
        with tempfile.TemporaryDirectory(prefix="east-bench-") as folder:
            runs.append(run_demo(Path(folder)))
    page = page_of(runs)
    print(page, file=sys.stderr)
    write_result(options.json, rows_of(runs), page)


if __name__ == "__main__":
    main()
