"""Where the demo's time goes: wall and CPU seconds of each stage, by process.

    python -m benchmarks.profile [--json FILE]

Runs `east demo` in an empty folder, looks at the CPU times of its processes five times a second,
and assigns them to the stages by the times in the records. What is before, between and after the
stages is "around". CPU seconds hardly depend on what else a machine does, unlike wall time.
"""

import argparse
import collections
import itertools
import os
import subprocess
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil

from benchmarks.demo import EAST, demo_environment
from benchmarks.pairs import write_result
from east_core.runs.addresses import RunAddresses
from east_core.store import ArtifactRecord, Store

LOOK_SECONDS = 0.2
PROCESSES = ("command", "server", "engines", "fork server", "ranks", "others")
AROUND = "around"
PAGE = """### Where a round's time goes

One run of the demo, the three rounds added up, in seconds: wall time, and CPU time by process
(load before: {load:.1f}). CPU time depends little on what else a machine does. "around" is what is
before, between and after the stages: imports, Prefect's server, the run's own time.

{table}
"""


@dataclass(frozen=True)
class Look:
    """The CPU seconds that each process, by its kind and id, had used at a time."""

    at: float
    seconds: dict[tuple[str, int], float]


def kind_of(process: psutil.Process, command: int) -> str:
    """Which part of the system a process is."""
    if process.pid == command:
        return "command"
    words = " ".join(process.cmdline())
    if "supervise" in words:
        return "others"
    if "uvicorn" in words:
        return "server"
    if "vllm.worker" in words:
        return "engines"
    if "fork_server" not in words:
        return "others"
    return "ranks" if "fork_server" in " ".join(process.parent().cmdline()[:3]) else "fork server"


def look(command: psutil.Process, kinds: dict[int, str]) -> Look:
    """The CPU times of a command's processes now."""
    seconds = {}
    for process in [command, *command.children(recursive=True)]:
        try:
            kind = kinds.get(process.pid) or kind_of(process, command.pid)
            used = process.cpu_times()
        except psutil.Error:
            continue
        kinds[process.pid] = kind
        seconds[kind, process.pid] = used.user + used.system
    return Look(time.time(), seconds)


def watched(folder: Path) -> list[Look]:
    """Run the demo in a folder and look at it until it ends."""
    arguments = [*EAST, "demo", "--store", str(folder / "store")]
    looks: list[Look] = [Look(time.time(), {})]
    kinds: dict[int, str] = {}
    with subprocess.Popen(arguments, cwd=folder, env=demo_environment(folder)) as process:
        command = psutil.Process(process.pid)
        while process.poll() is None:
            looks.append(look(command, kinds))
            time.sleep(LOOK_SECONDS)
    return looks


def stage_at(records: Sequence[ArtifactRecord], at: float) -> str:
    """The stage that was built at a time: the last to begin of those that were."""
    building = [
        (ended - record.seconds, record)
        for record in records
        if (ended := datetime.fromisoformat(record.created_at).timestamp()) >= at
        and ended - record.seconds <= at
    ]
    if not building:
        return AROUND
    _, record = max(building, key=lambda each: each[0])
    part = RunAddresses("demo").part(record.address)
    if part is None or part.round is None:
        return "preparing"
    return f"base model, {part.kind}" if part.round == 0 else str(part.kind)


def table(looks: Sequence[Look], records: Sequence[ArtifactRecord]) -> str:
    """Wall and CPU seconds by stage, those of the trained rounds added up."""
    wall: dict[str, float] = collections.defaultdict(float)
    cpu: dict[tuple[str, str], float] = collections.defaultdict(float)
    known: dict[tuple[str, int], float] = {}
    for before, after in itertools.pairwise(looks):
        stage = stage_at(records, (before.at + after.at) / 2)
        wall[stage] += after.at - before.at
        for process, seconds in after.seconds.items():
            cpu[stage, process[0]] += seconds - known.get(process, 0.0)
            known[process] = seconds
    head = ("stage", "wall", *PROCESSES, "all CPU")
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    lines += [_line(stage, wall[stage], [cpu[stage, kind] for kind in PROCESSES]) for stage in wall]
    sums = [sum(cpu[stage, kind] for stage in wall) for kind in PROCESSES]
    return "\n".join([*lines, _line("all", sum(wall.values()), sums)])


def _line(name: str, wall: float, cpu: Iterable[float]) -> str:
    numbers = [wall, *cpu]
    return f"| {name} | " + " | ".join(f"{n:.1f}" for n in [*numbers, sum(numbers[1:])]) + " |"


def main() -> None:
    """Run the demo and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, help="write the page here")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="east-bench-") as folder:
        looks = watched(Path(folder))
        records = list(Store(str(Path(folder) / "store")).records("demo"))
    page = PAGE.format(load=load, table=table(looks, records))
    print(page)
    if options.json:
        write_result(options.json, [], page)


if __name__ == "__main__":
    main()
