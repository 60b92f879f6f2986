"""What becomes of a run when something fails: the fault table of docs/reliability.md.

    python -m benchmarks.faults [--only NAME ...] [--fresh | --kept] [--out docs/reliability.md]

Each row disturbs a run at one place, then runs it again to its end, and compares with an
undisturbed run: no record that stood when the fault struck may be made again, and every artifact
must have the same content hash. Finished rows are kept in --work, so an interrupted bench goes on.
Exits with 1 where a row does not hold.
"""

import argparse
import json
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.faults_bench import Bench, Engines, Records, Scene
from benchmarks.faults_kills import KILLS
from benchmarks.faults_store import LOCAL, REAL_LOCAL, REAL_STORE, STORE
from benchmarks.small_jobs import lines_of
from east_core.store.provenance import code_version

ON_S3 = {"flow-publishing-shard", "flow-publishing", "worker-publishing", "engine-publishing"}
NEED_ROOT = {"scratch-full", "store-full", "cache-full", "training-disk-full"}  # they mount
BEGIN, END = "<!-- faults:begin -->", "<!-- faults:end -->"


@dataclass(frozen=True)
class Row:
    """One fault, and how a run is disturbed by it; `disturb` returns what the user is told."""

    name: str
    fault: str
    engines: Engines
    on_s3: bool
    disturb: Callable[[Scene], str]


@dataclass(frozen=True)
class Result:
    """What became of a row.

    `recorded` stages stood when the fault struck, `repeated` of them were made again, `made` were
    made after it, and `differing` do not have the undisturbed run's content.
    """

    name: str
    outcome: str
    finished: bool
    recorded: int
    repeated: Sequence[str]
    made: Sequence[str]
    differing: Sequence[str]
    seconds: float
    code_version: str

    @property
    def holds(self) -> bool:
        """Whether nothing was lost, repeated or changed."""
        return self.finished and not self.repeated and not self.differing


def rows() -> list[Row]:
    """All rows, in the order of the table."""
    kills = [
        Row(name, str(disturb.__doc__), "real", name in ON_S3, disturb)
        for name, disturb in KILLS.items()
    ]
    parts: list[tuple[Mapping[str, tuple[str, Callable[[Scene], str]]], Engines, bool]] = [
        (STORE, "scripted", True),
        (REAL_STORE, "real", True),
        (LOCAL, "scripted", False),
        (REAL_LOCAL, "real", False),
    ]
    return kills + [
        Row(name, fault, engines, on_s3, disturb)
        for part, engines, on_s3 in parts
        for name, (fault, disturb) in part.items()
    ]


def baseline(bench: Bench, engines: Engines) -> dict[str, str]:
    """The content hashes of an undisturbed run, which is made where it is not there yet."""
    note = bench.work / f"baseline-{engines}.json"
    if not note.exists():
        scene = Scene(bench, f"baseline-{engines}", engines)
        ended = scene.run()
        assert ended.status == 0, ended.output[-3000:]
        note.write_text(json.dumps(scene.contents(), indent=1))
    contents: dict[str, str] = json.loads(note.read_text())
    return contents


def measure(bench: Bench, row: Row, expected: Mapping[str, str]) -> Result:
    """Disturb a run, run it again, and compare."""
    started = time.monotonic()
    scene = Scene(bench, row.name, row.engines, row.on_s3)
    outcome = row.disturb(scene)
    ended = (scene.rerun or scene.run)()
    if ended.status:
        outcome += f"; THE RERUN: {ended.line}"
    after, contents = scene.records(), scene.contents()
    repeated = _repeated(scene.struck, after)
    if scene.unrepeated and scene.unrepeated in ended.output:
        repeated.append(f"the rerun went through {scene.unrepeated!r} again")
    return Result(
        name=row.name,
        outcome=outcome,
        finished=ended.status == 0,
        recorded=len(scene.struck),
        repeated=repeated,
        made=sorted(after.keys() - scene.struck.keys()),
        differing=sorted(
            address
            for address in expected.keys() | contents.keys()
            if expected.get(address) != contents.get(address)
        ),
        seconds=round(time.monotonic() - started, 1),
        code_version=code_version(),
    )


def _repeated(before: Records, after: Records) -> list[str]:
    """Recorded stages whose record is not the same to the byte."""
    return sorted(address for address, data in before.items() if after.get(address) != data)


