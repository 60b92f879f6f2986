"""Publishing and reading back a checkpoint, against plain s3fs.put and s3fs.get.

    python -m benchmarks.store                      # 2 GB, Ceph's radosgw on loopback
    python -m benchmarks.store --server moto --gib 0.5 --repeats 3 --json rows.json

Every operation runs in a process of its own, so that its peak memory is its own; the order
alternates. "east publish" hashes, uploads in parts, checks the listing and puts the record;
"east fetch" downloads in ranges, hashes on the way and syncs the file to disk.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.pairs import BenchmarkRow, median_row, write_result
from east_core.testing.radosgw import missing_requirement, radosgw_server
from east_core.testing.s3_servers import BUCKET, S3Server, moto_server

if TYPE_CHECKING:
    from east_core.store import Store

OPERATIONS = ("s3fs put", "east publish", "s3fs get", "east fetch")
PAIRS = (("east publish", "s3fs put"), ("east fetch", "s3fs get"))
GOAL = 0.9
Measured = dict[str, list[dict[str, float]]]
NAME = "model.safetensors"


def main() -> None:
    """Start the server, run every operation so many times, print the medians."""
    arguments = _arguments()
    if arguments.operation:
        print(json.dumps(_measure(arguments.operation, Path(arguments.folder))))
        return
    with tempfile.TemporaryDirectory(prefix="east-bench-") as name:
        folder = Path(name)
        (folder / "ceph").mkdir()
        with _server(arguments.server, folder / "ceph") as server:
            server.create_bucket()
            measured = _all(arguments, folder, server)
    page = _page(measured, arguments)
    print(page)
    if arguments.json:
        write_result(arguments.json, _rows(measured, arguments.server), page)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--server", choices=("radosgw", "moto"), default="radosgw")
    parser.add_argument("--gib", type=float, default=2.0, help="size of the checkpoint")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the rows here")
    parser.add_argument("--operation", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    return parser.parse_args()


def _server(name: str, folder: Path) -> AbstractContextManager[S3Server]:
    if name == "moto":
        return moto_server()
    if reason := missing_requirement():
        sys.exit(f"radosgw can't run: {reason}; try --server moto")
    return radosgw_server(folder)


def _all(arguments: argparse.Namespace, folder: Path, server: S3Server) -> Measured:
    _write_checkpoint(folder / NAME, int(arguments.gib * 2**30))
    measured: Measured = {operation: [] for operation in OPERATIONS}
    for repeat in range(arguments.repeats):
        for operation in OPERATIONS if repeat % 2 == 0 else _swapped():
            measured[operation].append(_in_a_process(operation, folder, server))
            print(f"# {operation}: {measured[operation][-1]}", flush=True)
        _delete(folder, server)
    return measured


def _swapped() -> tuple[str, ...]:
    """Ours first, so that neither side always meets the colder server."""
    return ("east publish", "s3fs put", "east fetch", "s3fs get")


def _write_checkpoint(path: Path, size: int) -> None:
    block = os.urandom(16 * 2**20)
    with path.open("wb") as file:
        for start in range(0, size, len(block)):
            file.write(block[: size - start])


def _in_a_process(operation: str, folder: Path, server: S3Server) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.store"]
    command += ["--operation", operation, "--folder", str(folder)]
    environment = {
        **os.environ,
        **server.environment(),
        "EAST_SCRATCH": str(folder / "scratch"),
        "EAST_CACHE": str(folder / "cache"),
    }
    done = subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE)
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def _measure(operation: str, folder: Path) -> dict[str, float]:
    prepared = _OPERATIONS[operation](folder)
    started = time.perf_counter()
    prepared()
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    size = (folder / NAME).stat().st_size / 2**20
    return {
        "seconds": round(seconds, 2),
        "mib_per_s": round(size / seconds, 1),
        "peak_mib": round(peak),
    }


def _s3fs_put(folder: Path) -> Callable[[], object]:
    import s3fs

    fs = s3fs.S3FileSystem()
    return lambda: fs.put_file(str(folder / NAME), f"{BUCKET}/plain/{NAME}")


def _s3fs_get(folder: Path) -> Callable[[], object]:
    import s3fs

    fs = s3fs.S3FileSystem()
    return lambda: fs.get_file(f"{BUCKET}/plain/{NAME}", str(folder / "got"))


def _opened() -> "Store":
    """The store with its file system made, as the plain side's is before the clock runs."""
    from east_core.store import Store
    from east_core.store.remote import RemoteBackend

    store = Store(f"s3://{BUCKET}/east")
    assert isinstance(store.place, RemoteBackend)
    assert store.place.transport.fs is not None
    return store


def _east_publish(folder: Path) -> Callable[[], object]:
    from east_core.store import Stage, materialize

    store = _opened()
    stage = Stage("bench/checkpoint", "bench")
    return lambda: materialize(store, stage, lambda out: os.link(folder / NAME, out / NAME))


def _east_fetch(_: Path) -> Callable[[], object]:
    store = _opened()
    return lambda: store.fetch(store.require("bench/checkpoint"))


_OPERATIONS: dict[str, Callable[[Path], Callable[[], object]]] = {
    "s3fs put": _s3fs_put,
    "s3fs get": _s3fs_get,
    "east publish": _east_publish,
    "east fetch": _east_fetch,
}


def _delete(folder: Path, server: S3Server) -> None:
    """Make room: the next repeat starts from an empty bucket and an empty cache."""
    server.empty_bucket()
    shutil.rmtree(folder / "cache", ignore_errors=True)
    (folder / "got").unlink(missing_ok=True)


def _rows(measured: Measured, server: str) -> list[BenchmarkRow]:
    """Our rate over the plain one, repeat by repeat."""
    return [
        median_row(
            f"store: {ours} / {plain}, MiB/s ({server})",
            [
                one["mib_per_s"] / other["mib_per_s"]
                for one, other in zip(measured[ours], measured[plain], strict=True)
            ],
            GOAL,
        )
        for ours, plain in PAIRS
    ]


def _page(measured: Measured, arguments: argparse.Namespace) -> str:
    lines = [
        f"### Store: {arguments.gib:g} GiB, {arguments.server}, median of {arguments.repeats}",
        "",
        "| | MiB/s | peak memory, MiB |",
        "|---|---|---|",
    ]
    for operation in OPERATIONS:
        rates = statistics.median(run["mib_per_s"] for run in measured[operation])
        peak = max(run["peak_mib"] for run in measured[operation])
        lines.append(f"| {operation} | {rates:.0f} | {peak:.0f} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
