"""The examples of a round: what is trained on."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from east_core.answers.gradings import GradingOfSets
from east_core.config import RunConfig, Training
from east_core.protocols import Example, example_type
from east_core.records import SampledQuestion
from east_core.runs import addresses
from east_core.runs.addresses import EXAMPLES_FILE
from east_core.runs.example_choice import SetRules, build_examples, survey_examples
from east_core.runs.replay import Replayed, replayed_from
from east_core.runs.run import Run
from east_core.runs.samples import sample_files
from east_core.runs.weights import weight_files
from east_core.seeds import derive_seed
from east_core.store import (
    ArtifactRecord,
    Stage,
    materialize,
)
from east_core.tables import read_tables, write_table
from east_core.weighting.as_released import EntropyAsReleased, batch_means
from east_core.weighting.weighed import WeighedQuestion


def choose_examples(run: Run, number: int) -> ArtifactRecord:
    """Choose what is trained on among the completions of the weighed questions.

    Replayed examples, where there are any, stand behind the round's own.
    """
    recipe, grading = run.config.training, run.config.questions.grading
    weighting, batch_size = run.config.weighting, _released_batch(run.config)
    within_sets = weighting.normalize == "set"
    sets = SetRules(grading, within_sets) if isinstance(grading, GradingOfSets) else None
    if not grading.has_policies:
        recipe = recipe.model_copy(update={"targets": "any"})  # a box says nothing there
    replay, samples = run.config.replay, run.record(run.at.samples(number))
    weights = run.record(run.at.weights(number))

    def pairs() -> Iterator[tuple[SampledQuestion, WeighedQuestion]]:
        sampled = read_tables(sample_files(run, samples), SampledQuestion)
        weighed = read_tables(weight_files(run, weights), WeighedQuestion)
        return zip(sampled, weighed, strict=True)

    def build(folder: Path) -> dict[str, Any]:
        survey = survey_examples(pairs(), recipe, run.config.seed, number, sets)
        seed, has_mean_one = run.config.seed, weighting.has_mean_one

        def own() -> Iterator[Example]:
            return build_examples(pairs(), recipe, seed, number, survey, sets, has_mean_one)

        rows = own()
        if batch_size > 1:
            rows = _averaged(own, batch_size, derive_seed(seed, "released", number))
        if replay is None:
            write_table(folder / EXAMPLES_FILE, example_type(recipe), rows)
            return survey.facts()
        again = Replayed(run, number, survey.examples, replay)
        rows = itertools.chain(rows, again)
        total = write_table(folder / EXAMPLES_FILE, example_type(recipe), rows)
        drawn = {"examples": total, "replayed": again.count, "replay_pool": again.pool_size}
        return {**survey.facts(), **drawn}

    stage = Stage(
        run.at.examples(number),
        addresses.EXAMPLES,
        recipe={
            "training": example_choice(recipe),
            "seed": run.config.seed,
            **({} if sets is None else sets.identity()),
            **({} if replay is None else {"replay": replay.identity()}),
            **({} if weighting.has_mean_one else {"as_released": {"batch_size": batch_size}}),
        },
        inputs={"samples": samples, "weights": weights, **replayed_from(run, number)},
    )
    return materialize(run.store, stage, build)


def _released_batch(config: RunConfig) -> int:
    """Over how many examples weights are averaged, as in the released SFT code; 1 as a rule."""
    if isinstance(config.weighting, EntropyAsReleased) and config.training.loss == "sft":
        return config.weighting.batch_size
    return 1


def _averaged(examples: Callable[[], Iterator[Example]], size: int, seed: int) -> Iterator[Example]:
    """The examples, each with the mean weight of its batch; `examples` is called twice."""
    weights = batch_means([example.weight for example in examples()], size, seed)
    for example, weight in zip(examples(), weights, strict=True):
        yield dataclasses.replace(example, weight=weight)


def example_choice(recipe: Training) -> dict[str, Any]:
    """The part of a training recipe that decides which completions are trained on."""
    names = {"loss", "completions_per_question", "weight_sharing", "targets"}
    return {name: value for name, value in recipe.identity().items() if name in names}
