"""A folder of temporary files for a process tree, which goes with it however the tree ends.

Engines leave files in the folder of temporary files when they are ended (vLLM one for each
start, by which its processes find one another), and a killed one cannot tidy up.
"""

import contextlib
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
        self._lock = FileLock(self.path / HELD, fallback_to_soft=False)
        try:
            self._lock.acquire(blocking=False)
        except OSError:
            (self.path / HELD).unlink(missing_ok=True)

    def remove(self) -> None:
        """Delete the folder and what is in it; safe to call twice, and from two threads."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.release()


def _sweep(base: Path) -> None:
    for held in base.glob(f"{PREFIX}*/{HELD}"):
        lock = FileLock(held, fallback_to_soft=False)
        # its owner lives, or it is another user's
        with contextlib.suppress(Timeout, OSError), lock.acquire(blocking=False):
            shutil.rmtree(held.parent, ignore_errors=True)
