"""Is the cost linear? Sampling, weighing and publishing at 1, 4 and 16 times the work.

    python -m benchmarks.linear --json rows.json

Every measurement is a process of its own, so that its peak memory (resident set) is its own; an
engine's and the grading workers' memory is told apart. Engines are started before the clock runs.
A row tells the growth of the time from 1x to 16x over 16: 1 is linear, below 1 there are fixed
costs; and the growth of the memory of our process from 4x to 16x, where buffers and caches that are
bounded are full.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.clustering import weigh_apart
from benchmarks.pairs import ROOT, Row, single_row, write_result

FACTORS = (1, 4, 16)
SAMPLED, WEIGHED, PUBLISHED_MIB = 24, 150, 32  # questions, questions, MiB at 1x
RESPONSES = 128
TIME_GOAL, MEMORY_GOAL = 1.1, 1.2
Cost = dict[str, float]


def sampling(factor: int) -> Cost:
    """The sampling stage of the demo's model: `SAMPLED` questions x 8 at 1x."""
    from benchmarks.sampling import prepared, run_config, time_stage
    from east_core.config import Resources
    from east_core.engines.vllm.sampler import VllmSampler

    resources = Resources(device="cpu", kv_cache_gib=0.25, shard_questions=SAMPLED)
    with tempfile.TemporaryDirectory() as folder, VllmSampler(resources) as sampler:
        time_stage(prepared(run_config(Path(folder), "warm", 1, resources)), sampler)
        run = prepared(run_config(Path(folder), "bench", factor * SAMPLED, resources))
        begun = time.perf_counter()
        time_stage(run, sampler)
        seconds = time.perf_counter() - begun
    return {"seconds": seconds} | _peaks()


def weighing(factor: int) -> Cost:
    """The weighing stage: `WEIGHED` questions x 128 answers at 1x, as clustering draws them."""
    found = weigh_apart(factor * WEIGHED, RESPONSES)
    return {name: found[name] for name in ("seconds", "mib", "worker_mib")}


def publishing(factor: int) -> Cost:
    """An artifact of one file, `PUBLISHED_MIB` at 1x, to moto's S3 server on loopback."""
    from east_core.store import Stage, Store, materialize
    from tests.integration.s3_servers import BUCKET, moto_server

    block = os.urandom(2**20)

    def build(out: Path) -> None:
        with (out / "model.safetensors").open("wb") as file:
            for _ in range(factor * PUBLISHED_MIB):
                file.write(block)

    with moto_server() as server:
        server.create_bucket()
        os.environ.update(server.environment())
        begun = time.perf_counter()
        materialize(Store(f"s3://{BUCKET}"), Stage("bench/checkpoint", "bench"), build)
        seconds = time.perf_counter() - begun
        return {"seconds": seconds, "mib": _peaks()["mib"], "worker_mib": 0.0}


STAGES: dict[str, Callable[[int], Cost]] = {
    "sampling": sampling,
    "weighing": weighing,
    "publishing": publishing,
}
WORK = {
    "sampling": f"{SAMPLED} questions x 8",
    "weighing": f"{WEIGHED} questions x {RESPONSES}",
    "publishing": f"{PUBLISHED_MIB} MiB",
}


def _peaks() -> Cost:
    own, children = (
        resource.getrusage(who).ru_maxrss / 1024
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return {"mib": own, "worker_mib": children}


def apart(name: str, factor: int) -> Cost:
    """The cost of a stage, measured in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.linear", "--stage", name, "--factor", str(factor)],
        check=True,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    cost: Cost = json.loads(done.stdout.splitlines()[-1])
    print(f"# {name} {factor}x: {cost}", file=sys.stderr, flush=True)
    return cost


def rows_of(costs: dict[str, list[Cost]]) -> list[Row]:
    """Growth of time and of memory from the least work to the most."""
    rows = []
    for name, (least, middle, most) in costs.items():
        seconds = most["seconds"] / least["seconds"] / FACTORS[-1]
        memory = most["mib"] / middle["mib"]
        rows.append(single_row(f"{name}: time, growth from 1x to 16x over 16", seconds, TIME_GOAL))
        rows.append(single_row(f"{name}: memory, growth from 4x to 16x", memory, MEMORY_GOAL))
    return rows


def page_of(costs: dict[str, list[Cost]]) -> str:
    """The costs as a table."""
    lines = ["### Cost at 1x, 4x and 16x the work", ""]
    lines.append("| stage | work | seconds | peak memory, MiB | its workers' (engine's), MiB |")
    lines.append("|---|---|---|---|---|")
    for name, measured in costs.items():
        for factor, cost in zip(FACTORS, measured, strict=True):
            lines.append(
                f"| {name} | {factor} x {WORK[name]} | {cost['seconds']:.1f} | {cost['mib']:.0f} | "
                f"{cost['worker_mib']:.0f} |"
            )
    return "\n".join([*lines, ""])


def main() -> None:
    """Measure every stage at every factor, and write rows and table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, help="write rows and table here")
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--factor", type=int, default=1, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        print(json.dumps(STAGES[options.stage](options.factor)))
        return
    costs = {name: [apart(name, factor) for factor in FACTORS] for name in STAGES}
    page = page_of(costs)
    print(page)
    if options.json:
        write_result(options.json, rows_of(costs), page)


if __name__ == "__main__":
    main()
