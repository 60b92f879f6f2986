"""Runs with a task of lm-evaluation-harness as a benchmark: a stand-in's, with scripted engines."""

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from east_core.config import HarnessTask, RunConfig
from east_core.errors import ConfigError
from east_core.reports.html import render
from east_core.runs.run import Run
from east_core.runs.summary import summarise
from east_core.testing.fakes import InstantTrainer, ScriptedSampler
from flows.browser.app import browser_app
from flows.evaluate import EvaluationForm, evaluate
from flows.self_training import self_training
from tasks.engines import Engines, require_engines, use_engines
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
    other = settings.model_copy(update={"name": "other", "seed": 1})
    with use_engines(Engines(ScriptedSampler(), InstantTrainer())):
        self_training(settings)
        self_training(settings)
        self_training(other)
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
    browser = TestClient(browser_app(run.store))
    assert "theirs" in browser.get(f"/run/{run.name}").text
    compared = browser.get("/compare", params={"run": [run.name, "other"]})
    assert compared.status_code == 200
    assert "theirs" in compared.text
    asked = [json.loads(line)["model"] for line in stand_in_lm_eval.read_text().splitlines()]
    assert asked == ["dummy", "hf", "hf"] * 2  # a run that goes on asks nothing again


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


def test_a_run_that_goes_on_where_the_harness_is_not_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = with_task(tmp_path)
    monkeypatch.setenv("EAST_LM_EVAL_PYTHON", "/nowhere/python")
    with pytest.raises(ConfigError, match="EAST_LM_EVAL_PYTHON=/nowhere/python is no Python"):
        require_engines(settings)
