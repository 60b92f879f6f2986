"""Worker processes that can be killed: what they run may hang, crash or take all memory."""

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import IO, Any

from east_core.errors import EngineError

_START_SECONDS = 300.0
_END_SECONDS = 2.0
_TRIES = 3
_NEEDED = {
    "grading_worker.py": "that math-verify is installed",
    "function_worker.py": "that the grading functions' module can be imported",
}


class TookTooLong(EOFError):
    """A worker was ended because its reply did not come."""


class Worker:
    """A process that answers JSON with JSON, in a process group of its own.

    `program` is started with the number of a connection and `arguments`, and sends one message
    when it is ready. Nothing of it outlives a kill. Raises EngineError where it does not start.
    """

    def __init__(self, program: Path, arguments: Sequence[str], wall_seconds: float) -> None:
        self._wall = wall_seconds
        self._program = program
        self._connection, theirs = Pipe()
        descriptor = theirs.fileno()
        with tempfile.TemporaryFile() as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(program), str(descriptor), *arguments],
                pass_fds=[descriptor],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
                env={"PYTHONHASHSEED": "0", **os.environ, "OMP_NUM_THREADS": "1"},
            )
            theirs.close()
            self._await_ready(self._connection, errors)

    def _await_ready(self, connection: Connection, errors: IO[bytes]) -> None:
        try:
            if not connection.poll(_START_SECONDS):
                raise EOFError
            connection.recv_bytes()
        except (EOFError, OSError):
            self.kill()
            errors.seek(0)
            last = errors.read().decode(errors="replace").strip().splitlines()[-1:]
            raise EngineError(
                f"a grading worker did not start ({''.join(last) or 'no message'}); "
                f"check {_NEEDED.get(self._program.name, 'what it imports')}"
            ) from None

    def ask(self, job: Any) -> Any:
        """The reply to a job. Raises EOFError where the process is lost, TookTooLong where late."""
        lost = EOFError
        try:
            self._connection.send_bytes(json.dumps(job).encode())
            if self._connection.poll(self._wall):
                return json.loads(self._connection.recv_bytes())
            lost = TookTooLong
        except (EOFError, OSError):
            pass
        self.kill()
        raise lost

    def end(self) -> None:
        """Let the process and its idle child end; kill them where they don't."""
        self._connection.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)
        self.kill()

    def kill(self) -> None:
        """End the process and its child at once."""
        self._connection.close()
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


class WorkerPool:
    """Workers of one program: at most `size`, each started when it is needed and none is idle."""

    def __init__(self, size: int, start: Callable[[], Worker]) -> None:
        self._size, self._start = size, start
        self._places: queue.LifoQueue[Worker | None] = queue.LifoQueue()
        for _ in range(size):
            self._places.put(None)  # a place for a worker that is started when it is needed

    def ask(self, job: Any) -> Any:
        """A worker's reply. Raises EOFError where the job was lost. Safe to call from threads.

        Another worker is asked where one died: by hand, or by the system's memory killer. Then the
        job is not to blame, and an answer must not depend on it. One that kills each is lost.
        """
        worker = self._places.get()
        tries = 0
        try:
            while True:
                tries += 1
                worker = worker or self._start()
                try:
                    return worker.ask(job)
                except EOFError as lost:
                    worker = None
                    if tries == _TRIES or isinstance(lost, TookTooLong):
                        raise
        finally:
            self._places.put(worker)

    def close(self) -> None:
        """End the workers; the pool can't be used afterwards."""
        for _ in range(self._size):
            worker = self._places.get()
            if worker is not None:
                worker.end()
