"""A folder of temporary files for a process tree, which goes with it however the tree ends.

Engines leave files in the folder of temporary files when they are ended (vLLM one for each
start, by which its processes find one another), and a killed one cannot tidy up.
"""

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from filelock import FileLock, Timeout

PREFIX = "east-"
HELD = ".held"


class TemporaryFolder:
    """A new folder below the system's folder of temporary files, held by a lock of the kernel.

    What killed owners left there is removed first. Where the file system has no locks the folder
    is not held, and nobody removes it but its owner.
    """

    def __init__(self) -> None:
        base = Path(tempfile.gettempdir())
        _sweep(base)
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
        unnamed = self.path / f"{HELD}.new"
        self._lock = FileLock(unnamed, fallback_to_soft=False)
        with contextlib.suppress(OSError):
            self._lock.acquire(blocking=False)
            unnamed.rename(self.path / HELD)  # who sweeps sees none that is not locked yet

    def remove(self) -> None:
        """Delete the folder and what is in it; safe to call twice, and from two threads."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.release()


def _sweep(base: Path) -> None:
    for held in base.glob(f"{PREFIX}*/{HELD}"):
        with contextlib.suppress(OSError):  # its owner has just removed it
            if held.lstat().st_uid == os.getuid() == held.parent.lstat().st_uid:
                _remove_unheld(held)


def _remove_unheld(held: Path) -> None:
    # Timeout: its owner lives
    with contextlib.suppress(Timeout), FileLock(held, fallback_to_soft=False).acquire(timeout=0):
        shutil.rmtree(held.parent, ignore_errors=True)
