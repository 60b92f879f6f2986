"""Runs with a task of lm-evaluation-harness as a benchmark: a stand-in's, with scripted engines."""

from pathlib import Path
from typing import Any

import pytest

from east_core.config import HarnessTask, RunConfig
from east_core.errors import ConfigError
from east_core.reports.html import render
from east_core.runs.run import Run
from east_core.runs.summary import summarise
from east_core.testing.fakes import InstantTrainer, ScriptedSampler
from flows.evaluate import EvaluationForm, evaluate
from flows.self_training import self_training
from tasks.engines import Engines, use_engines
from tests import lm_eval_stand_in
from tests.flows.test_self_training import config

pytestmark = pytest.mark.usefixtures("prefect_api", "stand_in_lm_eval")


def with_task(folder: Path, **changes: Any) -> RunConfig:
    """A run of one round with a benchmark of its own and a task of the stand-in's."""
    settings = config(folder, rounds=1)
    task = HarnessTask.model_validate({"task": "sums", **changes})
    return settings.model_copy(update={"benchmarks": {**settings.benchmarks, "theirs": task}})


def test_each_checkpoint_is_scored_and_reported_as_on_any_benchmark(
    tmp_path: Path, stand_in_lm_eval: Path
) -> None:
    settings = with_task(tmp_path)
    with use_engines(Engines(ScriptedSampler(), InstantTrainer())):
        self_training(settings)
        self_training(settings)
    run = Run.open(settings)
    shares = [summary.accuracy["theirs"].value for summary in summarise(run.store, run.name)]
    right = [
        sum(lm_eval_stand_in.is_right(number, skill) for number in range(40))
        for skill in (0.4, 0.6)
    ]
    assert shares == [each / 40 for each in right]
    gained = [
        number
        for number in range(40)
        if lm_eval_stand_in.is_right(number, 0.6) and not lm_eval_stand_in.is_right(number, 0.4)
    ]
    page = render(run.store, run.name)
    assert any(f"It is {number + 1}." in page for number in gained)
    assert len(stand_in_lm_eval.read_text().splitlines()) == 3  # one survey, two checkpoints


def test_a_checkpoint_is_evaluated_on_a_task(tmp_path: Path) -> None:
    settings = with_task(tmp_path)
    form = EvaluationForm.model_validate(
        {
            "checkpoint": settings.model.name,
            "store": settings.store,
            "benchmarks": {"theirs": {"task": "letters", "metric": "acc"}},
        }
    )
    with use_engines(Engines(ScriptedSampler(), InstantTrainer())):
        evaluate(form)
    run = Run.open(settings.model_copy(update={"name": "evaluation"}))
    (summary,) = summarise(run.store, run.name)
    right = sum(lm_eval_stand_in.is_right(number, 0.4) for number in range(40))
    assert summary.accuracy["theirs"].value == right / 40


def test_a_task_that_is_not_there_ends_the_run_before_it_samples(tmp_path: Path) -> None:
    sampler = ScriptedSampler()
    with (
        use_engines(Engines(sampler, InstantTrainer())),
        pytest.raises(ConfigError, match="Tasks not found: summs"),
    ):
        self_training(with_task(tmp_path, task="summs"))
    assert sampler.sampled == []
