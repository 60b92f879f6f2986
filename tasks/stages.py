"""One Prefect task for each stage of a run.

A task only names the stage for people, retries what a retry can cure, and logs what came out:
what a stage is stands in east_core.runs. Prefect's own result cache stays off, because the
artifact records know better what is done.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.logging import get_run_logger
from prefect.tasks import exponential_backoff

from east_core.errors import EngineError, TrainingDiverged
from east_core.runs import (
    examples,
    harness_tasks,
    prompts,
    replay,
    retention,
    room,
    samples,
    scores,
    start,
    stopping,
    training,
    weights,
)
from east_core.runs.run import Run
from east_core.store import ArtifactRecord
from tasks.context import current_run
from tasks.engines import current_engines, current_harness
from tasks.progress import log_record

RETRIES = 2
P = ParamSpec("P")
R = TypeVar("R")


def plain_task(name: str, run_name: str = "") -> Callable[[Callable[P, R]], Task[P, R]]:
    """A task without Prefect's caches; its runs are called `run_name`, or as the task."""
    return task(
        name=name, task_run_name=run_name or name, cache_policy=NO_CACHE, persist_result=False
    )


def stage_task(name: str) -> Callable[[Callable[..., ArtifactRecord]], Task[..., ArtifactRecord]]:
    """A task whose runs are called "round N: NAME", and which logs the record it returns.

    A retry goes on from what is recorded: finished shards, or the last training checkpoint.
    """

    def decorate(function: Callable[..., ArtifactRecord]) -> Task[..., ArtifactRecord]:
        @functools.wraps(function)
        def logged(*args: Any, **kwargs: Any) -> ArtifactRecord:
            return log_record(function(*args, **kwargs))

        return plain_task(name, f"round {{number}}: {name}")(logged).with_options(
            retries=RETRIES,
            retry_delay_seconds=exponential_backoff(backoff_factor=5),
            retry_jitter_factor=0.5,
            retry_condition_fn=is_curable,
        )

    return decorate


def is_curable(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether a retry may help: an engine that crashed, but no bad input and no NaN loss."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, EngineError) and not isinstance(error, TrainingDiverged)


@plain_task("prepare")
def prepare() -> None:
    """Claim the run's address, register its base model and freeze its questions."""
    start.claim(current_run())
    start.register_base_model(current_run())
    _pin_date()
    _freeze_benchmarks()
    start.freeze_questions(current_run())
    replay.freeze_replay(current_run())
    _tell_overlaps()
    _tell_prompts_without_room()


def _freeze_benchmarks() -> None:
    start.freeze_benchmarks(current_run())
    for record in harness_tasks.freeze_tasks(current_run(), current_harness()):
        log_record(record)


def _tell_overlaps() -> None:
    if told := start.overlaps_told(current_run()):
        get_run_logger().warning("%s", told)


def _tell_prompts_without_room() -> None:
    if told := room.prompts_without_room(current_run()):
        get_run_logger().warning("%s", told)


def _pin_date() -> None:
    if dated := prompts.pin_date(current_run()):
        get_run_logger().info("prompts are rendered with the date %s", dated.facts["date"])


@plain_task("prepare evaluation")
def prepare_evaluation() -> None:
    """Claim the evaluation's address, register its model and freeze its benchmarks."""
    start.claim(current_run())
    start.register_base_model(current_run())
    _pin_date()
    _freeze_benchmarks()
    _tell_prompts_without_room()


@stage_task("sample")
def sample(number: int) -> ArtifactRecord:
    """Sample completions of the training questions from the last checkpoint.

    The trainer gets ready meanwhile, where the round is still to be trained.
    """
    run = current_run()
    if run.store.record(run.at.checkpoint(number)) is None:
        current_engines().trainer.warm_up(run.config.resources)
    return samples.sample(current_run(), number, current_engines().sampler)


@stage_task("weigh")
def weigh(number: int) -> ArtifactRecord:
    """Cluster the completions by final answer and weigh the questions."""
    return weights.weigh(current_run(), number, current_engines().weigher)


@stage_task("choose examples")
def choose_examples(number: int) -> ArtifactRecord:
    """Choose the completions to train on."""
    return examples.choose_examples(current_run(), number)


@stage_task("train")
def train(number: int) -> ArtifactRecord:
    """Train the next checkpoint on the weighted examples."""
    engines = current_engines()
    return training.train(current_run(), number, engines.sampler, engines.trainer)


@stage_task("score {benchmark}")
def score(number: int, benchmark: str) -> ArtifactRecord:
    """Score the round's checkpoint on one benchmark."""
    run, engines = current_run(), current_engines()
    if benchmark in harness_tasks.harness_tasks(run):
        harness, sampler = engines.harness, engines.sampler
        return harness_tasks.score_task(run, number, benchmark, harness, sampler)
    return scores.score(run, number, benchmark, engines.sampler)


@plain_task("watch scores", "round {number}: watch scores")
def watch_scores(number: int) -> bool:
    """Whether the run ends after round `number`: it got worse, or no better for long."""
    run = current_run()
    alarms = stopping.after_scores(run, number)
    return _ends(number, alarms) or _gives_up(run, number)


@plain_task("watch samples", "round {number}: watch samples")
def watch_samples(number: int) -> bool:
    """Whether the run ends before round `number` is trained: its samples got worse."""
    return _ends(number - 1, stopping.after_weighing(current_run(), number))


def _ends(number: int, alarms: Sequence[stopping.Alarm]) -> bool:
    for alarm in alarms:
        get_run_logger().warning("%s", alarm)
    run = current_run()
    if not alarms or run.config.stopping is None or number == run.config.rounds:
        return False
    stopping.record_stop(run, number, "; ".join(map(str, alarms)))
    return True


def _gives_up(run: Run, number: int) -> bool:
    reason = stopping.no_better(run, number)
    if reason is None or number == run.config.rounds:
        return False
    stopping.record_stop(run, number, reason)
    return True


@plain_task("prune", "round {number}: prune")
def prune(number: int) -> None:  # noqa: ARG001 names the task's run
    """Delete the weights of the checkpoints that the run's retention does not keep."""
    run = current_run()
    policy = run.config.resources.retention
    steps = retention.plan_prune(run.store, run.name, policy)
    gone = ", ".join(step.address for step in steps if step.reason is None)
    freed = retention.prune(run.store, steps)
    get_run_logger().info("%s: pruned %s, %.1f MiB freed", policy, gone or "nothing", freed / 2**20)
