"""Child processes for the engines: output forwarded, failures told, the whole tree ended.

Prefect's process never owns a device: sampling and training each run as a child of their own,
so that memory is freed for certain and a crash has one owner. A child talks to us in lines on
its standard output: a line that starts with `MESSAGE_PREFIX` carries one message
(east_core.engines.messages), every other line is its log.
"""

import collections
import contextlib
import contextvars
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Self, TypeVar

from east_core.engine_python import engine_python, engine_variables
from east_core.engines.messages import Message, encode
from east_core.engines.supervise import die_with_parent
from east_core.errors import EngineError

MESSAGE_PREFIX = "@east "
Kind = TypeVar("Kind")
LAST_LINES = 12
_COPIES = "EAST_FORKED_COPIES"  # "commands:output ..." of each copy that a child is to make
WAIT_SECONDS = 10.0  # between two signs of life of what takes long to start
# Loaders of engines look things up on the hub and phone home unless told not to. And a `python -m`
# would import what lies in the current folder in place of Python's own and installed modules.
CHILD_ENVIRONMENT = {
    "PYTHONSAFEPATH": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONUNBUFFERED": "1",
}


def emit(message: Message) -> None:
    """Send one message from a child to its parent."""
    sys.stdout.write(f"{MESSAGE_PREFIX}{encode(message)}\n")
    sys.stdout.flush()


def message_in(line: str, read: Callable[[str], Kind]) -> Kind | None:
    """The message that a line carries; None for a line of log. Raises as `read` does."""
    return read(line[len(MESSAGE_PREFIX) :]) if line.startswith(MESSAGE_PREFIX) else None


class Conversation:
    """Messages to a process, and the lines that it says."""

    def __init__(self, commands: IO[str], output: IO[str]) -> None:
        self._commands, self._output = commands, output
        self.last_lines: collections.deque[str] = collections.deque(maxlen=LAST_LINES)

    def send(self, message: Message) -> None:
        """Write one message to the process's standard input.

        Raises EngineError where the process is gone.
        """
        try:
            self._commands.write(encode(message) + "\n")
            self._commands.flush()
        except (BrokenPipeError, ValueError) as error:
            told = f"the process is gone ({self.ending()}); {self.last_output()}"
            raise EngineError(told) from error

    def lines(self) -> Iterator[str]:
        """The process's output, line by line, until it ends."""
        for line in self._output:
            text = line.rstrip("\n")
            if not text.startswith(MESSAGE_PREFIX) and text.strip():
                self.last_lines.append(text)
            yield text

    def last_output(self) -> str:
        """The last log lines as one readable phrase."""
        return "last output: " + (" | ".join(self.last_lines) or "(none)")

    def ending(self) -> str:
        """How the process ended, in words, once it has."""
        return "ended"


