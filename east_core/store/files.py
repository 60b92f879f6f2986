"""Local files that survive a crash: hashed, synced, moved into place in one step."""

import contextlib
import errno
import fcntl
import glob
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from east_core.home import cache_home


def file_hash(path: Path) -> str:
    """SHA-256 of a file in hex, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


_State = tuple[int, int, int, int]
_hashes: dict[Path, tuple[_State, str]] = {}


def known_hash(path: Path) -> str:
    """SHA-256 of a file in hex; read once a process, and again when the file has changed."""
    state = file_state(path)
    seen = _hashes.get(path)
    if seen is None or seen[0] != state:
        seen = _hashes[path] = (state, file_hash(path))
    return seen[1]


def kept_hash(path: Path, smallest: int = 2**20) -> str:
    """The same, noted in this user's cache, so that it is read once on this machine.

    Files below `smallest` bytes are not worth a note.
    """
    size, *state = file_state(path)
    if size < smallest or path in _hashes:
        return known_hash(path)
    stamp = [size, *state, path.stat().st_ctime_ns]
    note = cache_home() / "hashes" / f"{hashlib.sha256(bytes(path)).hexdigest()}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        noted = json.loads(note.read_bytes())
        if noted["stamp"] == stamp:
            remember_hash(path, str(noted["sha256"]))
            return known_hash(path)
    found = known_hash(path)
    with contextlib.suppress(OSError):  # a home that is read-only (containers): no note, then
        note.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(note, json.dumps({"stamp": stamp, "sha256": found}).encode())
    return found


def remember_hash(path: Path, sha256: str) -> None:
    """Let `known_hash` know a file that was hashed before, or on its way here."""
    _hashes[path] = (file_state(path), sha256)


def file_state(path: Path) -> _State:
    """What changes when a file does: its size, its time of writing, its inode and their device."""
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ino, stat.st_dev


def write_atomically(path: Path, data: bytes) -> None:
    """Write a small file so that a crash leaves the old one or the new one, never a part.

    Parts that killed writers of the same file left are removed.
    """
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        _remove_ownerless(left)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with _owned(partial) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
        partial.replace(path)
    sync_folder(path.parent)


@contextlib.contextmanager
def _owned(path: Path) -> Iterator[BinaryIO]:
    """An empty file, locked as long as it is open; removed where writing it fails."""
    while True:
        with path.open("wb") as file:
            with contextlib.suppress(OSError):  # no locks here: then nobody removes it either
                fcntl.flock(file, fcntl.LOCK_EX)
            if not _is_at(file, path):
                continue  # removed between open and lock
            try:
                yield file
            except BaseException:
                path.unlink(missing_ok=True)
                raise
            return


def _remove_ownerless(path: Path) -> None:
    """Remove a part unless somebody writes it: the kernel drops a lock with its process."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_at(file, path):
            path.unlink()


def _is_at(file: BinaryIO, path: Path) -> bool:
    """Whether an open file is still the one at `path`."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Make every file and name below `folder` durable."""
    for path in folder.rglob("*"):
        sync_folder(path)  # fsync by descriptor: files and folders alike
    sync_folder(folder)


def move_folder(source: Path, target: Path) -> None:
    """Rename a finished folder to a free place in one step; durable on return.

    Raises FileExistsError where `target` holds anything. Both must be on one file system.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        source.rename(target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise FileExistsError(str(target)) from error
        raise
    sync_folder(target.parent)
