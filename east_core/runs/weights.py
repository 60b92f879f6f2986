"""The weights of a round: clusters, entropy and weight of every question."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from east_core.answers.grading import Grader
from east_core.errors import NothingToLearn
from east_core.runs import addresses
from east_core.runs.addresses import WEIGHTS_FOLDER
from east_core.runs.earlier import earlier_with_same_outcome, weights_outcome
from east_core.runs.reading import reading_identity, thinking_of
from east_core.runs.run import Run
from east_core.runs.samples import sample_files
from east_core.store import (
    ArtifactRecord,
    Stage,
    materialize,
)
from east_core.weighting.weighing import ShardWeigher, WeighingRules, weigh_samples, weigh_shards


def weigh(run: Run, number: int, weigher: ShardWeigher = weigh_shards) -> ArtifactRecord:
    """Cluster every question's completions by final answer and weigh the questions.

    `weigher` clusters them, in this process or others. The facts are the round's statistics
    (`RoundStatistics`).
    """
    samples = run.record(run.at.samples(number))
    config = run.config

    def build(folder: Path) -> dict[str, Any]:
        out = folder / WEIGHTS_FOLDER
        out.mkdir()
        with Grader(processes=config.resources.grader_processes) as grader:
            rules = WeighingRules(
                config.weighting,
                config.training.answer_policy,
                config.label_free,
                thinking_of(run),
                config.questions.grading,
            )
            statistics = weigh_samples(sample_files(run, samples), out, rules, grader, weigher)
        return statistics.facts()

    stage = Stage(
        run.at.weights(number),
        addresses.WEIGHTS,
        recipe=config.model_dump(mode="json", include={"label_free"})
        | {"weighting": config.weighting.identity()}
        | reading_identity(run),
        inputs={"samples": samples},
        revision=2,  # which answers are equal
    )
    try:
        return _made_by_earlier_revision(run, stage, build) or materialize(run.store, stage, build)
    except NothingToLearn as error:
        _record_why(run, number, stage, f"round {number}: {error}")
        raise


def _made_by_earlier_revision(
    run: Run, stage: Stage, build: Callable[[Path], object]
) -> ArtifactRecord | None:
    """Weights of the first revision, by whose rules other answers were equal."""
    return earlier_with_same_outcome(
        run, stage, 1, lambda _, folder: build(folder), weights_outcome
    )


def _record_why(run: Run, number: int, weights: Stage, message: str) -> None:
    """Record why a round has no weights, for `east show` and the report."""
    kind, address = addresses.NOTHING_KEPT, run.at.nothing_kept(number)
    stage = Stage(address, kind, weights.recipe, weights.inputs, weights.revision)
    materialize(run.store, stage, lambda _: {"message": message})


def weight_files(run: Run, weights: ArtifactRecord) -> list[Path]:
    """The local files of weighed questions of a round, in question order."""
    return sorted((run.store.fetch(weights) / WEIGHTS_FOLDER).glob("*.parquet"))
