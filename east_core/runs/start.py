"""What a run starts with: its claimed address, its frozen questions, its base model."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from east_core.config import DatasetConfig
from east_core.inputs import base_models as base_model
from east_core.inputs.questions import WithGold
from east_core.records import Question
from east_core.runs import addresses
from east_core.runs.extent import recorded_rounds
from east_core.runs.run import Run
from east_core.store import (
    ArtifactRecord,
    Stage,
    materialize,
)
from east_core.store.manifest import LOGS
from east_core.store.scratch import sweep_scratch
from east_core.tables import write_table


def claim(run: Run) -> ArtifactRecord:
    """Record the run's settings at its address; a run with other settings is refused there.

    Places and sizes (store, resources, paths) may differ on a resume, and the number of rounds may
    grow: that is noted beside the settings, which stay as they were claimed. Scratch that nobody
    has touched for long is removed first ($EAST_SCRATCH_DAYS).
    """
    sweep_scratch(run.store.scratch())
    science = run.config.identity(
        frozenset({"store", "resources", "rounds", "model", "questions", "benchmarks"})
    )

    def build(folder: Path) -> None:
        (folder / addresses.CONFIG_FILE).write_text(run.config.model_dump_json(indent=2), "utf-8")

    stage = Stage(run.at.config, addresses.CONFIG, recipe=science)
    claimed = materialize(run.store, stage, build)
    if run.config.rounds > recorded_rounds(run.store, run.name):
        _extend(run)
    return claimed


def _extend(run: Run) -> None:
    """Note that the run now has more rounds than it was claimed with."""
    rounds = {"rounds": run.config.rounds}
    stage = Stage(run.at.extension(run.config.rounds), addresses.ROUNDS, recipe=rounds)
    materialize(run.store, stage, lambda _: rounds)


def freeze_questions(run: Run) -> ArtifactRecord:
    """Copy the training questions into the run, so that every round sees the same ones.

    Raises DataError where a question or its answer is missing.
    """
    return _freeze(run, run.at.questions, run.config.questions)


def freeze_benchmarks(run: Run) -> list[ArtifactRecord]:
    """Copy the test questions of every benchmark into the run, likewise."""
    return [
        _freeze(run, run.at.benchmark(name), benchmark)
        for name, benchmark in run.config.benchmarks.items()
    ]


def _freeze(run: Run, address: str, config: DatasetConfig) -> ArtifactRecord:
    """Copy a data set's questions to an address.

    Raises DataError where a question or its answer is missing, ConfigError where the grading can't
    be used: before a round is sampled, not after it.
    """

    config.grading.prepare()

    def build(folder: Path) -> dict[str, Any]:
        rows = WithGold(config)
        longest = 0

        def counted() -> Iterator[Question]:
            nonlocal longest
            for question in rows:
                longest = max(longest, len(question.prompt.encode()))
                yield question

        count = write_table(folder / addresses.QUESTIONS_FILE, Question, counted())
        facts = {"questions": count, "without_gold_answer": rows.without}
        return {**facts, "longest_bytes": longest}

    recipe = config.model_dump(mode="json", exclude={"path", *config.later})
    stage = Stage(address, addresses.QUESTIONS, recipe=recipe)
    return materialize(run.store, stage, build)


def register_base_model(run: Run) -> ArtifactRecord:
    """Record which files the base model consists of; another model under its name is refused."""
    config = run.config.model
    folder = base_model.locate_model(config, run.store.cache)
    base_model.check_model_folder(folder, config)
    files = base_model.fingerprint_files(folder)

    def build(folder: Path) -> None:
        (folder / addresses.MODEL_FILES).write_text(json.dumps(files, indent=2))
        # where the model was found is facts, but a model is what its files are
        (folder / LOGS).mkdir()
        (folder / addresses.MODEL_SOURCE).write_text(config.model_dump_json(indent=2))

    stage = Stage(run.at.checkpoint(0), addresses.BASE_MODEL, recipe={"files": files})
    return materialize(run.store, stage, build)
