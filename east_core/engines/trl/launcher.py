"""Starts the ranks of one job after the other on this machine, and tells how they ended."""

import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from east_core.engines.processes import ChildProcess, engine_process, message_in, time_limit
from east_core.engines.trl.messages import Ended, Fork, RankEnd, read_rank_message
from east_core.engines.trl.torchrun import RankKilled
from east_core.errors import EngineError

RANK_ENVIRONMENT = {
    # One thread a rank: two OpenMP teams on shared cores spend their time waiting for each other.
    "OMP_NUM_THREADS": "1",
    "TQDM_DISABLE": "1",
    "PYTHONWARNINGS": "ignore::FutureWarning",  # DeepSpeed's, about torch, at every collective
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",  # a process that asked CUDA itself can't fork any more
}
_PROGRAM = ("-m", "east_core.engines.trl.fork_server")


class RankLauncher:
    """Owns the process that has imported the engines and forks the ranks.

    As a context manager it keeps that process from job to job; otherwise it ends with each.
    """

    def __init__(self) -> None:
        self._process: ChildProcess | None = None
        self._stays = False

    def __enter__(self) -> Self:
        self._stays = True
        return self

    def __exit__(self, *_: object) -> None:
        self._stays = False
        self.close()

    def warm_up(self) -> ChildProcess:
        """Begin to import, where that is still to be done, and return at once."""
        if self._process is None:
            self._process = engine_process(_PROGRAM, RANK_ENVIRONMENT)
        return self._process

    def close(self) -> None:
        """End the process, and ranks with it."""
        if self._process is not None:
            self._process.end()
        self._process = None

    def run(self, job: Path, ranks: int, on_line: Callable[[str], None], seconds: float) -> None:
        """Run so many ranks of a job to their end; each line of their output goes to `on_line`.

        Raises RankKilled where a signal ended one, EngineError where one failed otherwise, or
        where they took longer than so many seconds.
        """
        process, failed = self.warm_up(), None
        try:
            process.send(Fork(str(job), ranks))
            with time_limit(process, seconds) as limit:
                failed = _follow(process, on_line)
            limit.check("training", process)
        finally:
            if failed is None or not self._stays:
                self.close()
        if failed is None:
            raise EngineError(f"no rank could be started; {process.last_output()}")
        if failed:
            raise _cause(failed, process)


def _follow(process: ChildProcess, on_line: Callable[[str], None]) -> list[RankEnd] | None:
    """Pass the output on until all ranks have ended: those that failed; None: it ended itself."""
    for line in process.lines():
        message = message_in(line, read_rank_message)
        if isinstance(message, Ended):
            return message.failed
        on_line(line)
    return None


def _cause(failed: Sequence[RankEnd], process: ChildProcess) -> EngineError:
    """Why the job failed: a rank that was killed from outside before one that failed after it."""
    cause = min(failed, key=_rank_of_cause)
    if cause.killed_by is not None:
        return RankKilled(cause.rank, cause.killed_by)
    ended = f"training rank {cause.rank} ended with status {cause.status}"
    return EngineError(f"{ended}; {process.last_output()}")


def _rank_of_cause(end: RankEnd) -> int:
    if end.killed_by is signal.SIGKILL:
        return 0
    return 1 if end.killed_by is not None else 2