class ChildProcess(Conversation):
    """A supervised child process; a context manager that ends the child's whole tree.

    The tree also ends when this process dies in any way (see east_core.engines.supervise).
    `forks` are so many copies that the child makes of itself with `fork_copies`; to each of them
    there is a conversation in `copies`. `python` runs the supervisor.
    """

    def __init__(
        self,
        argv: Sequence[str],
        env: Mapping[str, str] | None = None,
        forks: int = 0,
        python: str = sys.executable,
    ) -> None:
        watch, self._alive = os.pipe()
        pairs = [(os.pipe(), os.pipe()) for _ in range(forks)]
        theirs = [(commands[0], output[1]) for commands, output in pairs]
        inherited = [watch, *(descriptor for pair in theirs for descriptor in pair)]
        supervised = [",".join(map(str, inherited)), "--", *argv]
        self._process = subprocess.Popen(
            [python, "-m", "east_core.engines.supervise", *supervised],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=inherited,
            start_new_session=True,
            env={**os.environ, **CHILD_ENVIRONMENT, _COPIES: _as_text(theirs), **(env or {})},
            text=True,
            errors="replace",
        )
        for descriptor in inherited:
            os.close(descriptor)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        super().__init__(self._process.stdin, self._process.stdout)
        self.copies = [
            Conversation(os.fdopen(commands[1], "w"), os.fdopen(output[0], errors="replace"))
            for commands, output in pairs
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def pid(self) -> int:
        """The supervisor's process id."""
        return self._process.pid

    def ending(self) -> str:
        """How the child ended; waits for it."""
        return f"ended with status {self.wait()}"

    def wait(self) -> int:
        """Wait for the child's end and return its exit status (128 + signal if killed)."""
        return self._process.wait()

    def end(self) -> None:
        """End the child's process tree and wait until it is gone; safe to call twice."""
        if self._alive >= 0:
            os.close(self._alive)
            self._alive = -1
        self._process.wait()
        for each in (self, *self.copies):
            with contextlib.suppress(OSError):  # a broken pipe has nothing left to flush
                each._commands.close()


def engine_process(
    program: Sequence[str], env: Mapping[str, str] | None = None, forks: int = 0
) -> ChildProcess:
    """A child that runs `program`, arguments of Python, in the engines' environment.

    See east_core.engine_python for which that is.
    """
    python = engine_python()
    return ChildProcess([python, *program], {**engine_variables(), **(env or {})}, forks, python)


def fork_copies() -> None:
    """In a child: make the copies of this process that its parent talks to, each on its own pipes.

    Returns in all of them. A copy ends with the process that it was forked from. Nothing may have
    touched a device or started a thread before.
    """
    pairs = [tuple(map(int, pair.split(":"))) for pair in os.environ.pop(_COPIES, "").split()]
    for number, (commands, output) in enumerate(pairs):
        if os.fork() == 0:
            die_with_parent()
            os.dup2(commands, sys.stdin.fileno())
            os.dup2(output, sys.stdout.fileno())
            os.dup2(output, sys.stderr.fileno())
            for pair in pairs[number:]:
                for descriptor in pair:
                    os.close(descriptor)
            return
        os.close(commands)
        os.close(output)


def read_commands() -> "queue.SimpleQueue[str | None]":
    """In a child: the lines that its parent sends, as a thread reads them; None behind the last.

    The thread reads a copy of standard input. multiprocessing closes sys.stdin in a process that it
    forks, which would wait for ever for the lock of a thread that reads from it; vLLM forks its
    engine so on GPUs.
    """
    inbox: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    own = os.fdopen(os.dup(sys.stdin.fileno()), encoding=sys.stdin.encoding)
    threading.Thread(target=_put_lines, args=(own, inbox), daemon=True).start()
    return inbox


def _put_lines(commands: IO[str], inbox: "queue.SimpleQueue[str | None]") -> None:
    for line in commands:
        inbox.put(line)
    inbox.put(None)


def _as_text(pairs: Sequence[tuple[int, int]]) -> str:
    return " ".join(f"{commands}:{output}" for commands, output in pairs)


@contextlib.contextmanager
def repeating(
    tell: Callable[[float], None], every: float = WAIT_SECONDS
) -> Iterator[threading.Event]:
    """Call `tell` with the seconds since the beginning, again and again, in the caller's context.

    It ends on leaving, and earlier where the event is set.
    """
    is_over, began = threading.Event(), time.monotonic()

    def repeat() -> None:
        while not is_over.wait(every):
            tell(time.monotonic() - began)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(repeat,), daemon=True)
    thread.start()
    try:
        yield is_over
    finally:
        is_over.set()
        thread.join()


@dataclass
class TimeLimit:
    """How long a child may take, and whether it was ended because it took longer."""

    seconds: float | None
    has_expired: threading.Event = field(default_factory=threading.Event)

    def check(self, what: str, child: ChildProcess) -> None:
        """Raises EngineError where the time was up."""
        if self.has_expired.is_set():
            raise EngineError(f"{what} was ended after {self.seconds:.0f} s; {child.last_output()}")


@contextlib.contextmanager
def time_limit(child: ChildProcess, seconds: float | None) -> Iterator[TimeLimit]:
    """End the child where the block takes longer than so many seconds; None: without limit."""
    limit = TimeLimit(seconds)
    timer = threading.Timer(seconds or 0, _end_on_timeout, (child, limit.has_expired))
    if seconds is not None:
        timer.start()
    try:
        yield limit
    finally:
        timer.cancel()


def run_child(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    on_line: Callable[[str], None] = print,
    timeout: float | None = None,
) -> None:
    """Run a command to its end under supervision, passing each line of its output to `on_line`.

    Raises EngineError where it exits with another status than 0 or runs longer than `timeout`
    seconds; its process tree is gone when this returns or raises.
    """
    with ChildProcess(argv, env) as child:
        with time_limit(child, timeout) as limit:
            for line in child.lines():
                on_line(line)
            status = child.wait()
        limit.check(argv[0], child)
    if status:
        raise EngineError(f"{argv[0]} ended with status {status}; {child.last_output()}")


def _end_on_timeout(child: ChildProcess, has_expired: threading.Event) -> None:
    has_expired.set()
    child.end()
