"""Progress of long work as log lines and as a progress artifact on the task's page.

Both are throttled, so that hours of sampling stay readable.
"""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

import httpx
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.context import TaskRunContext
from prefect.logging import get_run_logger

from east_core.engines.trl.messages import TrainingStep
from east_core.errors import EastError
from east_core.protocols import SamplingProgress
from east_core.reports.text import duration, labelled_facts
from east_core.runs import live
from east_core.runs.live import Live
from east_core.store import ArtifactRecord
from tasks.context import current_run
from tasks.run_page import bar, show_live

SECONDS_BETWEEN_LINES = 5.0
SECONDS_BETWEEN_PAGES = 10.0
LEAST_SECONDS = 0.05  # what was built in less lists or links the work of others


@dataclass
class _Throttle:
    """Lets one pass every `seconds`."""

    seconds: float
    last: float = 0.0

    def is_due(self) -> bool:
        now = time.monotonic()
        if now - self.last < self.seconds:
            return False
        self.last = now
        return True


@dataclass
class _Losses:
    """The loss of every step that a task has told so far."""

    task_run: UUID | None = None
    points: list[tuple[int, float]] = field(default_factory=list)

    def add(self, task_run: UUID | None, step: TrainingStep) -> list[tuple[int, float]]:
        """All of the task's points; another task begins anew, and so does a step again."""
        if task_run != self.task_run or (self.points and step.step <= self.points[-1][0]):
            self.task_run, self.points = task_run, []
        self.points.append((step.step, step.loss))
        return self.points


_lines, _pages = _Throttle(SECONDS_BETWEEN_LINES), _Throttle(SECONDS_BETWEEN_PAGES)
_losses = _Losses()


def show_sampling(progress: SamplingProgress) -> None:
    """Tell how far sampling has come, with tokens, their rate and the time left."""
    is_done = progress.questions == progress.total
    if _lines.is_due() or is_done:
        _show_progress(progress.share, sampling_line(progress))
    if _pages.is_due() and not is_done:
        _show_on_page(progress.share, sampling_line(progress))


def sampling_line(progress: SamplingProgress) -> str:
    """The questions answered and the tokens generated so far, and how long it may still take."""
    told = (
        f"{progress.questions} of {progress.total} questions, {progress.tokens:,} tokens, "
        f"{progress.tokens_per_second:,.0f} tokens/s"
    )
    if progress.questions == progress.total:
        return told
    if progress.seconds_left is not None:
        return f"{told}, about {duration(progress.seconds_left)} left"
    if progress.most_seconds_left is not None:
        return f"{told}, at most {duration(progress.most_seconds_left)} left"
    return told


def show_sampler_start(seconds: float) -> None:
    """Tell that the sampling engines are still starting."""
    get_run_logger().info("the sampling engines are starting: %s so far", duration(seconds))


def show_trainer_start(seconds: float) -> None:
    """Tell that the training ranks are still starting."""
    get_run_logger().info("the training ranks are starting: %s so far", duration(seconds))


def show_training(step: TrainingStep) -> None:
    """Tell how far training has come, with its loss."""
    context = TaskRunContext.get()
    losses = _losses.add(None if context is None else context.task_run.id, step)
    if _lines.is_due() or step.step == step.steps:
        _show_progress(step.step / step.steps, str(step))
    if _pages.is_due() or step.step == step.steps:
        _show_on_page(step.step / step.steps, str(step), step.steps, losses)


def _show_on_page(
    share: float, told: str, steps: int = 0, losses: Sequence[tuple[int, float]] = ()
) -> None:
    """Renew the run's page and, for the run browser, the run's live file."""
    context = TaskRunContext.get()
    if context is None:
        return
    number, stage = int(context.parameters["number"]), context.task.name
    stage = stage.format(**{name: str(given) for name, given in context.parameters.items()})
    state = Live(number, stage, share, told, live.now(), steps, live.thinned(losses))
    run = current_run()
    show_live(state)
    try:
        live.write_live(run.store, run.name, state)
    except EastError as error:  # the stage itself will meet it, if it lasts
        get_run_logger().warning("what the run is doing could not be written: %s", error)


_artifacts: dict[UUID, UUID] = {}  # by task run


def _show_progress(share: float, text: str) -> None:
    logger = get_run_logger()
    logger.info("%s %s", bar(share), text)
    try:
        _update_artifact(100 * share, text)
    except httpx.HTTPError as error:  # hours of work are not given up for a picture of them
        logger.warning("the progress artifact could not be renewed: %s", error)


def _update_artifact(percent: float, text: str) -> None:
    """Create the task run's progress artifact, or move it on."""
    context = TaskRunContext.get()
    if context is None:
        return
    run = context.task_run.id
    if run in _artifacts:
        update_progress_artifact(_artifacts[run], percent, description=text)
        return
    stage = re.sub(r"[^a-z0-9]+", "-", context.task.name).strip("-")
    key = f"{current_run().name}-{stage}"
    created = create_progress_artifact(percent, key=key, description=text)
    assert isinstance(created, UUID)  # a coroutine only where there is an event loop
    _artifacts[run] = created


def log_engine(line: str) -> None:
    """Pass an engine's own log on, for those who look at debug messages."""
    get_run_logger().debug("%s", line)


def log_record(record: ArtifactRecord) -> ArtifactRecord:
    """Log what a stage recorded, where, and how long it took to build; return the record."""
    took = f" (built in {record.seconds:.1f} s)" if record.seconds >= LEAST_SECONDS else ""
    get_run_logger().info("%s%s: %s", record.address, took, summary(record))
    return record


def summary(record: ArtifactRecord) -> str:
    """A record's numbers, estimates and switches on one line."""
    scalars = {name: fact for name, fact in record.facts.items() if _is_scalar(fact)}
    labels = (f"{label} {value}" for label, value in labelled_facts(scalars))
    return ", ".join(labels) or "recorded"


def _is_scalar(fact: object) -> bool:
    return isinstance(fact, int | float) or (isinstance(fact, dict) and "value" in fact)
