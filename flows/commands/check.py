"""`east check`: everything about a run that can be verified without computing."""

import os
from collections.abc import Iterator

from east_core.answers.grading import Grader
from east_core.config import DatasetConfig, RunConfig
from east_core.engines.devices import require_means
from east_core.errors import ConfigError
from east_core.inputs import base_models as base_model
from east_core.inputs.questions import WithGold
from east_core.store import Store

LISTED = 5


def check_run(config: RunConfig) -> Iterator[str]:
    """One line for each thing that was verified; the first that fails raises its EastError."""
    require_means(config.resources)
    yield f"settings   ok: run {config.name!r}, {config.rounds} rounds, {_batch(config)}"
    if config.resources.ray is not None:
        from east_core.engines.ray.cluster import cluster_facts

        yield f"cluster    ok: {cluster_facts(config.resources.ray)}"
    store = Store(config.store)
    yield f"store      ok: {store.check_writable()}"
    yield f"model      ok: {_check_model(config, store)}"
    with Grader(processes=config.resources.grader_processes) as grader:
        count, line = _check_questions(config.questions, grader)
        yield f"questions  ok: {line}"
        for name, benchmark in config.benchmarks.items():
            yield f"benchmark  ok: {name}: {_check_questions(benchmark, grader)[1]}"
    _check_sizes(config, count)
    yield f"sizes      ok: {count} questions x {config.sampling.samples_per_question} samples"


def _batch(config: RunConfig) -> str:
    resources = config.resources
    return (
        f"batch {config.training.global_batch_size} = {resources.processes} processes x "
        f"{resources.micro_batch_size} x {config.accumulation_steps} accumulated"
    )


def _check_model(config: RunConfig, store: Store) -> str:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    folder = base_model.locate_model(config.model, store.cache)
    base_model.check_model_folder(folder, config.model.name)
    from east_core.inputs.inspection import inspect_model

    facts = inspect_model(
        folder, config.model.name, config.sampling.system_prompt, config.model.trust_remote_code
    )
    if facts.context is not None and config.sampling.max_tokens >= facts.context:
        raise ConfigError(
            f"sampling.max_tokens {config.sampling.max_tokens} leaves no room for a prompt in "
            f"the model's {facts.context} tokens; lower it"
        )
    return f"{config.model.name}: {facts.architecture}, {facts.vocabulary} tokens, chat template"


def _check_questions(config: DatasetConfig, grader: Grader) -> tuple[int, str]:
    """The number of questions, and a line that lists those with a gold answer of no use."""
    count, refused, rows = 0, [], WithGold(config)
    for question in rows:
        count += 1
        if question.answer is not None and not grader.accepts(question.answer):
            refused.append(question.id)
    line = f"{config.path}: {count} questions"
    line += _listed(rows.without, "left out, their solutions have no final answer")
    line += _listed(rows.several, "box several answers in their solution, only the last one counts")
    return count, line + _listed(refused, "have gold answers that are compared by spelling alone")


def _listed(ids: list[str], what: str) -> str:
    more = ", ..." if len(ids) > LISTED else ""
    return f"; {len(ids)} {what}: {', '.join(ids[:LISTED])}{more}" if ids else ""


def _check_sizes(config: RunConfig, questions: int) -> None:
    if questions < config.training.global_batch_size:
        raise ConfigError(
            f"{questions} questions can never fill one global batch of "
            f"{config.training.global_batch_size}; add questions or lower "
            "training.global_batch_size"
        )
