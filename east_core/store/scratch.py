"""Where a stage builds before it publishes: a local folder that survives a crash.

One folder for each store, address and fingerprint, so a rerun finds what the killed one left:

    out/         the artifact being built; cleared before a build starts
    attempt      a name that no other build has; a remote store keeps this one's files under it
    work/        the stage's own notes (training checkpoints); kept until the artifact is published
    built.json   written when a build is complete: then only the upload is left to do

A lock that the kernel drops with its process keeps a second process out. What a killed process
left behind after its artifact was published goes at the next look at that address; what nobody has
touched for long goes when a run starts.
"""

import contextlib
import hashlib
import json
import logging
import re
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from east_core.errors import ArtifactConflict
from east_core.store.environment import number
from east_core.store.faults import disk_fault
from east_core.store.files import file_hash
from east_core.store.locks import exclusive_lock, holder
from east_core.store.manifest import FOLDER_DIGITS, ArtifactFile, Json, check_name

log = logging.getLogger(__name__)
BUILT_NAME, ATTEMPT_NAME = "built.json", "attempt"
DEFAULT_DAYS = 14.0
STAGED = ".staged"
_OURS = re.compile(rf".+-[0-9a-f]{{16}}-[0-9a-f]{{8}}|[0-9a-f]{{32}}{re.escape(STAGED)}")


@dataclass(frozen=True)
class FinishedBuild:
    """What a finished build left in `out`."""

    files: tuple[ArtifactFile, ...]
    facts: Mapping[str, Json]
    seconds: float


@dataclass(frozen=True)
class Scratch:
    """The scratch folder of one artifact."""

    root: Path

    @property
    def out(self) -> Path:
        """Where the artifact's files are built."""
        return self.root / "out"

    @property
    def attempt(self) -> str:
        """The name of the build that `out` is of."""
        return (self.root / ATTEMPT_NAME).read_text()

    def fresh_out(self) -> Path:
        """An empty `out`; what a killed build left in it is half an artifact."""
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir(parents=True)
        (self.root / ATTEMPT_NAME).write_text(uuid.uuid4().hex[:FOLDER_DIGITS])
        return self.out

    def finish(self, facts: Mapping[str, Json], seconds: float) -> FinishedBuild:
        """Note that `out` is complete."""
        built = FinishedBuild(files_in(self.out), facts, seconds)
        note = self.root / f"{BUILT_NAME}.new"
        note.write_text(json.dumps(asdict(built)))
        note.replace(self.root / BUILT_NAME)  # not synced: `finished` believes the hashes alone
        return built

    def finished(self) -> FinishedBuild | None:
        """The build that a killed process finished but did not publish, if it is whole."""
        try:
            fields = json.loads((self.root / BUILT_NAME).read_bytes())
            files = tuple(ArtifactFile(**file) for file in fields.pop("files"))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None
        return (
            FinishedBuild(files, **fields)
            if self.out.is_dir() and files_in(self.out) == files
            else None
        )


def work_folder(folder: Path) -> Path:
    """A folder for a build's own checkpoints, beside the `folder` that it was given to fill.

    What is in it survives a crash, and is there again when the same artifact is built anew; it is
    deleted when the artifact is published, and is no part of it.
    """
    work = folder.parent / "work"
    work.mkdir(exist_ok=True)
    return work


@contextlib.contextmanager
def claim_scratch(base: Path, store: str, address: str, fingerprint: str) -> Iterator[Scratch]:
    """The scratch of an artifact, held by this process alone, and deleted on a clean exit.

    Raises ArtifactConflict where another process is building the same, StoreError where nothing
    can be written or locked there.
    """
    root = _root(base, store, address, fingerprint)
    path = _lock_path(root)
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = _lock(path, address)
        root.mkdir(exist_ok=True)
    except OSError as error:
        raise disk_fault("build in", root.parent, error, "EAST_SCRATCH") from error
    try:
        yield Scratch(root)
        _delete(root, path)
    finally:
        lock.release()


