"""Training in processes of their own: torchrun starts the ranks, and one failure ends them all.

This module is light; what is heavy is imported by the ranks (east_core.engines.trl.rank).
"""

import re
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from east_core.engines.devices import device_of
from east_core.engines.processes import message_in, repeating, run_child
from east_core.engines.ray.training import Launch, run_agents
from east_core.engines.trl.job import JOB_FILE, MEMORY_KNOBS, RankJob, rank_job, write_job
from east_core.engines.trl.messages import (
    Failed,
    Finished,
    StepDone,
    TrainingStep,
    read_rank_message,
)
from east_core.errors import EastError, EngineError, MachineLost
from east_core.protocols import TrainingJob, TrainingResult

# One thread a rank: two OpenMP teams on shared cores spend their time waiting for each other.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "TQDM_DISABLE": "1",
    "PYTHONWARNINGS": "ignore::FutureWarning",  # DeepSpeed's, about torch, at every collective
}


@dataclass
class KilledRanks:
    """Which rank was killed, by what torchrun prints when a job fails.

    Its table lists the ranks that were dead when it looked: the killed one, and others that broken
    connections to it made fail, one of which it may call the root cause, since it looks a few
    times a second. It also lists those that it then ended itself, after saying so.
    """

    _ended: set[str] = field(default_factory=set)
    _rank: str = ""
    _kills: list[tuple[signal.Signals, str]] = field(default_factory=list)

    def read_line(self, line: str) -> None:
        """Take in one line of torchrun's output."""
        if ended := re.search(r"Sending process (\d+) closing signal", line):
            self._ended.add(ended[1])
        elif ranked := re.search(r"rank\s+: (\d+) \(local_rank", line):
            self._rank = ranked[1]
        elif died := re.search(r"exitcode\s+: -(\d+) \(pid: (\d+)\)", line):
            number, pid = died.groups()
            if pid not in self._ended:
                self._kills.append((signal.Signals(int(number)), self._rank))

    def cause(self) -> EngineError | None:
        """The killed rank, where there is one: SIGKILL, which comes from outside, before others."""
        if not self._kills:
            return None
        from_outside = [kill for kill in self._kills if kill[0] is signal.SIGKILL]
        number, rank = (from_outside or self._kills)[-1]
        advice = f"; where the host ran out of memory (dmesg tells), {MEMORY_KNOBS}"
        hint = advice if number is signal.SIGKILL else ""
        return EngineError(f"training rank {rank} was killed by {number.name}{hint}")


@dataclass
class _RankOutput:
    """What the ranks have told so far; `is_training` is set with the first step."""

    on_step: Callable[[TrainingStep], None]
    on_log: Callable[[str], None]
    is_training: threading.Event
    result: TrainingResult | None = None
    error: EastError | None = None
    deaths: KilledRanks = field(default_factory=KilledRanks)

    def read_line(self, line: str) -> None:
        """Take in one line of the ranks' output."""
        message = message_in(line, read_rank_message)
        match message:
            case None:
                self.deaths.read_line(line)
                self.on_log(line)
            case StepDone(step):
                self.is_training.set()
                self.on_step(step)
            case Finished(result):
                self.result = result
            case Failed():
                self.error = self.error or message.error()
            case _:
                self.on_log(str(message))


@dataclass(frozen=True)
class TorchrunTrainer:
    """TRL with DeepSpeed under torchrun, here or on a Ray cluster; implements trainer.Trainer.

    `on_step` hears of every optimizer step, `on_log` every other line of the ranks' output, and
    `on_start` the seconds that the ranks have taken, until the first step.
    """

    on_step: Callable[[TrainingStep], None] = print
    on_log: Callable[[str], None] = print
    on_start: Callable[[float], None] = lambda _: None

    def train(self, job: TrainingJob, out: Path) -> TrainingResult:
        """Write a complete checkpoint into the folder `out`; see trainer.Trainer.train.

        Goes on from the job's newest whole training checkpoint in `job.scratch`, where there is
        one. Folders of other jobs in it are deleted: a scratch folder serves one job at a time.
        """
        whole = rank_job(job, out.absolute(), device_of(job.resources))
        _clear_others(whole)
        path = whole.work / JOB_FILE
        write_job(whole, path)
        with repeating(self.on_start) as is_training:
            output = _RankOutput(self.on_step, self.on_log, is_training)
            self._run(whole, path, output)
        if output.result is None:
            raise EngineError(f"training ended without a result; see {whole.work}")
        return output.result

    def _run(self, job: RankJob, path: Path, output: _RankOutput) -> None:
        try:
            _launch(job, path, output.read_line)
        except EngineError as failure:
            lost = failure if isinstance(failure, MachineLost) else None
            raise output.deaths.cause() or lost or output.error or failure from failure


def _launch(job: RankJob, path: Path, on_line: Callable[[str], None]) -> None:
    """Run the ranks to their end. Raises EngineError where one fails, ConfigError."""
    resources = job.resources
    timeout = resources.stage_timeout_hours * 3600

    def command(rendezvous: Sequence[str]) -> list[str]:
        ranks = f"--nproc-per-node={resources.processes_per_node}"
        launcher = [sys.executable, "-m", "torch.distributed.run", "--max-restarts=0", ranks]
        return [*launcher, *rendezvous, "-m", "east_core.engines.trl.rank", str(path)]

    if resources.ray is None:
        run_child(command(["--standalone"]), env=_ENVIRONMENT, on_line=on_line, timeout=timeout)
        return
    models = [source.folder for source in (job.model, job.reference) if source is not None]
    folders = [job.work, job.out, *models]
    run_agents(Launch(command, _ENVIRONMENT, path, folders), resources, on_line, timeout)


def _clear_others(job: RankJob) -> None:
    """Make the job's own folder and delete those of other jobs."""
    job.work.mkdir(parents=True, exist_ok=True)
    job.out.mkdir(parents=True, exist_ok=True)
    for folder in job.scratch.iterdir():
        if folder != job.work and (folder / JOB_FILE).exists():
            shutil.rmtree(folder)
