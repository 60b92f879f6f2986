"""Retraining: a line of runs, each from the champion and on the questions that are new.

{line}-0003/arrivals      the questions of run 3, gathered once; a rerun uses the same ones
{line}-0003/...           the run itself
{line}/history/0003       what became of it (east_core.studies.promotion)
"""

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from east_core.config import DatasetConfig, ModelConfig, RunConfig
from east_core.inputs.questions import load_arrivals
from east_core.records import Question
from east_core.runs.addresses import ARRIVALS, ARRIVALS_FILE, LineAddresses
from east_core.store import ArtifactRecord, Stage, Store, materialize
from east_core.studies import promotion
from east_core.tables import write_table


def gather_arrivals(
    store: Store, line: str, source: DatasetConfig, least: int
) -> ArtifactRecord | None:
    """The questions of the line's next run; None where fewer than `least` are new.

    Its facts are the number of questions and the high-water mark behind them. Of a run that was
    interrupted, the questions are those that it began with.
    """
    entries = promotion.history(store, line)
    address = LineAddresses(line).arrivals(len(entries) + 1)
    if begun := store.record(address):
        return begun
    known = dict(promotion.mark(entries))
    if not has_arrivals(store, line, source, least):
        return None

    def build(folder: Path) -> dict[str, Any]:
        reached = dict(known)

        def questions() -> Iterator[Question]:
            for file, row, question in _arrivals(source, known):
                reached[file] = row
                yield question

        count = write_table(folder / ARRIVALS_FILE, Question, questions())
        return {"questions": count, "mark": reached}

    asked = source.model_dump(mode="json", exclude={"path", *source.later})
    stage = Stage(address, ARRIVALS, recipe={"source": asked, "mark": known})
    return materialize(store, stage, build)


def has_arrivals(store: Store, line: str, source: DatasetConfig, least: int) -> bool:
    """Whether at least so many questions are behind the mark of the line's last decision."""
    known = promotion.mark(promotion.history(store, line))
    return sum(1 for _ in itertools.islice(_arrivals(source, known), least)) == least


def next_run(settings: RunConfig, store: Store, line: str, arrivals: ArtifactRecord) -> RunConfig:
    """The settings of the line's next run: from its champion, on the arrivals."""
    entries = promotion.history(store, line)
    questions = DatasetConfig(
        path=f"{store.fetch(arrivals)}/{ARRIVALS_FILE}",
        question_column="prompt",
        answer_column="answer" if settings.questions.has_answers else None,
        grading=settings.questions.grading,
        allow_code_execution=settings.questions.allow_code_execution,
        decontaminate=settings.questions.decontaminate,
    )
    return settings.model_copy(
        update={
            "name": LineAddresses(line).run(len(entries) + 1),
            "model": _champion_model(settings.model, store, promotion.champion(entries)),
            "questions": questions,
        }
    )


def _champion_model(base: ModelConfig, store: Store, champion: str) -> ModelConfig:
    if champion == promotion.BASE:
        return base
    folder = store.fetch(store.require(champion))
    return ModelConfig(name=str(folder), trust_remote_code=base.trust_remote_code)


def _arrivals(
    source: DatasetConfig, known: Mapping[str, int]
) -> Iterator[tuple[str, int, Question]]:
    return itertools.islice(load_arrivals(source, known), source.limit)
