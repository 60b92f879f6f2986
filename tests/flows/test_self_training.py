"""The loop with a scripted sampler and an instant trainer; stages, records and Prefect are real."""

import json
import time
from pathlib import Path

import pytest

from east_core.config import (
    DatasetConfig,
    ModelConfig,
    Resources,
    RunConfig,
    SamplingRecipe,
)
from east_core.errors import ArtifactMismatch, EngineError, NothingToLearn
from east_core.protocols import TrainingJob, TrainingResult
from east_core.runs.summary import summarise, summary_json
from east_core.store import Store
from east_core.testing.fakes import InstantTrainer, ScriptedSampler, write_model
from east_core.weighting.strategies import LabelFree
from flows.self_training import self_training
from tasks.engines import Engines, use_engines

pytestmark = pytest.mark.usefixtures("prefect_api")


def config(folder: Path, skill: float = 0.4, **changes: object) -> RunConfig:
    questions = folder / "questions.jsonl"
    rows = ({"id": f"q{i}", "question": f"{i} + 1 = ?", "answer": str(i + 1)} for i in range(40))
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {
        "name": "test-run",
        "store": str(folder / "store"),
        "rounds": 2,
        "model": ModelConfig(name=str(write_model(folder / "model", skill))),
        "questions": DatasetConfig(path=str(questions)),
        "benchmarks": {"sums": DatasetConfig(path=str(questions))},
        "sampling": SamplingRecipe(samples_per_question=6),
        "resources": Resources(shard_questions=15),
    }
    return RunConfig(**{**settings, **changes})


class InterruptedTrainer(InstantTrainer):
    """Fails in one round, as often as asked."""

    def __init__(self, round_number: int, failures: int) -> None:
        self.calls = 0
        self.round_number, self.failures = round_number, failures

    def train(self, job: TrainingJob, out: Path) -> TrainingResult:
        self.calls += 1
        if self.calls >= self.round_number and self.failures:
            self.failures -= 1
            raise KeyboardInterrupt
        return super().train(job, out)


def test_two_rounds_raise_the_accuracy_and_leave_a_complete_summary(tmp_path: Path) -> None:
    run = config(tmp_path)
    with use_engines(Engines(ScriptedSampler(), InstantTrainer())):
        self_training(run)
    rounds = summary_json(summarise(Store(run.store), run.name))["rounds"]
    assert [entry["round"] for entry in rounds] == [0, 1, 2]
    accuracies = [entry["accuracy"]["sums"]["value"] for entry in rounds]
    assert accuracies[0] < accuracies[1] < accuracies[2]
    assert rounds[0]["kept"] is None
    assert rounds[1]["kept"] + rounds[1]["dropped"] == 40
    assert rounds[1]["mean_entropy_bits"] > 0
    assert set(rounds[2]["seconds"]) == {
        "samples",
        "weights",
        "examples",
        "checkpoint",
        "scores",
        "report",
    }


def test_an_interrupted_run_goes_on_without_sampling_again(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    undisturbed, interrupted = config(tmp_path / "a"), config(tmp_path / "b")
    with use_engines(Engines(ScriptedSampler(), InstantTrainer())):
        self_training(undisturbed)
    trainer = InterruptedTrainer(round_number=2, failures=1)
    with use_engines(Engines(ScriptedSampler(), trainer)), pytest.raises(KeyboardInterrupt):
        self_training(interrupted)
    sampler = ScriptedSampler()
    with use_engines(Engines(sampler, InstantTrainer())):
        self_training(interrupted)
    assert len(sampler.sampled) == 40  # the scores of round 2 alone
    tables = [
        {
            record.address: record.content
            for record in Store(run.store).records(run.name)
            if "config" not in record.address
        }
        for run in (undisturbed, interrupted)
    ]
    assert tables[0] == tables[1]


def test_another_shard_size_resumes_the_same_samples(tmp_path: Path) -> None:
    run = config(tmp_path, rounds=1)
    with use_engines(Engines(ScriptedSampler(), InstantTrainer())):
        self_training(run)
    again = run.model_copy(update={"rounds": 2, "resources": Resources(shard_questions=7)})
    sampler = ScriptedSampler()
    with use_engines(Engines(sampler, InstantTrainer())):
        self_training(again)
    assert len(sampler.sampled) == 80  # samples and scores of round 2


def test_label_free_rounds_learn_from_the_majority(tmp_path: Path) -> None:
    run = config(tmp_path, rounds=1, label_free=LabelFree(min_majority=0.3))
    with use_engines(Engines(ScriptedSampler(), InstantTrainer())):
        self_training(run)
    weights = Store(run.store).require("test-run/round-01/weights")
    assert weights.facts["label_free"] is True
    assert set(weights.facts["dropped"]) <= {"no_majority", "unanimous"}


def test_other_settings_under_the_same_name_are_refused(tmp_path: Path) -> None:
    run = config(tmp_path, rounds=1)
    with use_engines(Engines(ScriptedSampler(), InstantTrainer())):
        self_training(run)
        with pytest.raises(ArtifactMismatch, match=r"seed: 42 -> 7"):
            self_training(run.model_copy(update={"seed": 7}))


def test_a_round_that_keeps_too_little_says_what_to_do(tmp_path: Path) -> None:
    run = config(tmp_path, skill=0.0)
    with (
        use_engines(Engines(ScriptedSampler(), InstantTrainer())),
        pytest.raises(NothingToLearn, match="all_wrong"),
    ):
        self_training(run)
    assert summarise(Store(run.store), run.name)[0].accuracy["sums"].value == 0


def test_a_crashed_engine_is_retried_and_then_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks import stages

    class Crashing(InstantTrainer):
        calls = 0

        def train(self, job: TrainingJob, out: Path) -> TrainingResult:
            Crashing.calls += 1
            raise EngineError("rank 1 died")

    monkeypatch.setattr(stages.train, "retry_delay_seconds", [0, 0])
    with (
        use_engines(Engines(ScriptedSampler(), Crashing())),
        pytest.raises(EngineError, match="rank 1 died"),
    ):
        self_training(config(tmp_path))
    assert Crashing.calls == 1 + stages.RETRIES


def test_each_round_tells_the_time_that_the_run_took_besides_its_stages(tmp_path: Path) -> None:
    run = config(tmp_path, rounds=1)
    begun = time.monotonic()
    with use_engines(Engines(ScriptedSampler(), InstantTrainer())):
        self_training(run)
    seconds = time.monotonic() - begun
    rounds = summarise(Store(run.store), run.name)
    overheads = [summary.overhead_seconds or 0.0 for summary in rounds]
    assert all(overhead > 0 for overhead in overheads)
    stages_seconds = [s for r in rounds for stage, s in r.seconds.items() if stage != "report"]
    assert sum(overheads) + sum(stages_seconds) < seconds  # a report is drawn beside a stage


def test_a_round_is_told_once_however_often_the_run_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    monkeypatch.setattr(
        "tasks.reporting.emit_round_completed", lambda _config, summary: told.append(summary.round)
    )
    with use_engines(Engines(ScriptedSampler(), InterruptedTrainer(2, failures=1))):
        with pytest.raises(KeyboardInterrupt):
            self_training(config(tmp_path))
        self_training(config(tmp_path))
        self_training(config(tmp_path))
    assert told == [0, 1, 2]
