"""What only a GPU can show, tried on yours: one table, and a file for a report.

    make check-gpu
    python -m benchmarks.check_gpu [--device cpu] [--out FILE] [NAMES ...]

A dozen minutes on one GPU, at most a quarter of an hour; no download, no network. Every part is a
process of its own with a time limit, so that one which hangs does not take the others along. FILE
(check-gpu.md) has the table and the end of each failed part's output: attach it to a report.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.gpu_parts import PARTS, Device
from benchmarks.pairs import ROOT
from east_core.store.provenance import code_version

LIMIT = 420.0  # two engines that start cold on a GPU compile for minutes
LAST_LINES = 60


@dataclass(frozen=True)
class Part:
    """What came of a part: ok, FAILED or not run; what it found; how a failed one ended."""

    name: str
    result: str
    found: str
    seconds: float
    output: str = ""


def check(name: str, device: Device, folder: Path, limit: float = LIMIT) -> Part:
    """Run one part to its end, or to its limit in seconds."""
    command = [sys.executable, "-m", "benchmarks.gpu_parts", name, device, str(folder / name)]
    log, begun = folder / f"{name}.log", time.monotonic()
    with log.open("w") as output:
        try:
            subprocess.run(
                command, cwd=ROOT, stdout=output, stderr=output, timeout=limit, check=False
            )
            ending = ""
        except subprocess.TimeoutExpired:
            ending = f"took longer than {limit:.0f} s"
    seconds, lines = time.monotonic() - begun, log.read_text(errors="replace").splitlines()
    told = {} if ending or not lines else _told(lines[-1])
    result, found = told.get("result", "FAILED"), told.get("found", ending or "it ended in between")
    kept = "" if result != "FAILED" else "\n".join(lines[-LAST_LINES:])
    return Part(name, result, found, seconds, kept)


def _told(line: str) -> dict[str, str]:
    """What a part told at its end; nothing where the line is another."""
    try:
        told = json.loads(line)
    except ValueError:
        return {}
    return told if isinstance(told, dict) and "result" in told else {}


def page_of(parts: list[Part]) -> str:
    """The table of all parts, and what the failed ones said last."""
    at = datetime.now(UTC).isoformat(timespec="minutes")
    lines = [f"check-gpu, {at}, commit {code_version()}", "", "| part | result | found | s |"]
    lines.append("|---|---|---|---|")
    for part in parts:
        cell = part.found.replace("|", "\\|")
        lines.append(f"| {part.name} | {part.result} | {cell} | {part.seconds:.0f} |")
    for part in parts:
        if part.output:
            lines += ["", f"## {part.name}", "", "```", part.output.replace("```", "'''"), "```"]
    return "\n".join([*lines, ""])


def main() -> int:
    """Try all parts, or those that are named; the exit status is 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_RAW)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(PARTS)}; all unless named")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--out", type=Path, default=Path("check-gpu.md"), help="the file to write")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds for each part")
    options = parser.parse_args()
    if unknown := set(options.names) - PARTS.keys():
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    parts: list[Part] = []
    with tempfile.TemporaryDirectory(prefix="east-check-gpu-") as folder:
        for name in options.names or PARTS:
            print(f"{name}: {PARTS[name].__doc__} ...", flush=True)
            parts.append(check(name, options.device, Path(folder), options.limit))
            print(f"  {parts[-1].result}, {parts[-1].seconds:.0f} s: {parts[-1].found}", flush=True)
            options.out.write_text(page_of(parts))
    print(f"\n{page_of(parts)}\nwritten to {options.out}")
    return 1 if any(part.result == "FAILED" for part in parts) else 0


_RAW = argparse.RawDescriptionHelpFormatter

if __name__ == "__main__":
    sys.exit(main())
