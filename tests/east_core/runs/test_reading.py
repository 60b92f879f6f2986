"""Thinking in a run: what its base model's template begins, and what the setting says."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from east_core.answers.gradings import NumberGrading, TextGrading
from east_core.answers.thinking import MARKS_ALONE, Thinking
from east_core.config import DatasetConfig, SamplingRecipe
from east_core.records import SampledQuestion
from east_core.runs import samples, scores
from east_core.runs.reading import thinking_of
from east_core.runs.run import Run
from east_core.testing.fakes import InstantTrainer, ScriptedSampler
from tests.east_core.conftest import finish, sums_config


class Thinker(ScriptedSampler):
    """Boxes a wrong answer while it thinks; every second completion is cut off there."""

    def sample(self, *arguments: Any) -> Iterator[list[SampledQuestion]]:
        for shard in super().sample(*arguments):
            yield [replace(item, completions=tuple(_thinking(item))) for item in shard]


def _thinking(item: SampledQuestion) -> Iterator[Any]:
    for number, completion in enumerate(item.completions):
        if number % 2:
            yield replace(completion, text="so \\boxed{0} but", finish_reason="length")
        else:
            yield replace(completion, text=f"so \\boxed{{0}} but </think> {completion.text}")


def open_run(folder: Path, **changes: Any) -> Run:
    config = sums_config(folder, rounds=1, **changes)
    (folder / "model" / "chat_template.jinja").write_text("{{ messages }}<think>\n")
    return Run.open(config)


def test_a_completion_cut_off_in_the_thinking_that_the_template_began_has_no_answer(tmp_path):
    run = open_run(tmp_path)
    assert thinking_of(run) == Thinking(is_open=True)
    finish(run, Thinker(), InstantTrainer())
    facts = run.record(run.at.weights(1)).facts
    assert facts["no_answer_share"] == 0.5
    assert facts["truncated_share"] == 0.5


def test_thinking_identifies_what_it_changes_and_only_where_it_does(tmp_path, fake_run):
    plain = fake_run(rounds=1)
    assert thinking_of(plain) == MARKS_ALONE
    for address in ("round-01/weights", "round-01/scores/sums", "round-01/samples"):
        assert "thinking" not in str(plain.record(f"sums/{address}").recipe)
    marked = replace_sampling(plain, thinking_end="FINAL:")
    assert scores.scoring_stage(marked, 1, "sums").recipe["thinking"] == {
        "end": "FINAL:",
        "is_open": False,
    }
    assert samples.sampling_stage(marked, 1) == samples.sampling_stage(plain, 1)


def test_thinking_is_told_by_the_prompts_of_the_run(tmp_path):
    """Not by the tokenizer's own template: that one would begin the thinking here."""
    run = open_run(tmp_path)
    switch = "{{ messages }}<think>{% if not enable_thinking %}</think>{% endif %}"

    def with_model(**changes: Any) -> Run:
        model = run.config.model.model_copy(update={"chat_template": switch, **changes})
        return Run(run.config.model_copy(update={"model": model}), run.store)

    off = with_model(chat_template_kwargs={"enable_thinking": False})
    assert thinking_of(off) == MARKS_ALONE
    assert thinking_of(with_model(chat_template_kwargs={"enable_thinking": True})).is_open
    again = replace_sampling(off, assistant_prefix="<think>\n")
    assert thinking_of(again) == Thinking(is_open=True)


def replace_sampling(run: Run, **changes: Any) -> Run:
    sampling = SamplingRecipe(**{**run.config.sampling.model_dump(), **changes})
    return Run(run.config.model_copy(update={"sampling": sampling}), run.store)


def test_gradings_are_those_of_the_data_sets_and_part_of_what_identifies_the_round(tmp_path):
    plain = Run.open(sums_config(tmp_path / "plain", rounds=1))
    path = plain.config.questions.path
    near = DatasetConfig(path=path, grading=NumberGrading(absolute=1000.0))
    graded = Run.open(sums_config(tmp_path / "near", rounds=1, benchmarks={"sums": near}))
    for run in (plain, graded):
        finish(run, ScriptedSampler(), InstantTrainer())
    records = [run.record(run.at.scores(1, "sums")) for run in (plain, graded)]
    assert records[0].facts["accuracy"]["value"] < records[1].facts["accuracy"]["value"]
    recipes = [record.recipe for record in records]
    assert "grading" not in recipes[0]
    assert recipes[1]["grading"] == near.grading.model_dump()
    weights = [run.record(run.at.weights(1)) for run in (plain, graded)]
    assert weights[0].recipe == weights[1].recipe


def test_training_questions_are_weighed_under_their_grading(tmp_path):
    config = sums_config(tmp_path, rounds=1)
    text = DatasetConfig(path=config.questions.path, grading=TextGrading())
    run = Run.open(config.model_copy(update={"questions": text}))
    finish(run, ScriptedSampler(), InstantTrainer())
    assert run.record(run.at.weights(1)).recipe["grading"]["kind"] == "text"
    assert "grading" not in run.record(run.at.questions).recipe
