"""Retraining: a line of runs, each from the champion and on the questions that are new.

{line}-0003/arrivals      the questions of run 3, gathered once; a rerun uses the same ones
{line}-0003/...           the run itself
{line}/history/0003       what became of it (east_core.studies.promotion)
"""

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from east_core.config import (
    DatasetConfig,
    ModelConfig,
    QuestionMixture,
    QuestionSet,
    QuestionSource,
    RunConfig,
)
from east_core.inputs.base_models import name_of_checkpoint
from east_core.inputs.questions import load_arrivals
from east_core.records import Question
from east_core.runs.addresses import ARRIVALS, LineAddresses, arrivals_file
from east_core.store import ArtifactRecord, Stage, Store, materialize
from east_core.studies import promotion
from east_core.tables import write_table


def gather_arrivals(
    store: Store, line: str, source: QuestionSource, least: int
) -> ArtifactRecord | None:
    """The questions of the line's next run; None where fewer than `least` are new.

    Its facts are the number of questions, of each set where there are several, and the high-water
    mark behind them. Of a run that was interrupted, the questions are those that it began with.
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

        def questions(name: str, each: DatasetConfig) -> Iterator[Question]:
            for file, row, question in _arrivals(name, each, known):
                reached[file] = row
                yield question

        counts = {
            name: write_table(folder / arrivals_file(name), Question, questions(name, each))
            for name, each in source.named.items()
        }
        sets = {"sets": counts} if isinstance(source, QuestionMixture) else {}
        return {"questions": sum(counts.values()), "mark": reached, **sets}

    stage = Stage(address, ARRIVALS, recipe={"source": source.reading(), "mark": known})
    return materialize(store, stage, build)


def has_arrivals(store: Store, line: str, source: QuestionSource, least: int) -> bool:
    """Whether at least so many questions are behind the mark of the line's last decision."""
    known = promotion.mark(promotion.history(store, line))
    new = (_arrivals(name, each, known) for name, each in source.named.items())
    return sum(1 for _ in itertools.islice(itertools.chain.from_iterable(new), least)) == least


def next_run(settings: RunConfig, store: Store, line: str, arrivals: ArtifactRecord) -> RunConfig:
    """The settings of the line's next run: from its champion, on the arrivals.

    Of a mixture, without the sets that nothing was added to: the others keep their proportions.
    """
    entries = promotion.history(store, line)
    return settings.model_copy(
        update={
            "name": LineAddresses(line).run(len(entries) + 1),
            "model": _champion_model(settings.model, store, promotion.champion(entries)),
            "questions": _arrived(settings.questions, store.fetch(arrivals), arrivals.facts),
        }
    )


def _arrived(source: QuestionSource, folder: Path, facts: Mapping[str, Any]) -> QuestionSource:
    """The arrivals as a data set, or as a mixture of them."""
    if not isinstance(source, QuestionMixture):
        return DatasetConfig(
            decontaminate=source.decontaminate, **_arrivals_settings("", source, folder)
        )
    sets = {
        name: QuestionSet(share=each.share, **_arrivals_settings(name, each, folder))
        for name, each in source.sets.items()
        if facts["sets"][name]
    }
    return QuestionMixture(sets=sets, decontaminate=source.decontaminate)


def _arrivals_settings(name: str, source: DatasetConfig, folder: Path) -> dict[str, Any]:
    return {
        "path": f"{folder}/{arrivals_file(name)}",
        "question_column": "prompt",
        "answer_column": "answer" if source.has_answers else None,
        "grading": source.grading,
        "allow_code_execution": source.allow_code_execution,
    }


def _champion_model(base: ModelConfig, store: Store, champion: str) -> ModelConfig:
    if champion == promotion.BASE:
        return base
    name = name_of_checkpoint(store, store.require(champion))
    return ModelConfig(name=name, trust_remote_code=base.trust_remote_code)


def _arrivals(
    name: str, source: DatasetConfig, known: Mapping[str, int]
) -> Iterator[tuple[str, int, Question]]:
    """What a set has behind the mark, where its files stand under the set's name."""
    prefix = f"{name}/" if name else ""
    behind = {
        file.removeprefix(prefix): row for file, row in known.items() if file.startswith(prefix)
    }
    for file, row, question in itertools.islice(load_arrivals(source, behind), source.limit):
        yield f"{prefix}{file}", row, question
