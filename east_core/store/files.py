"""Local files that survive a crash: hashed, synced, moved into place in one step."""

import errno
import hashlib
import os
from pathlib import Path


def cache_home() -> Path:
    """This user's folder for things that can be had again: $XDG_CACHE_HOME/east."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "east"


def file_hash(path: Path) -> str:
    """SHA-256 of a file in hex, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: Path, data: bytes) -> None:
    """Write a small file so that a crash leaves the old one or the new one, never a part."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    sync_folder(path.parent)


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