def kept_rows(work: Path, chosen: Sequence[Row]) -> dict[str, Result]:
    """The results of earlier calls; only rows that hold are kept."""
    notes = ((row.name, work / "results" / f"{row.name}.json") for row in chosen)
    return {name: Result(**json.loads(note.read_text())) for name, note in notes if note.exists()}


def run_rows(work: Path, chosen: Sequence[Row]) -> dict[str, Result]:
    """The results of the chosen rows, from earlier calls where they are there."""
    results = work / "results"
    results.mkdir(parents=True, exist_ok=True)
    found = kept_rows(work, chosen)
    with Bench(work) as bench:
        for row in chosen:
            if row.name in found:
                continue
            print(f"{row.name:24} ...", flush=True)
            result = _result(bench, row)
            if result is None:
                continue
            found[row.name] = result
            if result.holds:
                note = results / f"{row.name}.json"
                note.write_text(json.dumps(asdict(result), indent=1))
            print(f"{row.name:24} {_verdict(result)} {result.seconds:5.0f} s  {result.outcome}",
                  flush=True)  # fmt: skip
    return found


def _result(bench: Bench, row: Row) -> Result | None:
    """A row's result; one that could not be carried out is told and has none."""
    if row.name in NEED_ROOT and os.geteuid():
        print(f"{row.name:24} left out: it mounts a small disk, which needs root", flush=True)
        return None
    try:
        with bench.row():
            return measure(bench, row, baseline(bench, row.engines))
    except Exception:
        traceback.print_exc()
        return Result(row.name, "the row itself failed", False, 0, [], [], [], 0.0, code_version())


def _verdict(result: Result) -> str:
    if result.holds:
        return "ok"
    return f"BROKEN (repeated {result.repeated}, differing {result.differing})"


def table(chosen: Sequence[Row], results: Mapping[str, Result]) -> str:
    """The rows as Markdown."""
    head = [("fault", "engines", "store", "what is told", "a rerun", "hashes"), ("---",) * 6]
    done = [row for row in chosen if row.name in results]
    body = [_cells(row, results[row.name]) for row in done]
    versions = ", ".join(sorted({results[row.name].code_version for row in done}))
    missing = [row.name for row in chosen if row.name not in results]
    left = f" Not carried out yet: {', '.join(missing)}." if missing else ""
    return f"{lines_of([*head, *body])}\n\n{len(done)} rows, measured with {versions}.{left}"


def _cells(row: Row, result: Result) -> tuple[str, ...]:
    repeated = f"{len(result.repeated)} of {result.recorded} repeated"
    where = f"finishes; {repeated}" if result.finished else "DOES NOT FINISH"
    same = "equal" if not result.differing else f"{len(result.differing)} DIFFER"
    store = "S3" if row.on_s3 else "folder"
    outcome = result.outcome.replace("|", "\\|")
    return row.fault, row.engines, store, outcome, where, same


def write_table(page: Path, text: str) -> None:
    """Put the table between the page's markers."""
    before, rest = page.read_text("utf-8").split(BEGIN)
    after = rest.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", "utf-8")


def main() -> int:
    """Make the rows, print them as they come, write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these rows only")
    parser.add_argument("--list", action="store_true", help="print the rows' names")
    parser.add_argument("--fresh", action="store_true", help="forget the rows of earlier calls")
    parser.add_argument("--kept", action="store_true", help="run nothing: rows of earlier calls")
    parser.add_argument("--work", type=Path, default=Path(".east/faults"), help="runs and results")
    parser.add_argument("--out", type=Path, help="write the table into this Markdown file")
    options = parser.parse_args()
    everything = rows()
    names = options.only or [row.name for row in everything]
    chosen = [row for row in everything if row.name in names]
    if unknown := set(names) - {row.name for row in everything}:
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    if options.out and not options.out.is_file():
        parser.error(
            f"{options.out}: no such page; the table goes between its lines {BEGIN} and {END}"
        )
    if options.list:
        print("\n".join(f"{row.name:24} {row.fault}" for row in chosen))
        return 0
    if options.fresh:
        shutil.rmtree(options.work, ignore_errors=True)
    results = (kept_rows if options.kept else run_rows)(options.work, chosen)
    if options.out:
        write_table(options.out, table(chosen, results))
    return 0 if all(result.holds for result in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
