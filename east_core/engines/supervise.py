"""A small process that owns an engine's whole process tree and ends it when its parent is gone.

    python -m east_core.engines.supervise WATCH_FD[,FD...] -- COMMAND ...

WATCH_FD is the read end of a pipe whose write end only the parent holds: end-of-file means that
the parent closed it or died, even by SIGKILL. The supervisor is a subreaper, so grandchildren
that started sessions of their own (torchrun's ranks) are still found and ended. COMMAND inherits
the other open files, and has a folder of temporary files (TMPDIR) that is deleted behind it.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
from typing import NoReturn

import psutil

from east_core.engines.temporary import TemporaryFolder

GRACE_SECONDS = 5.0
_PR_SET_PDEATHSIG, _PR_SET_NAME, _PR_SET_CHILD_SUBREAPER = 1, 15, 36
# Opened here: between fork and exec of a process with threads, opening it could wait for ever.
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Ask the kernel to signal this process when the thread that started it ends (Linux only)."""
    _prctl(_PR_SET_PDEATHSIG, number)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends (Linux only)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def name_process(name: str) -> None:
    """Give this process a name of at most 15 characters, as `top` and `ps -o comm` show it."""
    _prctl(_PR_SET_NAME, ctypes.create_string_buffer(name.encode()))


def end_descendants() -> None:
    """Terminate every descendant of this process, and kill what is left after the grace time.

    Returns when they are gone: what is only about to end still holds a device's memory.
    """
    processes = psutil.Process().children(recursive=True)
    for process in processes:
        _signal(process, signal.SIGTERM)
    psutil.wait_procs(processes, timeout=GRACE_SECONDS)
    left = psutil.Process().children(recursive=True)
    for process in left:
        _signal(process, signal.SIGKILL)
    psutil.wait_procs(left, timeout=GRACE_SECONDS)


def main() -> int:
    """Run the command, end its tree, and return its exit status."""
    (watch, *inherited), command = map(int, sys.argv[1].split(",")), sys.argv[3:]
    adopt_orphans()
    temporary = TemporaryFolder()
    child = subprocess.Popen(
        command,
        env={**os.environ, "TMPDIR": str(temporary.path)},
        preexec_fn=die_with_parent,  # noqa: PLW1509 no threads yet
        pass_fds=inherited,
    )
    for descriptor in inherited:  # who reads them is to see the end of the command
        os.close(descriptor)
    signal.signal(signal.SIGTERM, lambda *_: _leave(child, temporary))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches us through the parent's end
    threading.Thread(target=_end_at_eof, args=(watch, child, temporary), daemon=True).start()
    status = child.wait()
    end_descendants()
    temporary.remove()
    return status if status >= 0 else 128 - status


def _end_at_eof(watch: int, child: "subprocess.Popen[bytes]", temporary: TemporaryFolder) -> None:
    os.read(watch, 1)
    _leave(child, temporary)


def _leave(child: "subprocess.Popen[bytes]", temporary: TemporaryFolder) -> NoReturn:
    end_descendants()
    child.poll()
    temporary.remove()
    os._exit(128 + signal.SIGTERM)


def _signal(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _prctl(option: int, value: "int | ctypes.Array[ctypes.c_char]") -> None:
    if _LIBC is not None:
        _LIBC.prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main())
