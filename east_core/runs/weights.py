"""The weights of a round: clusters, entropy and weight of every question."""

import dataclasses
from pathlib import Path
from typing import Any

from east_core.answers.grading import Grader
from east_core.runs import addresses
from east_core.runs.addresses import WEIGHTS_FOLDER
from east_core.runs.run import Run
from east_core.runs.samples import sample_files
from east_core.store import (
    ArtifactRecord,
    Stage,
    materialize,
)
from east_core.weighting.weighing import Judge, Rules, judge_here, weigh_samples


def weigh(run: Run, number: int, judge: Judge = judge_here) -> ArtifactRecord:
    """Cluster every question's completions by final answer and weigh the questions.

    `judge` clusters them, here or elsewhere. The facts are the round's statistics
    (`RoundStatistics`).
    """
    samples = run.record(run.at.samples(number))
    config = run.config

    def build(folder: Path) -> dict[str, Any]:
        out = folder / WEIGHTS_FOLDER
        out.mkdir()
        with Grader(processes=config.resources.grader_processes) as grader:
            rules = Rules(config.weighting, label_free=config.label_free)
            statistics = weigh_samples(sample_files(run, samples), out, rules, grader, judge)
        return dataclasses.asdict(statistics)

    stage = Stage(
        run.at.weights(number),
        addresses.WEIGHTS,
        recipe=config.model_dump(mode="json", include={"weighting", "label_free"}),
        inputs={"samples": samples},
        revision=2,  # which answers are equal
    )
    return materialize(run.store, stage, build)


def weight_files(run: Run, weights: ArtifactRecord) -> list[Path]:
    """The local files of weighed questions of a round, in question order."""
    return sorted((run.store.fetch(weights) / WEIGHTS_FOLDER).glob("*.parquet"))
