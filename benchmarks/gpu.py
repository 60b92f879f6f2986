"""Training on one GPU: TRL's trainers, ours padded, ours packed; speed, memory, losses, the plan.

    python -m benchmarks.gpu [--shape 1b] [--json FILE] [--budget SECONDS] [NAMES ...]
    python -m benchmarks.gpu --device cpu --shape tiny --json FILE       with a toy, to try it out
    python -m benchmarks.gpu --page                             docs/benchmarks.md from what is kept

Every measurement is a process of its own (`benchmarks.gpu_training`) that trains a random model of
a real shape on random ids, so nothing is downloaded. Lengths in tokens are like GSM8K's: prompts of
40 + log-normal (median 55, sigma 0.35), completions log-normal (median 150, sigma 0.45). All
measurements train on the same rows in the same global batches. Rows of the table are told as they
come; after `--budget` seconds no further one is begun. A step's clock runs from the end of the step
before, all its kernels finished; medians are over the steps behind the warm-up.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.gpu_models import SHAPES
from benchmarks.gpu_page import line, summary, with_section
from benchmarks.gpu_setups import SETUPS
from benchmarks.run import GPU_RESULTS, PAGE
from east_core.store.provenance import code_version

Result = dict[str, Any]


def main() -> int:
    """Measure what is asked for; print a line for each, then the table; write JSON."""
    options = _options()
    if options.page:
        PAGE.write_text(with_section(PAGE.read_text(), options.json))
        return 0
    begun, results = time.monotonic(), list[Result]()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        print(f"a random model of shape {options.shape}: {SHAPES[options.shape]}", flush=True)
        _prepare(work, options)
        for name in options.names:
            if time.monotonic() - begun > options.budget:
                print(f"{name}: left out, the budget of {options.budget:g} s is spent", flush=True)
                continue
            results.append(_measure(name, work, options))
            print(line(results[-1]), flush=True)
            _write(options.json, options, results)
    print(summary(results), flush=True)
    return 0 if results and all("error" not in result for result in results) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(SETUPS)}; all unless named")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--shape", choices=SHAPES, default="1b")
    parser.add_argument("--steps", type=int, default=14, help="optimizer steps of a measurement")
    parser.add_argument("--batch", type=int, default=64, help="global batch")
    parser.add_argument(
        "--micro", type=int, default=8, help="rows of a micro-batch; half as many pairs"
    )
    parser.add_argument("--no-zero", action="store_true", help="ours without DeepSpeed, too")
    parser.add_argument("--budget", type=float, default=3600.0, help="seconds for all")
    parser.add_argument("--limit", type=float, default=240.0, help="seconds for one measurement")
    parser.add_argument("--json", type=Path, default=GPU_RESULTS, help="results, kept and told")
    parser.add_argument("--page", action="store_true", help="only write docs/benchmarks.md anew")
    options = parser.parse_args()
    if unknown := set(options.names) - SETUPS.keys():
        parser.error(f"no measurement {', '.join(sorted(unknown))}; there are {', '.join(SETUPS)}")
    options.names = options.names or list(SETUPS)
    return options


def _prepare(work: Path, options: argparse.Namespace) -> None:
    """Write model and rows in another process: this one takes no memory of the GPU."""
    losses = sorted({SETUPS[name].loss for name in options.names})
    count = str(options.batch * options.steps)
    command = [sys.executable, "-m", "benchmarks.gpu_models", str(work), options.shape]
    subprocess.run([*command, options.device, count, *losses], check=True)


def _measure(name: str, work: Path, options: argparse.Namespace) -> Result:
    """Run one measurement in a process of its own, and read what it found."""
    out = work / f"{name}.json"
    asked = SETUPS[name]
    if options.no_zero and asked.zero:
        asked = replace(asked, zero=0, title=f"{asked.title}, no ZeRO")
    micro = options.micro // 2 if asked.loss == "dpo" else options.micro  # pairs count twice
    setup = json.dumps({**asdict(asked), "batch": options.batch, "micro": micro})
    command = [sys.executable, "-m", "benchmarks.gpu_training", name, setup]
    command += [options.device, str(work), str(out)]
    environment = {**os.environ, "TQDM_DISABLE": "1", "PYTHONWARNINGS": "ignore"}
    begun, result = time.monotonic(), dict[str, Any]()
    with (work / f"{name}.log").open("w+") as log:
        try:
            subprocess.run(
                command, env=environment, stdout=log, stderr=log, timeout=options.limit, check=True
            )
            result = json.loads(out.read_text())
        except (subprocess.SubprocessError, OSError) as error:
            log.seek(0)
            told = [text for text in log.read().splitlines() if text.strip()]
            result["error"] = " | ".join(told[-40:]) or str(error)
    return {"name": name, **result, "seconds": round(time.monotonic() - begun, 1)}


def _write(path: Path, options: argparse.Namespace, results: list[Result]) -> None:
    kinds = ("shape", "device", "batch", "micro", "steps")
    plain = {name: getattr(options, name) for name in kinds}
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = {result["name"] for result in results}
    kept = [result for result in _kept(path, plain) if result["name"] not in fresh]
    order = list(SETUPS)
    whole = sorted([*kept, *results], key=lambda result: order.index(result["name"]))
    measured = f"measured {datetime.now(UTC).date()} at {code_version()}"
    told = {"options": plain, "measured": measured, "results": whole}
    path.write_text(json.dumps(told, indent=1) + "\n")


def _kept(path: Path, options: Result) -> list[Result]:
    """What was measured before with the same options."""
    if not path.is_file():
        return []
    before: Result = json.loads(path.read_text())
    return list(before["results"]) if before["options"] == options else []


if __name__ == "__main__":
    sys.exit(main())
