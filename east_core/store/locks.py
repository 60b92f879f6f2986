"""Locks that the kernel drops with the process that holds them, however that ends."""

import os
from pathlib import Path

from filelock import FileLock


def exclusive_lock(path: Path) -> FileLock:
    """A lock for one holder at a time; the lock file holds the holder's process id.

    Acquiring raises filelock.Timeout where it may not wait and somebody holds the lock, and
    OSError where the file system has no locks: a lock by the existence of a file, to which
    filelock would fall back, outlives a killed process.
    """
    return FileLock(path, fallback_to_soft=False, on_acquired=_write_pid)


def holder(path: Path) -> str:
    """The process id of who holds a lock, or "unknown"."""
    try:
        return path.read_text() or "unknown"
    except OSError:
        return "unknown"


def _write_pid(descriptor: int) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
