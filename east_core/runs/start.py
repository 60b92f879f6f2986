"""What a run starts with: its claimed address, its frozen questions, its base model."""

import dataclasses
import functools
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from east_core.answers.gold import GoldTrials
from east_core.answers.grading import Grader
from east_core.config import DatasetConfig, QuestionSource
from east_core.inputs import base_models as base_model
from east_core.inputs.decontamination import BenchmarkQuestions, Overlap, told
from east_core.inputs.mixtures import TrainingQuestions
from east_core.inputs.questions import WithGold
from east_core.records import Question
from east_core.runs import addresses
from east_core.runs.averaging import require_averageable
from east_core.runs.extent import recorded_rounds
from east_core.runs.run import Run
from east_core.store import (
    ArtifactRecord,
    Stage,
    materialize,
)
from east_core.store.manifest import LOGS
from east_core.store.scratch import sweep_scratch
from east_core.tables import read_table, write_table

PLACES_AND_SIZES = ("store", "resources", "rounds", "stopping", "model", "questions", "benchmarks")


def claim(run: Run) -> ArtifactRecord:
    """Record the run's settings at its address; a run with other settings is refused there.

    Places and sizes (store, resources, paths) and when to stop may differ on a resume, and the
    number of rounds may grow: that is noted beside the settings, which stay as they were claimed.
    Scratch that nobody has touched for long is removed first ($EAST_SCRATCH_DAYS).
    """
    for place in {run.store.scratch(), run.store.place.scratch}:
        sweep_scratch(place)
    science = run.config.identity(frozenset(PLACES_AND_SIZES))

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

    Those that stand in one of the run's benchmarks, where these were frozen before, are noted. They
    are left out where the settings say so; the record then names them, and depends on the
    benchmarks. Raises DataError where a question or its answer is missing, a gold answer is
    rejected by a grading of the user's own, or none is left, and ConfigError where the grading
    can't be used: before a round is sampled, not after it.
    """
    config = run.config.questions
    config.grading.prepare()
    found = run.record if config.decontaminate else run.store.record
    frozen = {name: found(run.at.benchmark(name)) for name in run.config.benchmarks}
    benchmarks = {name: record for name, record in frozen.items() if record}
    stage = Stage(run.at.questions, addresses.QUESTIONS, recipe=config.reading())
    if config.decontaminate:
        recipe = {**stage.recipe, "decontaminate": True}
        inputs = {f"benchmark {name}": record for name, record in benchmarks.items()}
        stage = dataclasses.replace(stage, recipe=recipe, inputs=inputs)
    return materialize(run.store, stage, functools.partial(_copy_screened, run, benchmarks))


def _copy_screened(
    run: Run, benchmarks: Mapping[str, ArtifactRecord], folder: Path
) -> dict[str, Any]:
    tables = {
        name: read_table(run.store.fetch(record) / addresses.QUESTIONS_FILE, Question)
        for name, record in benchmarks.items()
    }
    rows = TrainingQuestions(run.config.questions, BenchmarkQuestions(tables))
    facts = _write(folder, _usable(run, run.config.questions, rows), rows.without)
    if rows.sizes:
        facts["sets"] = {name: {"questions": n, "of": of} for name, (n, of) in rows.sizes.items()}
    if rows.found:
        # a log: what is known of questions that are kept makes no other questions of them
        found = [dataclasses.asdict(each) for each in rows.found]
        (folder / LOGS).mkdir()
        (folder / addresses.OVERLAPS_LOG).write_text(json.dumps(found, indent=2), "utf-8")
    if not run.config.questions.decontaminate:
        return facts
    left_out = {each.question: [each.benchmark, each.copy_of] for each in rows.found}
    return {**facts, "in_benchmark": left_out}


def overlaps_told(run: Run) -> str | None:
    """What is told of the training questions that stand in a benchmark; None where none does."""
    record = run.record(run.at.questions)
    if not any(file.path == addresses.OVERLAPS_LOG for file in record.files):
        return None
    log = run.store.fetch(record, [addresses.OVERLAPS_LOG]) / addresses.OVERLAPS_LOG
    found = [Overlap(**each) for each in json.loads(log.read_text("utf-8"))]
    return told(found, run.config.questions.decontaminate)


def freeze_benchmarks(run: Run) -> list[ArtifactRecord]:
    """Copy the test questions of every benchmark of our own into the run, likewise."""
    return [
        _freeze_benchmark(run, run.at.benchmark(name), benchmark)
        for name, benchmark in run.config.benchmarks.items()
        if isinstance(benchmark, DatasetConfig)
    ]


def _freeze_benchmark(run: Run, address: str, config: DatasetConfig) -> ArtifactRecord:
    config.grading.prepare()
    stage = Stage(address, addresses.QUESTIONS, recipe=config.reading())
    return materialize(run.store, stage, functools.partial(_copy, run, config))


def _copy(run: Run, config: DatasetConfig, folder: Path) -> dict[str, Any]:
    rows = WithGold(config)
    return _write(folder, _usable(run, config, rows), rows.without)


def _usable(run: Run, config: QuestionSource, rows: Iterable[Question]) -> Iterator[Question]:
    """Pass questions on whose gold answer is of use to their grading."""
    source = ", ".join(each.path for each in config.named.values())
    with Grader(processes=run.config.resources.grader_processes) as grader:
        yield from GoldTrials(source, config.grading, grader).usable(rows, lambda row: row)


def _write(folder: Path, questions: Iterable[Question], without: list[str]) -> dict[str, Any]:
    """Write the questions; the facts are how many, those without an answer, and the longest."""
    longest = 0

    def counted() -> Iterator[Question]:
        nonlocal longest
        for question in questions:
            longest = max(longest, len(question.prompt.encode()))
            yield question

    count = write_table(folder / addresses.QUESTIONS_FILE, Question, counted())
    return {"questions": count, "without_gold_answer": without, "longest_bytes": longest}


def register_base_model(run: Run) -> ArtifactRecord:
    """Record which files the base model consists of; another model under its name is refused."""
    config = run.config.model
    folder = base_model.locate_model(config, run.store.cache)
    base_model.check_model_folder(folder, config)
    if run.config.averaging is not None:
        require_averageable(folder)  # now, and not when a round is trained
    files = base_model.fingerprint_files(folder)

    def build(folder: Path) -> None:
        (folder / base_model.MODEL_FILES).write_text(json.dumps(files, indent=2))
        # where the model was found is facts, but a model is what its files are
        (folder / LOGS).mkdir()
        (folder / base_model.MODEL_SOURCE).write_text(config.model_dump_json(indent=2))

    stage = Stage(run.at.checkpoint(0), addresses.BASE_MODEL, recipe={"files": files})
    return materialize(run.store, stage, build)
