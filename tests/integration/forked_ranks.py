"""Many small trainings in a row, without the imports of each: ranks are forked from one process.

    with ForkedTrainer() as trainer:
        result = trainer.train(job, out)

A rank is east_core.engines.trl.rank.main, as under torchrun; only what starts it differs. Importing
torch, transformers, TRL and DeepSpeed takes longer than a few steps of a tiny model.
"""

import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Self

from east_core.engines.messages import Message, reader
from east_core.engines.processes import ChildProcess, emit, message_in
from east_core.engines.trl.job import JOB_FILE, RankJob, rank_job, read_job, write_job
from east_core.engines.trl.messages import Failed, Finished, FromRank
from east_core.errors import EngineError
from east_core.protocols import TrainingJob, TrainingResult

SECONDS = 1200.0  # for one training, on a machine that may be busy
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "TQDM_DISABLE": "1",
    "HF_HUB_OFFLINE": "1",
    # logits over a whole vocabulary, given back and taken again for each chunk: half of the time
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**40),
}


class Start(Message, frozen=True):
    """Train the job of a file."""

    job: str


class Ended(Message, frozen=True):
    """All ranks of a job have ended."""

    well: bool


_read_order = reader(Start)
_read_report = reader(FromRank | Ended)


class ForkedTrainer:
    """A `Trainer` for tests on CPUs; see `east_core.protocols.Trainer`."""

    def __enter__(self) -> Self:
        self._child = ChildProcess([sys.executable, "-m", __name__], env=_ENVIRONMENT)
        self._lines = self._child.lines()
        return self

    def __exit__(self, *_: object) -> None:
        self._child.end()

    def train(self, job: TrainingJob, out: Path) -> TrainingResult:
        """Write a checkpoint into `out`. Raises as TorchrunTrainer does."""
        whole = self.ranks(job, out)
        whole.work.mkdir(parents=True, exist_ok=True)
        out.mkdir(parents=True, exist_ok=True)
        write_job(whole, whole.work / JOB_FILE)
        self._child.send(Start(str(whole.work / JOB_FILE)))
        result: TrainingResult | None = None
        failed: Failed | None = None
        for line in self._lines:
            message = message_in(line, _read_report)
            if isinstance(message, Finished):
                result = message.result
            elif isinstance(message, Failed):
                failed = failed or message
            elif isinstance(message, Ended):
                break
        if failed is not None:
            raise failed.error()
        if result is None:
            raise EngineError(f"training ended without a result; {self._child.last_output()}")
        return result

    def ranks(self, job: TrainingJob, out: Path) -> RankJob:
        """The job as the ranks get it; its `data_file` is what they are trained on."""
        return rank_job(job, out, "cpu")


def _serve() -> None:
    import deepspeed  # noqa: F401  imported for all ranks

    from east_core.engines.trl import rank  # noqa: F401

    for line in sys.stdin:
        emit(Ended(_run(Path(_read_order(line).job))))


def _run(path: Path) -> bool:
    """Fork the ranks of a job and wait for them; one that fails ends the others."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    count = read_job(path).resources.processes
    ranks = {_fork(path, rank, count, port) for rank in range(count)}
    deadline, well = time.monotonic() + SECONDS, True
    while ranks:
        ended, status = os.waitpid(-1, os.WNOHANG)
        ranks.discard(ended)
        well = well and not status
        if not ended:
            time.sleep(0.02)
        if not well or time.monotonic() > deadline:
            well = False
            for each in ranks:
                os.kill(each, signal.SIGKILL)
    return well


def _fork(path: Path, rank: int, ranks: int, port: int) -> int:
    if pid := os.fork():
        return pid
    from east_core.engines.trl.rank import main

    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(ranks),
        LOCAL_WORLD_SIZE=str(ranks),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
    )
    sys.argv = ["rank", str(path)]
    main()
    os._exit(1)  # main never returns


if __name__ == "__main__":
    _serve()
