"""A run without Prefect: the real stages, with a scripted sampler and an instant trainer."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from east_core.config import DatasetConfig, ModelConfig, RunConfig, SamplingRecipe
from east_core.protocols import Sampler, Trainer
from east_core.reports import round_report
from east_core.runs import examples, samples, scores, start, training, weights
from east_core.runs.replay import freeze_replay
from east_core.runs.run import Run
from east_core.testing.fakes import InstantTrainer, ScriptedSampler, write_model

FakeRun = Callable[..., Run]


@pytest.fixture(scope="session")
def fake_run(tmp_path_factory: pytest.TempPathFactory) -> FakeRun:
    """Call it for a finished run of 40 sums, each in a folder of its own unless one is given."""

    def make(
        folder: Path | None = None,
        sampler: Sampler | None = None,
        trainer: Trainer | None = None,
        **changes: Any,
    ) -> Run:
        run = Run.open(sums_config(folder or tmp_path_factory.mktemp("run"), **changes))
        finish(run, sampler or ScriptedSampler(), trainer or InstantTrainer())
        return run

    return make


def sums_config(folder: Path, **changes: Any) -> RunConfig:
    folder.mkdir(parents=True, exist_ok=True)
    questions = folder / "questions.jsonl"
    rows = (
        {"id": f"q{i}", "question": f"{i} + 1 = ?", "answer": str(i + 1), "level": str(i % 2)}
        for i in range(40)
    )
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings: dict[str, Any] = {
        "name": "sums",
        "store": str(folder / "store"),
        "rounds": 2,
        "model": ModelConfig(name=str(write_model(folder / "model"))),
        "questions": DatasetConfig(path=str(questions)),
        "benchmarks": {"sums": DatasetConfig(path=str(questions))},
        "sampling": SamplingRecipe(samples_per_question=6),
    }
    return RunConfig(**{**settings, **changes})


def finish(run: Run, sampler: Sampler, trainer: Trainer) -> None:
    start.claim(run)
    start.register_base_model(run)
    start.freeze_questions(run)
    start.freeze_benchmarks(run)
    freeze_replay(run)
    for number in range(run.config.rounds + 1):
        if number:
            samples.sample(run, number, sampler)
            weights.weigh(run, number)
            examples.choose_examples(run, number)
            training.train(run, number, sampler, trainer)
        for name in run.config.benchmarks:
            scores.score(run, number, name, sampler)
    round_report.publish(run, 0)
    round_report.publish(run, run.config.rounds)


@pytest.fixture(scope="session")
def _finished_runs() -> dict[int, Run]:
    """Finished runs of `sums_config` by number of rounds, made once a session."""
    return {}


@pytest.fixture
def finished_run(
    _finished_runs: dict[int, Run], tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> Callable[[int], Run]:
    """Call it with a number of rounds for a finished run in a store of the test's own."""

    def copy(rounds: int) -> Run:
        if rounds not in _finished_runs:
            run = Run.open(sums_config(tmp_path_factory.mktemp("finished"), rounds=rounds))
            finish(run, ScriptedSampler(), InstantTrainer())
            _finished_runs[rounds] = run
        made = _finished_runs[rounds]
        store = shutil.copytree(made.store.root, tmp_path / "store")
        return Run.open(made.config.model_copy(update={"store": str(store)}))

    return copy
