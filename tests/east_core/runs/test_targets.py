"""`training.targets`: which completions may be trained on, from the clusters to the examples."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from east_core.config import AdaptiveRecipe, RunConfig, SamplingRecipe, SftRecipe
from east_core.config.toml_file import parse_config
from east_core.errors import ConfigError
from east_core.records import SampledQuestion, TrainingExample
from east_core.runs import examples, samples
from east_core.runs.addresses import EXAMPLES_FILE
from east_core.runs.run import Run
from east_core.tables import read_table
from east_core.testing.fakes import ScriptedSampler
from east_core.weighting.controls import UnfilteredWeighting

ANY = SftRecipe(targets="any", global_batch_size=4)
BOXED = SftRecipe(global_batch_size=4)


class Unboxed(ScriptedSampler):
    """Names its answer without a box."""

    def sample(self, *arguments: Any) -> Iterator[list[SampledQuestion]]:
        for shard in super().sample(*arguments):
            yield [
                replace(item, completions=tuple(map(_unboxed, item.completions))) for item in shard
            ]


def _unboxed(completion: Any) -> Any:
    answer = completion.text.split("{")[1].split("}")[0]
    return replace(completion, text=f"The answer is {answer}.")


def test_answers_without_a_box_are_weighed_and_trained_on(fake_run: Callable[..., Run]) -> None:
    run = fake_run(rounds=1, sampler=Unboxed(), training=ANY)
    facts = run.record(run.at.weights(1)).facts
    assert facts["kept"] > 0
    assert facts["no_answer_share"] == 0
    chosen = run.store.fetch(run.record(run.at.examples(1))) / EXAMPLES_FILE
    assert all("answer is" in row.completion for row in read_table(chosen, TrainingExample))


def test_adaptive_sampling_reads_the_same_answers(fake_run: Callable[..., Run]) -> None:
    adaptive = AdaptiveRecipe(first=4, step=4, unanimous_after=4, tolerance_bits=10)
    sampling = SamplingRecipe(samples_per_question=24, adaptive=adaptive)
    run = fake_run(rounds=1, sampler=Unboxed(), training=ANY, sampling=sampling)
    drawn = run.record(run.at.samples(1)).facts["mean_samples"]
    # were the answers not read, every question would look all wrong and get all 24 completions
    assert drawn < 20


def test_the_setting_identifies_what_it_changes_and_only_where_it_is_set(
    fake_run: Callable[..., Run],
) -> None:
    run = fake_run(rounds=1, training=BOXED)
    for stage in ("samples", "weights", "examples", "checkpoint"):
        assert "targets" not in str(run.record(f"sums/round-01/{stage}").recipe)
    other = Run(run.config.model_copy(update={"training": ANY}), run.store)
    assert samples.sampling_stage(other, 1) == samples.sampling_stage(run, 1)
    assert examples.example_choice(ANY)["targets"] == "any"
    assert "targets" not in RunConfig().identity()["training"]


def test_unfiltered_training_takes_any_finished_completion_of_every_question(
    fake_run: Callable[..., Run],
) -> None:
    """Right and wrong as they were sampled: the share of right targets is that of the samples."""
    control = {"weighting": UnfilteredWeighting(), "training": BOXED}
    run = fake_run(rounds=1, **control)
    weights = run.record(run.at.weights(1)).facts
    assert (weights["kept"], weights["dropped"]) == (40, {})
    assert weights["weight_quantiles"]["p0"] == weights["weight_quantiles"]["p100"] == 1
    chosen = run.store.fetch(run.record(run.at.examples(1))) / EXAMPLES_FILE
    rows = list(read_table(chosen, TrainingExample))
    right = sum(f"boxed{{{int(row.question_id[1:]) + 1}}}" in row.completion for row in rows)
    assert len(rows) == 40
    assert 0 < right < 40


def test_unfiltered_training_has_no_wrong_side() -> None:
    with pytest.raises(ConfigError, match="looks at no answer"):
        parse_config({"weighting": {"kind": "unfiltered"}, "training": {"loss": "dpo"}})
