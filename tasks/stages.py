"""One Prefect task for each stage of a run.

A task only names the stage for people, retries what a retry can cure, and logs what came out:
what a stage is stands in east_core.runs. Prefect's own result cache stays off, because the
artifact records know better what is done.
"""

import functools
from collections.abc import Callable
from typing import Any

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.logging import get_run_logger
from prefect.tasks import exponential_backoff

from east_core.config import RunConfig
from east_core.errors import EngineError, TrainingDiverged
from east_core.runs import examples, samples, scores, start, training, weights
from east_core.runs import retention as runs
from east_core.runs.run import Run
from east_core.store import ArtifactRecord
from tasks.engines import current
from tasks.progress import log_record

RETRIES = 2


def is_curable(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether a retry may help: an engine that crashed, but no bad input and no NaN loss."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, EngineError) and not isinstance(error, TrainingDiverged)


def stage(name: str) -> Callable[[Callable[..., ArtifactRecord]], Task[..., ArtifactRecord]]:
    """A task whose runs are called "round N: NAME", and which logs the record it returns.

    A retry goes on from what is recorded: finished shards, or the last training checkpoint.
    """

    def decorate(function: Callable[..., ArtifactRecord]) -> Task[..., ArtifactRecord]:
        @functools.wraps(function)
        def logged(*args: Any, **kwargs: Any) -> ArtifactRecord:
            return log_record(function(*args, **kwargs))

        return task(
            name=name,
            task_run_name=f"round {{number}}: {name}",
            cache_policy=NO_CACHE,
            persist_result=False,
            retries=RETRIES,
            retry_delay_seconds=exponential_backoff(backoff_factor=5),
            retry_jitter_factor=0.5,
            retry_condition_fn=is_curable,
        )(logged)

    return decorate


@task(name="prepare", task_run_name="prepare", cache_policy=NO_CACHE, persist_result=False)
def prepare(config: RunConfig) -> None:
    """Claim the run's address, freeze its questions and register its base model."""
    start.freeze_questions(claimed(config), "questions", config.questions)


@task(
    name="prepare evaluation",
    task_run_name="prepare evaluation",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def prepare_evaluation(config: RunConfig) -> None:
    """Claim the evaluation's address, freeze its benchmarks and register its model."""
    claimed(config)


def claimed(config: RunConfig) -> Run:
    """The run, with its address claimed, and its model and benchmarks frozen."""
    run = Run.open(config)
    start.claim(run)
    start.register_base_model(run)
    for name, benchmark in config.benchmarks.items():
        start.freeze_questions(run, f"benchmarks/{name}", benchmark)
    return run


@stage("sample")
def sample(config: RunConfig, number: int) -> ArtifactRecord:
    """Sample completions of the training questions from the last checkpoint."""
    return samples.sample(Run.open(config), number, current().sampler)


@stage("weigh")
def weigh(config: RunConfig, number: int) -> ArtifactRecord:
    """Cluster the completions by final answer and weigh the questions."""
    return weights.weigh(Run.open(config), number, current().judge)


@stage("choose examples")
def choose_examples(config: RunConfig, number: int) -> ArtifactRecord:
    """Choose the completions to train on."""
    return examples.choose_examples(Run.open(config), number)


@stage("train")
def train(config: RunConfig, number: int) -> ArtifactRecord:
    """Train the next checkpoint on the weighted examples."""
    engines = current()
    return training.train(Run.open(config), number, engines.sampler, engines.trainer)


@task(
    name="prune",
    task_run_name="round {number}: prune",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def prune(config: RunConfig, number: int) -> None:  # noqa: ARG001 names the task's run
    """Delete the weights of the checkpoints that the run's retention does not keep."""
    store = Run.open(config).store
    steps = runs.plan_prune(store, config.name, config.resources.retention)
    gone = [step.address for step in steps if step.reason is None]
    freed = runs.prune(store, steps)
    get_run_logger().info(
        "%s: pruned %s, %.1f MiB freed",
        config.resources.retention,
        ", ".join(gone) or "nothing",
        freed / 2**20,
    )


@stage("score {benchmark}")
def score(config: RunConfig, number: int, benchmark: str) -> ArtifactRecord:
    """Score the round's checkpoint on one benchmark."""
    return scores.score(Run.open(config), number, benchmark, current().sampler)
