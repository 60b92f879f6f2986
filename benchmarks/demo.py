"""The demo's time by stage, and the run's own time beside its stages (its overhead).

    python -m benchmarks.demo --json rows.json

Runs `east demo` in an empty folder, as a user does. The stages' seconds come from the records, each
round's own time from its report's log (east_core.report.overhead_seconds).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.pairs import ROOT, Row, median_row, write_result
from east_core.artifacts import Store

DEMO_ROUNDS = 3
SHARE_GOAL, SECONDS_GOAL = 0.03, 5.0
STAGES = ("samples", "weights", "examples", "checkpoint", "scores", "report")
EAST = [sys.executable, "-c", "from flows.cli import main; main()"]
Rounds = list[dict[str, Any]]


def run_demo(folder: Path, rounds: int) -> tuple[Rounds, float, float]:
    """The rounds as `east show --json` tells them, the command's wall seconds, and the stages'
    seconds outside the rounds (freezing the questions and the like).
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(folder)}
    environment |= {name: str(folder / name) for name in ("PREFECT_HOME", "EAST_DEVICE_LOCK")}
    store = folder / "store"
    begun = time.perf_counter()
    command = [*EAST, "demo", "--store", str(store), "--set", f"rounds={rounds}"]
    subprocess.run(command, check=True, cwd=folder, env=environment, stdout=sys.stderr)
    wall = time.perf_counter() - begun
    shown = subprocess.run(
        [*EAST, "show", str(store / "demo"), "--json"],
        check=True,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
    )
    records = Store(str(store)).records("demo")
    outside = sum(r.seconds for r in records if not r.address.startswith("demo/round-"))
    return json.loads(shown.stdout)["rounds"], wall, outside


def rows_of(rounds: Rounds) -> list[Row]:
    """The overhead as a share of each trained round, and over the demo's rounds against 5 s."""
    shares = [own(entry) / (own(entry) + worked(entry)) for entry in rounds[1:]]
    demo = sum(own(entry) for entry in rounds[: DEMO_ROUNDS + 1]) / SECONDS_GOAL
    return [
        median_row("overhead: the run's own time, share of a round", shares, SHARE_GOAL),
        Row("overhead: the rounds' own time in the demo, share of 5 s", demo, demo, demo, 1.0, 1),
    ]


def own(entry: dict[str, Any]) -> float:
    """A round's own time in seconds."""
    return float(entry["overhead_seconds"])


def worked(entry: dict[str, Any]) -> float:
    """A round's time in stages, in seconds."""
    return float(sum(entry["seconds"].values()))


def page_of(rounds: Rounds, wall: float, outside: float) -> str:
    """Every round's seconds by stage, and how the command's wall time divides."""
    head = ("round", *STAGES, "own time", "all")
    lines = ["### The demo's seconds by stage", "", "| " + " | ".join(head) + " |"]
    lines.append("|---" * len(head) + "|")
    for entry in rounds:
        stages = [f"{entry['seconds'].get(stage, 0.0):.1f}" for stage in STAGES]
        numbers = [*stages, f"{own(entry):.1f}", f"{own(entry) + worked(entry):.1f}"]
        lines.append(f"| {entry['round'] or 'base'} | " + " | ".join(numbers) + " |")
    told = sum(own(entry) + worked(entry) for entry in rounds)
    demo = sum(own(entry) + worked(entry) for entry in rounds[: DEMO_ROUNDS + 1])
    around = wall - told
    median = statistics.median(own(entry) + worked(entry) for entry in rounds[1:])
    story = (
        f"The command took {wall:.0f} s for {len(rounds) - 1} rounds: {told:.0f} s in the rounds "
        f"(median {median:.0f} s), {outside:.1f} s of preparing stages, {around - outside:.0f} s "
        f"around them: imports, Prefect's server, the last report. The demo's {DEMO_ROUNDS} rounds "
        f"are {demo + around:.0f} s of it."
    )
    return "\n".join([*lines, "", story, ""])


def main() -> None:
    """Run the demo and write rows and table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=DEMO_ROUNDS)
    parser.add_argument("--json", type=Path, required=True, help="write rows and table here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="east-bench-") as folder:
        rounds, wall, outside = run_demo(Path(folder), options.rounds)
    page = page_of(rounds, wall, outside)
    print(page, file=sys.stderr)
    write_result(options.json, rows_of(rounds), page)


if __name__ == "__main__":
    main()
