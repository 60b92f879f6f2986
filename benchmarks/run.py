"""All benchmarks with one command: docs/benchmarks.md and benchmarks/results.json.

    python -m benchmarks.run                    every benchmark that is not finished yet
    python -m benchmarks.run sampling store     these, again

Each benchmark is a process of its own and leaves its rows in .east/bench as soon as it is finished,
so a run that was stopped goes on with the next one; results of another commit or another machine
are measured anew. A machine that does other work at the same time spoils every number here.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.gpu_page import with_section
from benchmarks.pairs import KEPT, ROOT
from east_core.store.provenance import code_version

RESULTS = ROOT / "benchmarks" / "results.json"
PAGE = ROOT / "docs" / "benchmarks.md"
GPU_RESULTS = ROOT / "benchmarks" / "gpu.json"  # of `python -m benchmarks.gpu`, wherever it ran
OUT = "OUT"  # stands for the result file in the commands below
BENCHMARKS: dict[str, tuple[str, ...]] = {
    "sampling": ("benchmarks.sampling", "--json", OUT),
    "training": ("benchmarks.training", "--json", OUT),
    "clustering": ("benchmarks.clustering", "--json", OUT),
    "store": ("benchmarks.store", "--gib", "0.5", "--repeats", "5", "--json", OUT),
    "stage": ("benchmarks.stage", "--json", OUT),
    "demo": ("benchmarks.demo", "--json", OUT),
    "profile": ("benchmarks.profile", "--json", OUT),
    "rounds": ("benchmarks.rounds", "--json", OUT),
}
HEAD = """# Benchmarks

Written by `make bench` (`python -m benchmarks.run`); `benchmarks/results.json` has
the same rows. Every number is a ratio against plain use of the same engine in the same run, so that
it means something on another machine: for the speed of sampling, training, clustering and the store
it is our speed over the plain one, and the goal is a floor; where a row says "share" or "memory",
less is better and the goal is a ceiling. Low and high are the extremes of the
paired runs (of five: a 94% interval of the median), or a 95% bootstrap interval where a row counts
questions. "Load before" is the machine's load average over the minute before; the benchmark before
it is part of that. Far above the number of cores it says that other work ran at the same time: such
rows show that the benchmark works, and want to be measured again on a quiet machine.

Rows against "plain", SFTTrainer or the plain loop stand against the scripts in benchmarks/plain,
which one would write from the libraries' manuals; rows against "bare" or "stock" give the other
side our own options, so that the difference between the two tells what these cost.
On one GPU sampling was measured apart: [seen on a GPU](reproducibility.md#seen-on-a-gpu).
"""
Result = dict[str, Any]


def main() -> int:
    """Run what is asked for, and write the page from all that is finished."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_RAW)
    parser.add_argument("names", nargs="*", help=f"which ones, again: {', '.join(BENCHMARKS)}")
    names: list[str] = parser.parse_args().names
    if unknown := set(names) - BENCHMARKS.keys():
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    failed = [name for name in names or BENCHMARKS if not _finished(name, is_asked=bool(names))]
    write_page({name: result for name in BENCHMARKS if (result := _result(name)) is not None})
    for name in failed:
        print(f"{name} failed; run it alone to see why: python -m benchmarks.run {name}")
    return 1 if failed else 0


_RAW = argparse.RawDescriptionHelpFormatter


def _finished(name: str, is_asked: bool) -> bool:
    """Run a benchmark, unless its result is there and nobody asked for it by name."""
    kept = _result(name)
    if (
        kept is not None
        and not is_asked
        and (kept["commit"], kept["device"]) == _commit_and_device()
    ):
        print(f"{name}: finished already, at {kept['measured_at']}", flush=True)
        return True
    print(f"{name}: running ...", flush=True)
    out = KEPT / f"{name}.new.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    command = [str(out) if part == OUT else part for part in BENCHMARKS[name]]
    load, begun = os.getloadavg()[0], time.monotonic()
    subprocess.run([sys.executable, "-m", *command], cwd=ROOT, check=False)
    if not out.is_file():
        return False
    result: Result = json.loads(out.read_text())
    out.unlink()
    commit, device = _commit_and_device()
    result |= {
        "commit": commit,
        "device": device,
        "measured_at": datetime.now(UTC).isoformat(timespec="minutes"),
        "seconds": round(time.monotonic() - begun),
        "load_before": round(load, 1),
    }
    (KEPT / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    return True


def _result(name: str) -> Result | None:
    path = KEPT / f"{name}.json"
    return json.loads(path.read_text()) if path.is_file() else None


def _commit_and_device() -> tuple[str, str]:
    # what a benchmark writes makes the checkout dirty, and is no other code
    return code_version().removesuffix(".dirty"), device_name()


def device_name() -> str:
    """The machine's processor and, where there is one, its GPU."""
    cores = len(os.sched_getaffinity(0))
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = f"{cores} cores of {models[0] if models else platform.machine()}"
    import torch

    return f"{torch.cuda.get_device_name()}, {name}" if torch.cuda.is_available() else name


def write_page(results: dict[str, Result]) -> None:
    """Write docs/benchmarks.md and results.json."""
    rows = [row for result in results.values() for row in result["rows"]]
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    table = ["| | ratio | low | high | goal | runs |", "|---|---|---|---|---|---|"]
    table += [
        f"| {row['name']} | {row['ratio']:.3g} | {row['low']:.3g} | {row['high']:.3g} | "
        f"{row['goal']:g} | {row['runs']} |"
        for row in rows
    ]
    pages = [result["page"] for result in results.values() if result["page"]]
    page = "\n".join([HEAD, *table, "", *_provenance(results), *pages])
    PAGE.write_text(with_section(page, GPU_RESULTS), "utf-8")


def _provenance(results: dict[str, Result]) -> Sequence[str]:
    lines = ["| benchmark | device | commit | measured (UTC) | took, s | load before |"]
    lines.append("|---|---|---|---|---|---|")
    for name, result in results.items():
        what = (result["device"], result["commit"], result["measured_at"], result["seconds"])
        lines.append(f"| {name} | " + " | ".join(map(str, (*what, result["load_before"]))) + " |")
    return [*lines, ""]


if __name__ == "__main__":
    sys.exit(main())
