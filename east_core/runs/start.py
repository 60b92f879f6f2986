"""What a run starts with: its claimed address, its frozen questions, its base model."""

import json
from pathlib import Path
from typing import Any

from east_core.config import DatasetConfig
from east_core.inputs import base_models as base_model
from east_core.inputs.questions import WithGold
from east_core.records import Question
from east_core.runs.addresses import QUESTIONS
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

    Places and sizes (store, resources, paths) and the number of rounds may differ on a resume.
    Scratch that nobody has touched for long is removed first ($EAST_SCRATCH_DAYS).
    """
    sweep_scratch(run.store.scratch())
    science = run.config.identity(
        frozenset({"store", "resources", "rounds", "model", "questions", "benchmarks"})
    )

    def build(folder: Path) -> None:
        (folder / "config.json").write_text(run.config.model_dump_json(indent=2), "utf-8")

    return materialize(run.store, Stage(run.address("config"), "config", recipe=science), build)


def freeze_questions(run: Run, name: str, config: DatasetConfig) -> ArtifactRecord:
    """Copy the questions of a data set into the run, so that every round sees the same ones.

    `name` is "questions" for the training questions or "benchmarks/NAME".
    Raises DataError where a question or its answer is missing.
    """

    def build(folder: Path) -> dict[str, Any]:
        rows = WithGold(config)
        count = write_table(folder / QUESTIONS, Question, rows)
        return {"questions": count, "without_gold_answer": rows.without}

    stage = Stage(
        run.address(name), "questions", recipe=config.model_dump(mode="json", exclude={"path"})
    )
    return materialize(run.store, stage, build)


def register_base_model(run: Run) -> ArtifactRecord:
    """Record which files the base model consists of; another model under its name is refused."""
    config = run.config.model
    folder = base_model.locate_model(config, run.store.cache)
    base_model.check_model_folder(folder, config.name)
    files = base_model.fingerprint_files(folder)

    def build(folder: Path) -> None:
        (folder / "files.json").write_text(json.dumps(files, indent=2))
        # where the model was found is told, but a model is what its files are
        (folder / LOGS).mkdir()
        (folder / LOGS / "source.json").write_text(config.model_dump_json(indent=2))

    stage = Stage(run.address("base-model"), "base-model", recipe={"files": files})
    return materialize(run.store, stage, build)
