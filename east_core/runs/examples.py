"""The examples of a round: what is trained on."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from east_core.config import Training
from east_core.protocols import example_type
from east_core.records import SampledQuestion
from east_core.runs import addresses
from east_core.runs.addresses import EXAMPLES_FILE
from east_core.runs.example_choice import build_examples, survey_examples
from east_core.runs.run import Run
from east_core.runs.samples import sample_files
from east_core.runs.weights import weight_files
from east_core.store import (
    ArtifactRecord,
    Stage,
    materialize,
)
from east_core.tables import read_tables, write_table
from east_core.weighting.weighed import WeighedQuestion


def choose_examples(run: Run, number: int) -> ArtifactRecord:
    """Choose what is trained on among the completions of the weighed questions."""
    recipe = run.config.training
    if not run.config.questions.grading.has_policies:
        recipe = recipe.model_copy(update={"targets": "any"})  # a box says nothing there
    samples = run.record(run.at.samples(number))
    weights = run.record(run.at.weights(number))

    def pairs() -> Iterator[tuple[SampledQuestion, WeighedQuestion]]:
        sampled = read_tables(sample_files(run, samples), SampledQuestion)
        weighed = read_tables(weight_files(run, weights), WeighedQuestion)
        return zip(sampled, weighed, strict=True)

    def build(folder: Path) -> dict[str, Any]:
        survey = survey_examples(pairs(), recipe, run.config.seed, number)
        rows = build_examples(pairs(), recipe, run.config.seed, number, survey)
        write_table(folder / EXAMPLES_FILE, example_type(recipe), rows)
        return dataclasses.asdict(survey)

    stage = Stage(
        run.at.examples(number),
        addresses.EXAMPLES,
        recipe={"training": example_choice(recipe), "seed": run.config.seed},
        inputs={"samples": samples, "weights": weights},
    )
    return materialize(run.store, stage, build)


def example_choice(recipe: Training) -> dict[str, Any]:
    """The part of a training recipe that decides which completions are trained on."""
    names = {"loss", "completions_per_question", "weight_sharing", "targets"}
    return {name: value for name, value in recipe.identity().items() if name in names}
