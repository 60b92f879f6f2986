"""A process in a sandbox of bubblewrap: no network, no files but Python's own, bounded in all.

Namespaces of its own for users, processes, network, IPC and host name; a read-only root with
Python's library and the shared libraries; a /tmp of its own, of bounded size; an empty environment;
a filter of system calls (seccomp.py); and limits on CPU time, memory and files, which the process
sets itself before it reads a program. Where any of it can't be had, nothing is run.
"""

import functools
import json
import os
import platform
import select
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from east_core.answers.code.seccomp import machines, seccomp_filter
from east_core.errors import ConfigError

_HERE = Path(__file__).parent
_INSIDE = ("inside.py", "plain_values.py", "program_side.py", "test_side.py")
_NOBODY = "65534"
_TMP_BYTES = 16 << 20
_FILE_MEGABYTES = 4
_LONGEST_MESSAGE = 4 << 20
_KILLED = (128 + 9, -9)  # the program, as bubblewrap tells it, and bubblewrap itself

Side = Literal["program_side", "test_side"]


class Lost(Exception):
    """The process reached a limit, died, or sent what it should not; the message says which."""


@dataclass(frozen=True)
class Limits:
    """CPU seconds and megabytes of address space of a process; the clock's limit follows."""

    seconds: int
    megabytes: int

    @property
    def wall_seconds(self) -> float:
        """What a process may take by the clock: a busy machine must not decide."""
        return 4.0 * self.seconds + 5.0


class Sandbox:
    """A Python process of one side; `close` leaves nothing of it behind."""

    def __init__(self, side: Side, limits: Limits) -> None:
        self._limits = limits
        self._deadline = time.monotonic() + limits.wall_seconds
        self._unread = b""
        numbers = (limits.seconds, limits.megabytes, _FILE_MEGABYTES)
        with tempfile.TemporaryFile() as rules:
            rules.write(seccomp_filter(platform.machine()))
            rules.seek(0)
            inner = [_python(), "-sS", f"/sandbox/{side}.py", *map(str, numbers)]
            self._process = subprocess.Popen(
                [*_bubblewrap(), "--seccomp", str(rules.fileno()), *inner],
                pass_fds=[rules.fileno()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env={},
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to, self._from = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._to, False)

    def ask(self, message: Any) -> Any:
        """Send a message and wait for the next one. Raises Lost where none comes."""
        self.send(message)
        return self.receive()

    def send(self, message: Any) -> None:
        """Send a message. Raises Lost where the process does not take it."""
        left = json.dumps(message).encode() + b"\n"
        while left:
            if not select.select([], [self._to], [], self._left())[1]:
                raise Lost("out of time")
            try:
                left = left[os.write(self._to, left) :]
            except OSError:
                raise Lost(self._end()) from None

    def receive(self) -> Any:
        """The next message. Raises Lost where the process ends, is late, or sends no message."""
        while b"\n" not in self._unread:
            if not select.select([self._from], [], [], self._left())[0]:
                raise Lost("out of time")
            part = os.read(self._from, 1 << 16)
            if not part:
                raise Lost(self._end())
            self._unread += part
            if len(self._unread) > _LONGEST_MESSAGE:
                raise Lost("too much output")
        line, _, self._unread = self._unread.partition(b"\n")
        try:
            return json.loads(line)
        except (ValueError, RecursionError):
            raise Lost("no message") from None

    def _left(self) -> float:
        return max(0.0, self._deadline - time.monotonic())

    def _end(self) -> str:
        """How the process ended; bubblewrap gives 128 and the signal's number."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(2.0)
        return "out of time" if self._process.poll() in (*_KILLED, 128 + 24) else "died"

    @property
    def was_killed(self) -> bool:
        """Whether it ended by SIGKILL: somebody's, or the one for who outlives SIGXCPU."""
        return self._process.poll() in _KILLED

    def close(self) -> None:
        """Kill the process: its namespace goes with it."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(OSError):
                pipe.close()


@functools.cache
def require_sandbox() -> None:
    """Raise ConfigError, in one line, where programs can't be run in a sandbox here."""
    if platform.system() != "Linux" or platform.machine() not in machines():
        raise ConfigError(
            f"grading 'code' needs Linux on {' or '.join(sorted(machines()))} for its sandbox"
        )
    if shutil.which("bwrap") is None:
        raise ConfigError(
            "grading 'code' runs programs in bubblewrap, which is not installed; install the "
            "package bubblewrap, or choose another grading"
        )
    try:
        with closing(Sandbox("program_side", Limits(10, 512))) as sandbox:
            reply = sandbox.ask({"program": "x = 1", "prints": False})
    except Lost:
        reply = None
    if reply != {"gives": None}:
        raise ConfigError(f"grading 'code' can't have its sandbox here: {_complaint()}")


def _complaint() -> str:
    """What bubblewrap itself says."""
    done = subprocess.run(
        [*_bubblewrap(), _python(), "-sSc", "pass"],
        capture_output=True, text=True, check=False, env={},
    )  # fmt: skip
    last = done.stderr.strip().splitlines()[-1:]
    return "".join(last) or "a program in it did not start"


def _python() -> str:
    return os.path.realpath(sys.executable)


@functools.cache
def _bubblewrap() -> tuple[str, ...]:
    """bubblewrap and its arguments, up to the filter and what it runs."""
    library = Path(os.path.realpath(sys.base_prefix))
    folders = [Path("/usr/lib"), Path("/usr/lib64"), Path("/usr/local/lib"), library / "lib"]
    arguments = [shutil.which("bwrap") or "bwrap"]
    arguments += [f"--unshare-{space}" for space in ("user", "ipc", "pid", "net", "uts")]
    arguments += ["--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    arguments += ["--uid", _NOBODY, "--gid", _NOBODY, "--hostname", "sandbox", "--clearenv"]
    arguments += ["--setenv", "PYTHONHASHSEED", "0"]  # the same program computes the same
    for folder in dict.fromkeys(folders):
        arguments += ["--ro-bind-try", str(folder), str(folder)]
    for name in ("lib", "lib64"):
        target = Path("/", name)
        where = (
            ["--symlink", f"usr/{name}"] if target.is_symlink() else ["--ro-bind-try", str(target)]
        )
        arguments += [*where, str(target)]
    arguments += ["--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]
    arguments += ["--ro-bind", _python(), _python(), "--dev-bind", "/dev/null", "/dev/null"]
    arguments += ["--dev-bind", "/dev/urandom", "/dev/urandom"]
    for name in _INSIDE:
        arguments += ["--ro-bind", str(_HERE / name), f"/sandbox/{name}"]
    arguments += ["--size", str(_TMP_BYTES), "--tmpfs", "/tmp", "--chdir", "/tmp"]  # noqa: S108
    return (*arguments, "--remount-ro", "/")
