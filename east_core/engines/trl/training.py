"""Training in processes of their own, one for each rank; a failure of one ends them all.

On one machine the ranks are forked by a launcher that has imported the engines beforehand
(east_core.engines.trl.fork_server); on a Ray cluster torchrun starts them on each machine.

This module is light; what is heavy is imported by the launcher and the ranks.
"""

import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from east_core.config import Resources
from east_core.engines.devices import device_of
from east_core.engines.processes import message_in, repeating
from east_core.engines.ray.training import Launch, run_agents
from east_core.engines.trl.job import JOB_FILE, RankJob, rank_job, write_job
from east_core.engines.trl.launcher import RANK_ENVIRONMENT, RankLauncher
from east_core.engines.trl.messages import (
    Failed,
    Finished,
    StepDone,
    TrainingStep,
    read_rank_message,
)
from east_core.engines.trl.torchrun import KilledRanks, RankKilled, torchrun_command
from east_core.errors import EastError, EngineError, MachineLost
from east_core.protocols import TrainingJob, TrainingResult


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
        """Take in one line of the output of launcher and ranks."""
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
class TrlTrainer:
    """TRL with DeepSpeed, here or on a Ray cluster; implements `east_core.protocols.Trainer`.

    `on_step` hears of every optimizer step, `on_log` every other line of the ranks' output, and
    `on_start` the seconds that the ranks have taken, until the first step.
    `launcher` starts the ranks on this machine; it stays up for the next job where it is entered.
    """

    on_step: Callable[[TrainingStep], None] = print
    on_log: Callable[[str], None] = print
    on_start: Callable[[float], None] = lambda _: None
    launcher: RankLauncher = field(default_factory=RankLauncher)

    def __enter__(self) -> Self:
        self.launcher.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.launcher.__exit__()

    def warm_up(self, resources: Resources) -> None:
        """Begin to import the engines; see `Trainer.warm_up`. A cluster's ranks import anew."""
        if resources.ray is None:
            self.launcher.warm_up()

    def train(self, job: TrainingJob, out: Path) -> TrainingResult:
        """Write a complete checkpoint into the folder `out`; see `Trainer.train`.

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
            self._launch(job, path, output.read_line)
        except EngineError as failure:
            lost = failure if isinstance(failure, MachineLost | RankKilled) else None
            raise output.deaths.cause() or lost or output.error or failure from failure

    def _launch(self, job: RankJob, path: Path, on_line: Callable[[str], None]) -> None:
        """Run the ranks to their end. Raises EngineError where one fails, ConfigError."""
        resources = job.resources
        timeout = resources.stage_timeout_hours * 3600
        if resources.ray is None:
            self.launcher.run(path, resources.processes, on_line, timeout)
            return

        def command(rendezvous: Sequence[str]) -> list[str]:
            return torchrun_command(resources.processes_per_node, rendezvous, path)

        models = [source.folder for source in (job.model, job.reference) if source is not None]
        launch = Launch(command, RANK_ENVIRONMENT, path, [job.work, job.out, *models])
        run_agents(launch, resources, on_line, timeout)


def _clear_others(job: RankJob) -> None:
    """Make the job's own folder and delete those of other jobs."""
    job.work.mkdir(parents=True, exist_ok=True)
    job.out.mkdir(parents=True, exist_ok=True)
    for folder in job.scratch.iterdir():
        if folder != job.work and (folder / JOB_FILE).exists():
            shutil.rmtree(folder)
