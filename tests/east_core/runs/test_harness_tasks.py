"""Scores of a checkpoint on a task of lm-evaluation-harness, as a stand-in writes them."""

import json
from pathlib import Path

import pytest

from east_core.config import DatasetConfig, EvaluationRecipe, HarnessTask
from east_core.engines.lm_eval.harness import LmEval
from east_core.errors import ArtifactMismatch, DataError, EngineError
from east_core.evaluation.estimates import compare_outcomes
from east_core.runs import start, stopping
from east_core.runs.harness_tasks import freeze_tasks, score_task
from east_core.runs.predictions import read_outcomes, read_predictions
from east_core.runs.room import needed_context
from east_core.runs.run import Run
from east_core.runs.scores import scoring_stage
from east_core.store import ArtifactRecord, existing
from east_core.testing.fakes import ScriptedSampler
from tests import lm_eval_stand_in
from tests.east_core.conftest import sums_config

pytestmark = pytest.mark.usefixtures("stand_in_lm_eval")
HARNESS = LmEval(on_line=lambda _: None)


class Holding(ScriptedSampler):
    """Notes that it gave its device away."""

    has_device = True

    def release(self) -> None:
        self.has_device = False


def began(folder: Path, **changes: object) -> Run:
    """A run that has its base model and a task's questions."""
    task = HarnessTask.model_validate({"task": "sums", **changes})
    run = Run.open(sums_config(folder, benchmarks={"theirs": task}))
    start.claim(run)
    start.register_base_model(run)
    freeze_tasks(run, HARNESS)
    return run


def scored(run: Run) -> ArtifactRecord:
    return score_task(run, 0, "theirs", HARNESS, ScriptedSampler())


def test_what_is_right_is_what_the_harness_says(tmp_path: Path) -> None:
    run, sampler = began(tmp_path), Holding()
    record = score_task(run, 0, "theirs", HARNESS, sampler)
    assert not sampler.has_device
    right = [lm_eval_stand_in.is_right(number, 0.4) for number in range(40)]
    rows = read_predictions(run.store, record)
    assert [row.is_correct for row in rows] == right
    assert record.facts["accuracy"]["value"] == sum(right) / 40
    assert record.facts["no_answer_share"]["value"] == 1 - sum(right) / 40
    assert record.facts["harness"] == {
        "lm_eval": "0.4.12",
        "task_version": "3.0",
        "backend": "hf",
        "transformers": "5.19.0",
        "num_fewshot": 5,
        "metric": "exact_match,strict-match",
    }
    assert existing(run.store, scoring_stage(run, 0, "theirs")) == record
    outcomes = read_outcomes(run.store, record)
    assert compare_outcomes(outcomes, outcomes).value == 0


def test_what_the_task_is_is_frozen_and_is_part_of_what_scores_are_made_of(tmp_path: Path) -> None:
    run = began(tmp_path)
    frozen = run.record(run.at.benchmark("theirs"))
    task = json.loads((run.store.fetch(frozen) / "task.json").read_text())
    assert (task["lm_eval"], task["version"]) == ("0.4.12", "3.0")
    assert task["config"]["process_docs"] == "<function docs>"
    assert "metadata" not in task["config"]
    assert scored(run).inputs["questions"] == frozen.content


def test_where_and_how_fast_may_change_and_what_is_asked_may_not(
    tmp_path: Path, stand_in_lm_eval: Path
) -> None:
    record = scored(began(tmp_path))
    elsewhere = {"batch_size": 64, "backend": "hf", "include_path": str(tmp_path)}
    assert scored(began(tmp_path, **elsewhere)) == record
    assert len(stand_in_lm_eval.read_text().splitlines()) == 2  # one survey, one checkpoint
    with pytest.raises(ArtifactMismatch, match="metric"):
        began(tmp_path, metric="exact_match,flexible")


@pytest.mark.parametrize(
    ("failure", "error", "message"),
    [
        ("newer", DataError, r"the task's lm_eval changed .*lm_eval 0\.4\.12 and lm_eval 0\.4\.13"),
        ("other data", DataError, "asked 40 questions that are not the 40 with which the run"),
        ("too few", DataError, "asked 39 questions that are not the 40"),
        ("half", DataError, r"document 3 is 0\.5, which is not 0 or 1"),
        ("crash", EngineError, r"failed on task sums .*: torch\.OutOfMemoryError"),
    ],
)
def test_another_task_than_the_run_began_with_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    failure: str,
    error: type[Exception],
    message: str,
) -> None:
    run = began(tmp_path)
    monkeypatch.setenv("STAND_IN", failure)
    with pytest.raises(error, match=message) as told:
        scored(run)
    assert "\n" not in str(told.value)
    assert run.store.record(run.at.scores(0, "theirs")) is None


def test_training_questions_that_stand_in_a_task_are_told_and_left_out(tmp_path: Path) -> None:
    run = began(tmp_path, limit=7)
    start.freeze_questions(run)
    assert "7 in theirs" in str(start.overlaps_told(run))
    assert needed_context(run) is not None  # the task's prompts are not our engines'
    questions = run.config.questions
    assert isinstance(questions, DatasetConfig)
    clean = questions.model_copy(update={"decontaminate": True})
    other = {"questions": clean, "name": "clean", "benchmarks": run.config.benchmarks}
    screened = Run.open(run.config.model_copy(update=other))
    freeze_tasks(screened, HARNESS)
    assert start.freeze_questions(screened).facts["questions"] == 33


def test_a_task_has_no_extra_samples_to_be_watched(tmp_path: Path) -> None:
    ours = sums_config(tmp_path).benchmarks
    benchmarks = {**ours, "theirs": HarnessTask(task="sums")}
    evaluation = EvaluationRecipe(samples_per_question=4)
    run = Run.open(sums_config(tmp_path, evaluation=evaluation, benchmarks=benchmarks))
    names = {name: len(stopping._measures(run, name)) for name in ("sums", "theirs")}
    assert names == {"sums": 3, "theirs": 2}