def drop_published(base: Path, store: str, address: str, fingerprint: str) -> bool:
    """Delete the scratch of an artifact that is published, unless somebody holds it.

    A kill between the record's put and the removal of scratch leaves it behind, or its lock alone.
    Whether there was any.
    """
    root = _root(base, store, address, fingerprint)
    if not root.exists() and not _lock_path(root).exists():
        return False
    if (freed := _remove_unowned(root)) is None:
        return False
    log.info("removed %.1f MiB of scratch: %s is published", freed / 2**20, address)
    return True


def sweep_scratch(base: Path, days: float | None = None, now: float | None = None) -> list[Path]:
    """Delete what nobody holds and nobody has touched for `days` days, and return what went.

    `days` is $EAST_SCRATCH_DAYS, 14 where that is not set. A run that was stopped for longer
    starts its unfinished stage anew; what it had published is not touched. Copies that a kill left
    on the way from one disk to another (LocalBackend) are among them.
    """
    limit = number("EAST_SCRATCH_DAYS", DEFAULT_DAYS) if days is None else days
    oldest = (time.time() if now is None else now) - limit * 86_400
    gone = []
    found = {path for path in base.glob("*") if path.is_dir()}
    locked = {lock.with_name(lock.name.removesuffix(".lock")) for lock in base.glob("*.lock")}
    for root in sorted(found | locked):
        if not _OURS.fullmatch(root.name) or _last_change(root) > oldest:
            continue
        if (freed := _remove_unowned(root)) is not None:
            gone.append(root)
            log.warning(
                "removed %.1f MiB of scratch that nobody has touched for %g days: %s",
                freed / 2**20, limit, root,
            )  # fmt: skip
    return gone


def _root(base: Path, store: str, address: str, fingerprint: str) -> Path:
    place = hashlib.sha256(store.encode()).hexdigest()[:8]
    return base / f"{address.replace('/', '--')}-{fingerprint[:16]}-{place}"


def _lock_path(root: Path) -> Path:
    return root.with_name(f"{root.name}.lock")


def _remove_unowned(root: Path) -> int | None:
    """Delete a scratch folder and its lock; None where a process holds it. Gives the bytes."""
    path = _lock_path(root)
    try:
        lock = _lock(path, root.name)
    except (ArtifactConflict, OSError):
        return None  # somebody works on it, or it is another user's
    try:
        freed = sum(file.lstat().st_size for file in root.rglob("*"))
        if root.exists():  # a kill may have left the lock alone
            shutil.rmtree(root)
        path.unlink()
    finally:
        lock.release()
    return freed


def _delete(root: Path, lock: Path) -> None:
    try:
        shutil.rmtree(root)
        lock.unlink()
    except OSError as error:
        raise disk_fault("tidy up", root, error, "EAST_SCRATCH") from error


def _last_change(root: Path) -> float:
    """When something below a folder was last written, in seconds since 1970."""
    times = []
    for path in (root, _lock_path(root), *root.rglob("*")):
        with contextlib.suppress(FileNotFoundError):
            times.append(path.lstat().st_mtime)
    return max(times, default=0.0)


def files_in(folder: Path) -> tuple[ArtifactFile, ...]:
    """Every file below `folder` with size and hash, sorted by path."""
    return tuple(
        ArtifactFile(check_name(name), path.stat().st_size, file_hash(path))
        for name, path in sorted(
            (path.relative_to(folder).as_posix(), path)
            for path in folder.rglob("*")
            # a crash while publishing may have left our own record, whole or in part
            if path.is_file()
            and not (path.parent == folder and path.name.startswith(("_record", "._record")))
        )
    )


def _lock(path: Path, address: str) -> FileLock:
    """The lock of a scratch folder, held. Raises ArtifactConflict where another process has it."""
    lock = exclusive_lock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise ArtifactConflict(
            f"{address} is being built by another process on this machine (pid {holder(path)}); "
            "wait for it, or end it and run again"
        ) from None
    return lock
