"""Downloaded artifacts on local disk: bounded, shared by the processes of a machine.

A folder for each content hash, so the same checkpoint under two addresses is kept once; and one for
each thing that was made of artifacts here and can be made again (`DownloadCache.made`). Files
appear by rename when they are whole and their hash is right. An entry is locked while it is filled,
and pinned by a shared lock (flock: filelock has exclusive ones alone) while a process may read
it; the kernel drops both when the process dies, however it dies. The least recently fetched entries
go first.
"""

import contextlib
import fcntl
import json
import logging
import os
import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

from filelock import Timeout

from east_core.errors import ArtifactDamaged
from east_core.store.environment import number
from east_core.store.files import file_hash, known_hash, remember_hash, write_atomically
from east_core.store.locks import exclusive_lock
from east_core.store.manifest import ArtifactFile, ArtifactRecord

log = logging.getLogger(__name__)
DEFAULT_LIMIT_GIB = 100.0
ARTIFACTS = "artifacts"  # the folder below $EAST_CACHE that all stores share
Download = Callable[[ArtifactFile, Path], str]


class DownloadCache:
    """A bounded folder of verified downloads.

    `limit` bytes (EAST_CACHE_GIB, default 100 GiB) are kept, plus whatever is in use. What this
    object fetched stays pinned until it is closed, or has fetched `limit` bytes of newer things.
    """

    def __init__(self, root: Path, limit: int | None = None) -> None:
        self.root = root
        gib = number("EAST_CACHE_GIB", DEFAULT_LIMIT_GIB)
        self.limit = int(gib * 2**30) if limit is None else limit
        self._pins: OrderedDict[str, int] = OrderedDict()
        self._mutex = threading.RLock()

    def folder(
        self, record: ArtifactRecord, files: Sequence[ArtifactFile], download: Download
    ) -> Path:
        """The local folder with `files` of an artifact, verified; downloads what is lacking.

        Raises ArtifactDamaged where a download's hash is not the recorded one, StoreError where
        it can't be had.
        """
        entry = self.root / record.stored_content
        with self._mutex:
            self._pin(record.stored_content)
            lacking = [file for file in files if not self._is_valid(entry / file.path, file)]
            if lacking:
                with exclusive_lock(self.root / f"{record.stored_content}.fill"):
                    for file in lacking:
                        self._fill(entry, file, record, download)
            os.utime(self._lock_path(record.stored_content))
            self._evict()
        return entry

    def made(self, name: str, make: Callable[[Path], object]) -> Path:
        """The folder that `make` fills, kept under a name that tells its content.

        It is made once, and again where it was evicted or is not as it was made.
        """
        entry = self.root / name
        with self._mutex:
            self._pin(name)
            if not self.has_made(name):
                with exclusive_lock(self.root / f"{name}.fill"):
                    if not self.has_made(name):  # by another process, while we waited
                        self._make(entry, make)
            os.utime(self._lock_path(name))
            self._evict()
        return entry

    def has_made(self, name: str) -> bool:
        """Whether that folder is here, whole; hashed once a process, and again when it changed."""
        entry = self.root / name
        try:
            noted = json.loads(_notes(entry).read_text("utf-8"))
            return all(known_hash(entry / file) == sha256 for file, sha256 in noted.items())
        except (OSError, ValueError, AttributeError):
            return False

    def close(self) -> None:
        """Unpin everything that this object fetched."""
        with self._mutex:
            while self._pins:
                os.close(self._pins.popitem(last=False)[1])

    def _fill(
        self, entry: Path, file: ArtifactFile, record: ArtifactRecord, download: Download
    ) -> None:
        target = entry / file.path
        if self._is_valid(target, file):  # another process was faster
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.partial")
        found = download(file, partial)
        if found != file.sha256:  # once more, before a fault of the wire is called a damaged file
            found = download(file, partial)
        if found != file.sha256:
            partial.unlink()
            raise ArtifactDamaged(
                f"{record.path_of(file.path)} is damaged: its SHA-256 is {found[:12]}…, the record "
                f"says {file.sha256[:12]}…; delete the address {record.address} and run again"
            )
        partial.replace(target)
        remember_hash(target, found)

    def _make(self, entry: Path, make: Callable[[Path], object]) -> None:
        partial = entry.with_name(f".{entry.name}.partial")
        for left in (entry, partial):  # damaged, or left by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        partial.mkdir(parents=True)
        make(partial)
        files = [path.relative_to(partial) for path in partial.rglob("*") if path.is_file()]
        hashes = {str(file): file_hash(partial / file) for file in files}
        partial.rename(entry)
        for file, sha256 in hashes.items():
            remember_hash(entry / file, sha256)
        write_atomically(_notes(entry), json.dumps(hashes).encode())

    def _is_valid(self, path: Path, file: ArtifactFile) -> bool:
        """Whether a cached file is whole; hashed once a process, and again when it changed."""
        try:
            size = path.stat().st_size
        except OSError:
            return False
        if size != file.size:
            return False
        if known_hash(path) != file.sha256:
            log.warning("%s in the cache is damaged; downloading it again", path.name)
            return False
        return True

    def _lock_path(self, content: str) -> Path:
        return self.root / f"{content}.lock"

    def _pin(self, content: str) -> None:
        """Hold a shared lock on an entry, so that nobody evicts it while we read."""
        if content in self._pins:
            self._pins.move_to_end(content)
            return
        self.root.mkdir(parents=True, exist_ok=True)
        while True:
            descriptor = os.open(self._lock_path(content), os.O_RDWR | os.O_CREAT, 0o666)
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            if _is_current(descriptor, self._lock_path(content)):
                break
            os.close(descriptor)  # evicted between open and lock
        self._pins[content] = descriptor

    def _evict(self) -> None:
        """Delete the least recently fetched entries beyond the limit, except those in use."""
        sizes = {lock.stem: _folder_size(lock.with_suffix("")) for lock in self._locks_by_age()}
        self._drop_old_pins(sizes)
        excess = sum(sizes.values()) - self.limit
        for content, size in sizes.items():
            if excess <= 0:
                return
            if content not in self._pins and self._remove(content):
                log.info("evicted %.1f MiB from the download cache", size / 2**20)
                excess -= size

    def _drop_old_pins(self, sizes: dict[str, int]) -> None:
        pinned = sum(sizes.get(content, 0) for content in self._pins)
        while pinned > self.limit and len(self._pins) > 1:
            content, descriptor = self._pins.popitem(last=False)
            os.close(descriptor)
            pinned -= sizes.get(content, 0)

    def _locks_by_age(self) -> list[Path]:
        dated = []
        for lock in self.root.glob("*.lock"):
            with contextlib.suppress(FileNotFoundError):  # evicted by another process
                dated.append((lock.stat().st_mtime_ns, lock))
        return [lock for _, lock in sorted(dated)]

    def _remove(self, content: str) -> bool:
        """Delete an entry unless somebody uses it."""
        lock = self._lock_path(content)
        try:
            with exclusive_lock(lock).acquire(blocking=False):
                shutil.rmtree(self.root / content, ignore_errors=True)
                (self.root / f"{content}.fill").unlink(missing_ok=True)
                _notes(self.root / content).unlink(missing_ok=True)
                lock.unlink(missing_ok=True)
        except Timeout:
            return False
        return True


def _notes(entry: Path) -> Path:
    """The hashes of the files in a folder that was made here."""
    return entry.with_name(f"{entry.name}.hashes")


def _is_current(descriptor: int, path: Path) -> bool:
    """Whether an open lock file is still the one at `path`."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _folder_size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size if path.is_file() else 0
    return total
